"""How providers did of late, told from the calls that the ledger has. Pure."""

import time
from collections import Counter
from collections.abc import Sequence
from statistics import median

from msgspec import Struct

from ferryman.store.glance import Glance
from ferryman.telemetry.phases import tokens_per_second


class Health(Struct, frozen=True, kw_only=True):
    """How a provider did in its attempts."""

    name: str
    tries: int
    failed: int
    first_token: tuple[float, ...]
    """p50, p95, p99 of answers that no other attempt came before, like the next; microseconds."""
    duration: tuple[float, ...]
    pace: float | None
    """Tokens a second: that of the middle one of these answers."""
    state: str
    """``well``, ``shaky``, ``failing``, ``resting``, or ``idle``."""
    error: str
    """The kind of its last failure."""
    error_us: int


def quantiles(values: list[int]) -> tuple[float, ...]:
    """p50, p95 and p99, by the nearest rank; empty of nothing."""
    if not values:
        return ()
    ordered = sorted(values)
    return tuple(float(ordered[-(-len(ordered) * share // 100) - 1]) for share in (50, 95, 99))


def health(seen: Sequence[Glance], active: Sequence[str], *, targets: bool = False) -> list[Health]:
    """How each active provider, and each that was asked, did of late; or their ``targets``."""
    tries: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    firsts: dict[str, list[int]] = {}
    wholes: dict[str, list[int]] = {}
    paces: dict[str, list[float]] = {}
    last: dict[str, tuple[str, int]] = {}
    streak: dict[str, int] = {}
    rests: dict[str, float] = {}
    for call in seen:
        for each in reversed(call.attempts):
            name = f"{each['provider']}/{each['model']}" if targets else each["provider"]
            tries[name] += 1
            if each["error"].startswith("upstream_"):
                wrong[name] += 1
                last.setdefault(name, (each["error"], call.at_us))
                if streak.get(name, 0) == tries[name] - 1:
                    streak[name] = tries[name]
        if len(call.attempts) == 1 and call.status < 400 and not call.error:
            if call.first_token_us is not None:
                firsts.setdefault(name, []).append(call.first_token_us)
            if call.duration_us is not None:
                wholes.setdefault(name, []).append(call.duration_us)
            if (pace := tokens_per_second(call.attempts, call.output)) is not None:
                paces.setdefault(name, []).append(pace)
        for each in call.plan:
            until = call.at_us / 1e6 + each.get("rests_seconds", 0)
            name = each["target"] if targets else each["target"].partition("/")[0]
            rests[name] = (
                max(rests.get(name, 0), until) if each.get("rests_seconds") else rests.get(name, 0)
            )
    now_s = time.time()
    return [
        Health(
            name=name, tries=tries[name], failed=wrong[name],
            first_token=quantiles(firsts.get(name, [])),
            duration=quantiles(wholes.get(name, [])),
            pace=median(paces[name]) if name in paces else None,
            state=_state(tries[name], wrong[name], streak.get(name, 0), rests.get(name, 0) > now_s),
            error=last.get(name, ("", 0))[0], error_us=last.get(name, ("", 0))[1],
        )
        for name in sorted({*active, *tries})
    ]  # fmt: skip


def _state(tries: int, failed: int, streak: int, rests: bool) -> str:
    if rests:
        return "resting"
    if not tries:
        return "idle"
    if streak >= 3 or failed * 2 > tries:
        return "failing"
    return "shaky" if failed * 50 > tries else "well"
