"""What the journal says of a call, as rows of the ledger. Pure; every call goes through here."""

import time
from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import asdict

from ferryman.control.when import rfc3339
from ferryman.ir.usage import EXTRA_COUNTS, PIECES, Extras, Usage, counts
from ferryman.store import intake
from ferryman.store.audit import Act, Who
from ferryman.store.intake import MAX_INT, MAX_TEXT
from ferryman.telemetry.record import (
    Attempt,
    Candidate,
    Charge,
    Closed,
    Estimate,
    Feedback,
    Labels,
    Opened,
    Priced,
    Refused,
    candidate_row,
)

MAX_TOKENS: Final = 1 << 40
"""More than any call can have: keeps a mad upstream's number from spoiling every sum."""
_NO_TOKENS: Final = (None,) * 8
_NO_EXTRAS: Final = (None,) * (2 + len(EXTRA_COUNTS))
_NO_LABELS: Final = (None,) * 8
_NO_ESTIMATE: Final = (None,) * 3
_encode: Final = msgspec.json.Encoder().encode
Count = Callable[[str], None]
"""Counts what should not happen often."""


def open_row(plane: str, boot: str, start: Opened) -> intake.Row:
    """A call that has not ended, in the order of ``intake.OPEN_COLUMNS``."""
    return (
        _text(start.id),
        plane,
        boot,
        start.at_us,
        _text(start.key),
        start.endpoint,
        _text(start.model),
        start.provider,
        _text(start.target),
        min(start.hold, MAX_INT),
        *_charge(start.id, start.charge),
        *(_NO_LABELS if start.labels is None else _labels(start.labels)),
        _parent(start.labels),
    )


def call_row(plane: str, slot: int, call: Closed, count: Count) -> intake.Row:
    """A call that has ended, in the order of the table's columns."""
    usage, cost, tries, first, took = (
        call.usage, call.cost, call.attempts, call.first_token_us, call.overhead_us,
    )  # fmt: skip
    extras = None if usage is None else usage.extras
    labels, trace, upstream = call.labels, call.trace, tries[-1].upstream_id if tries else ""
    return (
        _text(call.id),
        call.at_us,
        call.duration_us,
        plane,
        _text(call.key),
        call.endpoint,
        _text(call.model),
        call.provider,
        _text(call.target),
        call.stream,
        call.status,
        call.error,
        *(_NO_TOKENS if usage is None else _tokens(usage, count)),
        cost if cost is None else min(cost, MAX_INT),
        len(tries),
        _attempts(tries),
        first if first >= 0 else None,
        took if took >= 0 else None,
        intake.CLOSED,
        call.policy or None,
        _plan(call.plan),
        call.unknown_cost,
        call.cache or None,
        call.saved if call.saved is None else min(call.saved, MAX_INT),
        *_charge(call.id, call.charge),
        *(_NO_EXTRAS if extras is None else _extras(extras)),
        call.price or None,
        None if extras is None else _pieces(extras),
        *(_NO_LABELS if labels is None else _labels(labels)),
        *(_NO_ESTIMATE if call.estimate is None else _estimate(call.estimate)),
        _parent(labels),
        call.client or None,
        call.strategy or None,
        _json([asdict(each) for each in call.verdicts]) if call.verdicts else None,
        _text(upstream) or None,
        None if trace is None else trace.id,
        slot,
        call.content or None,
    )


def _tokens(usage: Usage, count: Count) -> tuple[int, ...]:
    """Token counts in the order of ``TOKEN_CLASSES``."""
    said = (
        usage.input,
        usage.cache_read,
        usage.cache_write,
        usage.cache_write_1h,
        usage.audio_input,
        usage.output,
        usage.reasoning,
        usage.audio_output,
    )
    if min(said) < 0 or max(said) > MAX_TOKENS:
        count("tokens_clamped")
        return tuple(max(0, min(each, MAX_TOKENS)) for each in said)
    return said


def _extras(extras: Extras) -> tuple[str | int | None, ...]:
    said = (getattr(extras, name) for name in EXTRA_COUNTS)
    clamped = (max(0, min(each, MAX_TOKENS)) or None for each in said)
    return (extras.service or None, extras.region or None, *clamped)


def _text(text: str) -> str:
    """``text`` as every database takes it: callers choose model names."""
    if len(text) > MAX_TEXT or "\0" in text:
        return text.replace("\0", "\ufffd")[:MAX_TEXT]
    return text


def given_up(call: Closed) -> list[intake.Row]:
    """What providers called all attempts but the last."""
    found = [_text(each.upstream_id) for each in call.attempts[:-1] if each.upstream_id]
    return [(name, _text(call.id), call.at_us) for name in found]


