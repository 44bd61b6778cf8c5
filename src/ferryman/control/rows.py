"""The ledger and the keys as the admin API shows them: names, RFC 3339 times, exact decimals."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import structs

from ferryman.client.bounds import Bounds
from ferryman.client.documents import Call, Key, Run, Sums, Tokens
from ferryman.config.feed import KeyBounds
from ferryman.control.when import rfc3339
from ferryman.ir.price import PICO
from ferryman.ir.usage import CLASSES, Usage, counts
from ferryman.store.keys import KeyInfo
from ferryman.store.ledger import CallRow, Estimated, Units, UsageRow
from ferryman.store.runs import RunRow
from ferryman.store.schema import ESTIMATES
from ferryman.telemetry.phases import tokens_per_second

MORE_CLASSES = (
    "audio_cache_read", "image_cache_read", "image_input", "image_output", "citations",
)  # fmt: skip


def key_row(key: KeyInfo, now: float) -> Key:
    """``key`` as shown at the Unix time ``now``."""
    return Key(
        id=key.id,
        name=key.name,
        state=state_of(key.expires_at, key.revoked_at, now),
        hint=key.hint,
        fixed=key.fixed,
        created_at=rfc3339(key.created_at),
        expires_at=_time(key.expires_at),
        revoked_at=_time(key.revoked_at),
        last_used_at=_time(key.last_used_at),
        organisation=key.organisation,
        team=key.team,
        user=key.user,
        tags=key.tags,
        bounds=None if key.bounds is None else _bounds(key.bounds),
    )


def _bounds(bounds: KeyBounds) -> Bounds:
    said = structs.asdict(bounds) | {"data_policy": bounds.data_policy.split()}
    return Bounds(**{name: list(entries) for name, entries in said.items() if entries})


def state_of(expires_at: int | None, revoked_at: int | None, now: float) -> str:
    """``active``, ``expired`` or ``revoked``; times are Unix seconds."""
    if revoked_at is not None:
        return "revoked"
    return "expired" if expires_at is not None and expires_at <= now else "active"


def call_row(call: CallRow, names: Mapping[str, str]) -> Call:
    """``call`` with its key's name. ``names``: key id → name."""
    extras = call.usage.extras if call.usage is not None else None
    return Call(
        request_id=call.request_id,
        time=rfc3339(call.at_us / 1e6),
        key=names.get(call.key, call.key),
        key_id=call.key,
        endpoint=call.endpoint,
        model=call.model,
        provider=call.provider,
        target=call.target,
        tokens=None if call.usage is None else tokens(call.usage),
        cost_usd=None if call.cost is None else dollars(call.cost),
        unknown_cost=call.unknown_cost,
        attempts=len(call.attempts),
        tries=[_try(each, call) for each in call.attempts],
        status=call.status or None,
        error=call.error or None,
        stream=call.stream,
        duration_ms=_milliseconds(call.duration_us),
        ttft_ms=_milliseconds(call.first_token_us),
        overhead_ms=_milliseconds(call.overhead_us),
        plane=call.plane,
        state=call.state,
        policy=call.policy,
        considered=call.plan,
        cache=call.cache,
        saved_usd=None if call.saved is None else dollars(call.saved),
        service=(extras.service or None) if extras is not None else None,
        region=(extras.region or None) if extras is not None else None,
        searches=extras.searches if extras is not None else 0,
        audio_seconds=extras.audio_ms / 1000 if extras is not None else 0,
        price=call.price,
        organisation=call.organisation,
        team=call.team,
        user=call.user,
        end_user=call.end_user,
        run=call.run,
        task=call.task,
        tags=call.tags,
        metadata=call.metadata,
        estimate=None if call.estimate is None else _estimate(call.estimate),
        parent=call.parent,
        client=call.client,
        strategy=call.strategy,
        verdicts=call.verdicts,
        upstream_id=call.upstream_id,
        trace=call.trace,
        tokens_per_second=tokens_per_second(
            call.attempts, call.usage.total_output if call.usage is not None else 0
        ),
        content=call.content,
    )


def run_row(run: RunRow) -> Run:
    """A run as shown."""
    return Run(
        run=run.run, began=rfc3339(run.begun_us / 1e6), ended=rfc3339(run.ended_us / 1e6),
        calls=run.calls, errors=run.errors, cost_usd=dollars(run.cost),
        unknown_cost=run.unknown_cost,
    )  # fmt: skip


