"""How a target stands at this moment, for those who look: explanations, endpoints, metrics."""

from typing import Any

from msgspec import Struct

from ferryman.flow.call import Plane
from ferryman.flow.choice import health_of
from ferryman.flow.turns import rest_of
from ferryman.upstream.fleet import Target

STATES = ("well", "coming back", "on trial", "rests")


class Live(Struct, frozen=True, kw_only=True):
    """One target now; seconds throughout."""

    state: str
    """``rests``; ``on trial``: its rest is over, and the next call shows if it is well again;
    ``coming back``: it gets a ``share`` of its calls, also while it is throttled; ``well``."""
    rests: float
    because: str
    share: float
    in_flight: int
    expected: float
    """To its first byte; 0 = not measured, or too long ago."""
    pace: float
    """Tokens per second; 0 = not measured, as where no strategy goes by it."""
    rested: int
    """How often it had to rest so far, all keys together."""
    asked: int
    """Attempts of the last half hour, like the next two; rate limits and refused keys, which are
    a key's matter, are not among them."""
    failed: int
    mean: float


def live(plane: Plane, target: Target) -> Live:
    """How ``target`` stands now."""
    now = plane.now()
    health = health_of(target)
    rest = rest_of(plane, target, now)
    rests = max(rest.until - now, 0.0)
    share = health.share(now)
    past = health.lately(now)
    state = "rests" if rests else "on trial" if rest.rounds else "well"
    if state == "well" and share < 1:
        state = "coming back"
    good = past.asked - past.failed
    return Live(
        state=state,
        rests=rests,
        because=rest.why if rest.rounds else "",
        share=share,
        in_flight=health.in_flight,
        expected=health.pace.expected(now),
        pace=1 / token if (token := health.token.expected(now)) > 0 else 0.0,
        rested=health.rested,
        asked=past.asked,
        failed=past.failed,
        mean=past.seconds / good if good > 0 else 0.0,
    )


def shown(standing: Live) -> dict[str, Any]:
    """``standing`` as JSON shows it."""
    row: dict[str, Any] = {"state": standing.state}
    if standing.rests:
        row |= {"rests_seconds": round(standing.rests, 3), "because": standing.because}
    return row | {
        "share": round(standing.share, 3),
        "in_flight": standing.in_flight,
        "expected_seconds": round(standing.expected, 6) or None,
    }