class _Try(Struct, omit_defaults=True):
    """An attempt as in the ledger: what it used stands there where it is not what the call did."""

    provider: str
    model: str
    status: int
    error: str
    start_us: int
    first_byte_us: int
    end_us: int
    format: str
    dropped: tuple[str, ...]
    altered: tuple[str, ...]
    # What follows is left out where there is nothing to say.
    price: str = ""
    key: str = ""
    upstream_id: str = ""
    queued_us: int = 0
    dial: dict[str, Any] | None = None
    sent_us: int = -1
    first_token_us: int = -1
    last_token_us: int = -1
    retry_after_ms: int = -1
    region: str = ""
    data_policy: str = ""
    tokens: dict[str, int | str] | None = None
    cost_pico: int | None = None
    estimated_input: int | None = None
    estimated_output: int | None = None
    estimated_pico: int | None = None
    unknown_cost: bool = False


def _attempts(attempts: tuple[Attempt, ...]) -> str:
    return _encode([_attempt(each) for each in attempts]).decode()


def _attempt(a: Attempt) -> _Try:
    said = _Try(
        a.provider, a.model, a.status, a.error, a.start_us, a.first_byte_us, a.end_us, a.format,
        a.dropped, a.altered, a.price, a.key, a.upstream_id, a.queued_us,
        None if a.dial is None else asdict(a.dial), a.sent_us, a.first_token_us, a.last_token_us,
        a.retry_after_ms, a.region, a.data_policy,
    )  # fmt: skip
    if a.usage is not None:
        said.tokens = {name: count for name, count in counts(a.usage).items() if count}
    if a.cost is not None:
        said.cost_pico = min(a.cost, MAX_INT)
    if a.estimate is not None:
        about = _estimate(a.estimate)
        said.estimated_input, said.estimated_output, said.estimated_pico = about
    said.unknown_cost = not a.whole
    return said


def _estimate(about: Estimate) -> tuple[int, int, int | None]:
    cost = about.cost if about.cost is None else min(about.cost, MAX_INT)
    return min(about.input, MAX_TOKENS), min(about.output, MAX_TOKENS), cost


def _labels(labels: Labels) -> tuple[str | None, ...]:
    """In the order of ``LABELS``."""
    return (
        _text(labels.organisation) or None,
        _text(labels.team) or None,
        _text(labels.user) or None,
        _text(labels.end_user) or None,
        _text(labels.run) or None,
        _text(labels.task) or None,
        _json(labels.tags) if labels.tags else None,
        _json(labels.metadata) if labels.metadata else None,
    )


def _parent(labels: Labels | None) -> str | None:
    return None if labels is None else _text(labels.parent) or None


def _json(value: object) -> str:
    """As JSON that every database reads: PostgreSQL takes no NUL."""
    return _encode(value).decode().replace("\\u0000", "")


def _pieces(extras: Extras) -> str | None:
    """What the ledger has no column for, as far as there is any."""
    counts = {name: min(count, MAX_TOKENS) for name in PIECES if (count := getattr(extras, name))}
    said = {"context": extras.context, **counts} if extras.context else counts
    return _encode(said).decode() if said else None


def _charge(call: str, charge: Charge | None) -> tuple[str | None, int | None, int | None]:
    if charge is None:
        return None, None, None
    apart = [
        (key, min(pico, MAX_INT), min(tokens, MAX_TOKENS), call)
        for key, pico, tokens in charge.apart
    ]
    budgets = _json([*charge.budgets, *apart])
    return budgets, min(charge.picodollars, MAX_INT), min(charge.tokens, MAX_TOKENS)


def _plan(plan: tuple[Candidate, ...]) -> str | None:
    return _encode([candidate_row(each) for each in plan]).decode() if plan else None


def price_row(price: Priced) -> intake.Row:
    """In the order of the table's columns."""
    listed = _encode(price.prices).decode()
    return (price.id, price.provider, _text(price.model), int(time.time()), listed)


def noted(one: Refused) -> tuple[Who, Act]:
    """Refusals as an entry of the audit log."""
    said = {"count": one.count, "since": rfc3339(one.at_us / 1e6), "model": one.model}
    who = Who(actor=one.key or "unknown", address=one.address, client=one.client)
    return who, Act(action="call", target=one.reason, outcome="refused", after=said)


def feedback_row(said: Feedback) -> intake.Row:
    """As :func:`ferryman.store.feedback.add` takes it."""
    return (
        _text(said.subject), said.run, _text(said.key), _text(said.team), said.at_us, said.score,
        _json(said.tags), said.comment.replace("\0", "\ufffd"),
    )  # fmt: skip