def _estimate(about: Estimated) -> dict[str, int | str]:
    return {"input": about.input, "output": about.output, "cost_usd": dollars(about.cost)}


_TIMES: Final = (
    "key", "upstream_id", "queued_us", "dial", "sent_us", "first_token_us", "last_token_us",
    "retry_after_ms", "region", "data_policy",
)  # fmt: skip
"""Members of an attempt that the ledger has where there is something to say."""


def _try(attempt: Mapping[str, Any], call: CallRow) -> dict[str, Any]:
    """An attempt with what it used and cost; that of an only one is the call's."""
    row: dict[str, Any] = {**dict.fromkeys(_TIMES), **attempt}
    row["connection"] = None if row["sent_us"] is None else "new" if row["dial"] else "kept"
    cost, used, unknown = row.pop("cost_pico", None), row.get("tokens"), "unknown_cost" in row
    about = [row.pop(name, None) for name in ESTIMATES]
    if about[0] is not None:
        row["estimate"] = _estimate(
            Estimated(input=about[0], output=about[1] or 0, cost=about[2] or 0)
        )
    if len(call.attempts) == 1:
        cost, unknown = call.cost, call.unknown_cost > 0
        used = None if call.usage is None else {n: c for n, c in tokens(call.usage).items() if c}
    if used is None and cost is not None:
        used = {}  # refused: it has used nothing
    money = None if cost is None else dollars(cost)
    return {**row, "tokens": used, "cost_usd": money, "unknown_cost": unknown}


def usage_row(row: UsageRow, by: Sequence[str], names: Mapping[str, str]) -> dict[str, Any]:
    """The groups of ``by`` (``key`` as name, with its ``key_id`` beside it), then the sums.

    Those that are not among the top ones have ``other``: true.
    """
    groups: dict[str, Any] = {}
    for name, value in zip(by, row.groups, strict=True):
        groups[name] = value
        if name == "key":
            groups["key"] = names.get(value or "", value)
            groups["key_id"] = value
    if row.other:
        groups["other"] = True
    sums = usage_sums(row)
    groups |= {name: getattr(sums, name) for name in Sums.__struct_fields__}
    return groups if row.units is None else groups | unit_costs(row.units)


def unit_costs(units: Units) -> dict[str, Any]:
    """What a call, a run and 1,000 tokens cost, in dollars; None = there were none."""

    def each(cost: int, number: int, times: int = 1) -> str | None:
        return dollars((2 * cost * times + number) // (2 * number)) if number else None

    return {
        "runs": units.runs,
        "usd_per_call": each(units.cost, units.calls),
        "usd_per_run": each(units.run_cost, units.runs),
        "usd_per_1000_tokens": each(units.cost, units.tokens, 1000),
    }


def usage_sums(row: UsageRow) -> Sums:
    """The sums of ``row`` alone."""
    extras = row.tokens.extras
    return Sums(
        calls=row.calls,
        errors=row.errors,
        lost=row.lost,
        unknown_usage=row.unknown_usage,
        unknown_cost=row.unknown_cost,
        tokens=tokens(row.tokens),
        searches=extras.searches if extras is not None else 0,
        audio_seconds=extras.audio_ms / 1000 if extras is not None else 0,
        cost_usd=dollars(row.cost),
        repeated=row.repeated,
        saved_usd=dollars(row.saved),
        estimated_calls=row.estimated.calls,
        estimated_tokens={"input": row.estimated.input, "output": row.estimated.output},
        estimated_usd=dollars(row.estimated.cost),
        scored=row.scored,
        score=round(row.score / row.scored / 1000, 3) if row.scored else None,
    )


def tokens(usage: Usage) -> Tokens:
    """Token class → count: every usual class, and those of the others that are not zero."""
    said = counts(usage)
    return {name: int(said[name]) for name in (*CLASSES, *MORE_CLASSES) if name in said}


def dollars(pico: int) -> str:
    """Picodollars → an exact decimal in dollars without trailing zeros: ``0.000123``."""
    whole, rest = divmod(pico, PICO)
    return f"{whole}.{rest:012d}".rstrip("0").rstrip(".") if rest else str(whole)


def _time(seconds: int | None) -> str | None:
    return None if seconds is None else rfc3339(seconds)


def _milliseconds(microseconds: int | None) -> float | None:
    return None if microseconds is None or microseconds < 0 else microseconds / 1000
