"""What the calls of the last minutes add up to. Pure, but for :func:`look`."""

import time
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct
from sqlalchemy import Engine

from ferryman.control.health import quantiles
from ferryman.store import glance
from ferryman.store.glance import Glance, Step

WINDOW_S: Final = 300
"""Seconds that the figures are about;"""
MOST: Final = 5000
"""but percentiles and providers' health about this many of the last calls at most: each is read."""
STEP_S: Final = 5
STEP_US: Final = STEP_S * 1_000_000


class Figures(Struct, frozen=True, kw_only=True):
    """What the calls of the last minutes add up to. Spans are microseconds; empty where nothing is
    known."""

    calls: int
    errors: int
    output: int
    """Tokens."""
    cost: int
    """Picodollars, as far as known."""
    unknown_cost: int
    duration: tuple[float, ...]
    """p50, p95, p99, of answers."""
    first_token: tuple[float, ...]


def look(
    engine: Engine, ahead: Mapping[str, int], now_us: int = 0
) -> tuple[list[Step], list[Glance]]:
    """Sums by time, and the newest calls, of the window that ends now."""
    since = (now_us or time.time_ns() // 1000) - WINDOW_S * 1_000_000
    return (
        glance.steps(engine, since, STEP_US, ahead), glance.glances(engine, since, MOST, ahead)
    )  # fmt: skip


def failed(call: Glance) -> bool:
    """Whether its caller got an error."""
    return call.status >= 400 or bool(call.error)


def figures(steps: Sequence[Step], seen: Sequence[Glance]) -> Figures:
    """Sums of all calls, and percentiles of those that were ``seen``."""
    well = [call for call in seen if not failed(call)]
    return Figures(
        calls=sum(step.calls for step in steps),
        errors=sum(step.errors for step in steps),
        output=sum(step.output for step in steps),
        cost=sum(step.cost for step in steps),
        unknown_cost=sum(step.unknown_cost for step in steps),
        duration=quantiles([c.duration_us for c in well if c.duration_us is not None]),
        first_token=quantiles([c.first_token_us for c in well if c.first_token_us is not None]),
    )
