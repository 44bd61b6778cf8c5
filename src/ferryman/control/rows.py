"""The ledger and the keys as the admin API shows them: names, RFC 3339 times, exact decimals."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from ferryman.control.when import rfc3339
from ferryman.ir.price import PICO
from ferryman.ir.usage import CLASSES, Usage, counts
from ferryman.store.keys import KeyInfo
from ferryman.store.ledger import CallRow, UsageRow

Tokens = dict[str, int]
"""Token class → count; the classes are disjoint (``ir.usage.Usage``)."""
MORE_CLASSES = (
    "audio_cache_read", "image_cache_read", "image_input", "image_output", "citations",
)  # fmt: skip


class Key(Struct, kw_only=True):
    """A virtual key, without its secret. Times are RFC 3339; None = never."""

    id: str
    name: str
    state: str
    """``active``, ``expired`` or ``revoked``."""
    hint: str
    fixed: bool
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None


class Call(Struct, kw_only=True):
    """One call. None = unknown, or it never happened."""

    request_id: str
    time: str
    key: str
    key_id: str
    endpoint: str
    model: str
    provider: str
    target: str
    tokens: Tokens | None
    cost_usd: str | None
    unknown_cost: int
    """Attempts that may have cost more than stands in ``cost_usd``, or whose cost is unknown."""
    attempts: int
    tries: list[dict[str, Any]]
    status: int | None
    error: str | None
    stream: bool | None
    duration_ms: float | None
    ttft_ms: float | None
    overhead_ms: float | None
    plane: str
    state: str
    """``closed``, or ``lost`` with its gateway: then ``cost_usd`` is what was held for it."""
    policy: str | None
    """Name of the policy that it met."""
    considered: list[dict[str, Any]]
    """The targets that came into question, in order; empty where there was no choice."""
    cache: str | None
    """What the cache did: ``hit``, ``miss``, ``bypass``, ``coalesced`` or ``replayed``."""
    saved_usd: str | None
    """What an answer that was given again had cost first."""
    service: str | None
    """The service tier, where it was not the standard one."""
    region: str | None
    """Where it was computed, if that has a price."""
    searches: int
    """Web searches that the provider made."""
    audio_seconds: float
    """Of audio that is charged by time."""
    price: str | None
    """Id of the price that it was billed by."""


class Sums(Struct, kw_only=True):
    """What the calls of a group add up to."""

    calls: int
    errors: int
    lost: int
    unknown_usage: int
    unknown_cost: int
    tokens: Tokens
    searches: int
    audio_seconds: float
    cost_usd: str
    repeated: int
    """Calls that got an answer given before, and so cost nothing."""
    saved_usd: str


def key_row(key: KeyInfo, now: float) -> Key:
    """``key`` as shown at the Unix time ``now``."""
    state = "active"
    if key.expires_at is not None and key.expires_at <= now:
        state = "expired"
    if key.revoked_at is not None:
        state = "revoked"
    return Key(
        id=key.id,
        name=key.name,
        state=state,
        hint=key.hint,
        fixed=key.fixed,
        created_at=rfc3339(key.created_at),
        expires_at=_time(key.expires_at),
        revoked_at=_time(key.revoked_at),
        last_used_at=_time(key.last_used_at),
    )


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
    )


def _try(attempt: Mapping[str, Any], call: CallRow) -> dict[str, Any]:
    """An attempt with what it used and cost; that of an only one is the call's."""
    row = dict(attempt)
    cost, used, unknown = row.pop("cost_pico", None), row.get("tokens"), "unknown_cost" in row
    if len(call.attempts) == 1:
        cost, unknown = call.cost, call.unknown_cost > 0
        used = None if call.usage is None else {n: c for n, c in tokens(call.usage).items() if c}
    if used is None and cost is not None:
        used = {}  # refused: it has used nothing
    money = None if cost is None else dollars(cost)
    return {**row, "tokens": used, "cost_usd": money, "unknown_cost": unknown}


def usage_row(
    row: UsageRow, by: Sequence[str], names: Mapping[str, str]
) -> dict[str, str | int | Tokens | None]:
    """The groups of ``by`` (``key`` as name, with its ``key_id`` beside it), then the sums."""
    groups: dict[str, str | int | Tokens | None] = {}
    for name in by:
        value = getattr(row, name)
        if name == "key":
            groups["key"] = names.get(value, value)
            groups["key_id"] = value
        else:
            groups[name] = value
    sums = usage_sums(row)
    return groups | {name: getattr(sums, name) for name in Sums.__struct_fields__}


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
