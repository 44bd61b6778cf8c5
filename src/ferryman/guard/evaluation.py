"""How right guards are on texts of which it is known what they are."""

import math
import time
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from ferryman.config.guard_row import Guard
from ferryman.guard.engine import REPLY, Engine, Session, TextCheck

Z: Final = 1.959964
"""Of 95 %."""


class Sample(Struct, frozen=True, forbid_unknown_fields=False):
    """A line of the data."""

    text: str
    label: bool
    """Whether a guard should find something."""
    at: str = ""
    """The station; empty = the guard's first."""


class Share(Struct, frozen=True):
    """A part of a whole; None for what nothing is known of."""

    of: int
    value: float | None
    low: float | None
    high: float | None
    """The 95 % interval by Wilson's method."""


class Figures(Struct, frozen=True):
    """What came of one guard."""

    guard: str
    kind: str
    found: int
    """Of what it should find;"""
    missed: int
    wrong: int
    """what it found and should not;"""
    passed: int
    """and what it rightly let pass."""
    precision: Share
    recall: Share
    false_positive_rate: Share
    ms: float
    """Median time that it adds to a text."""
    ms_99: float


def share(part: int, whole: int) -> Share:
    """``part`` of ``whole``, with its interval: https://doi.org/10.1080/01621459.1927.10502953"""
    if not whole:
        return Share(0, None, None, None)
    p, scale = part / whole, 1 + Z * Z / whole
    middle = (p + Z * Z / (2 * whole)) / scale
    half = Z / scale * math.sqrt(p * (1 - p) / whole + Z * Z / (4 * whole * whole))
    low, high = max(middle - half, 0.0), min(middle + half, 1.0)
    return Share(whole, round(p, 4), round(low, 4), round(high, 4))


def evaluated(guards: Sequence[Guard], samples: Iterable[Sample]) -> list[Figures]:
    """Each guard on every sample, as a whole text; what it would do is left out."""
    quiet = [replace(guard, action="log", always=True) for guard in guards]
    engine = Engine(quiet, ())
    counts = {guard.name: [0, 0, 0, 0] for guard in quiet}
    times: dict[str, list[float]] = {guard.name: [] for guard in quiet}
    for sample in samples:
        for guard in quiet:
            began = time.perf_counter()
            hit = _finds(engine, guard, sample)
            times[guard.name].append(time.perf_counter() - began)
            counts[guard.name][(0 if hit else 1) if sample.label else (2 if hit else 3)] += 1
    return [_figures(guard, counts[guard.name], times[guard.name]) for guard in quiet]


def _finds(engine: Engine, guard: Guard, sample: Sample) -> bool:
    session = Session(engine, [guard.name])
    station = sample.at or guard.at[0]
    if guard.kind == "length" and station != REPLY:
        return len(sample.text) > guard.most
    TextCheck(session, station, answer=station == REPLY, main=True).whole(sample.text)
    return any(count for *_, count, _score, _reasons in session.verdicts())


def _figures(guard: Guard, counts: Sequence[int], times: list[float]) -> Figures:
    found, missed, wrong, passed = counts
    times.sort()
    return Figures(
        guard.name, guard.kind, found, missed, wrong, passed,
        share(found, found + wrong), share(found, found + missed), share(wrong, wrong + passed),
        median(times or [0.0]) * 1000, (times or [0.0])[int(len(times) * 0.99) - 1] * 1000,
    )  # fmt: skip
