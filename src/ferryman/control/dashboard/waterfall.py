"""A call's attempts on one axis of time: bars as parts of a thousand of its duration. Pure."""

from typing import Any, Final

from msgspec import Struct

from ferryman.control.dashboard.charts import nice
from ferryman.control.dashboard.shape import span
from ferryman.store.ledger import CallRow
from ferryman.telemetry.phases import MEANINGS, PAUSE, Phase, all_phases

WIDTH: Final = 1000
THIN: Final = 3


class Piece(Struct, frozen=True):
    """A stretch of an attempt."""

    x: float
    width: float
    kind: str
    """Of ``telemetry/phases.py``."""
    took: str


class Line(Struct, frozen=True, kw_only=True):
    """One attempt."""

    number: int
    good: bool
    pieces: tuple[Piece, ...]
    first_token: float
    """Where it is on the axis; -1 = unknown."""
    waited: str
    """Up to the first byte."""
    took: str
    starts: str
    paused: str
    """After the attempts before it; empty = it was not."""
    steps: tuple[tuple[str, str], ...]
    """What its time went into, and how much of it."""


class Fall(Struct, frozen=True, kw_only=True):
    """All attempts, and the marks of the axis."""

    lines: tuple[Line, ...]
    ticks: tuple[tuple[float, str], ...]
    kinds: dict[str, str]
    """Phases that there are, and what they mean."""


def of(call: CallRow) -> Fall:
    """The waterfall of a call."""
    ends = [each["end_us"] for each in call.attempts]
    whole = max([call.duration_us or 0, *ends, 1])
    scale = WIDTH / whole
    found = all_phases(call.attempts, whole)
    lines = [
        _line(n, each, parts, whole, scale)
        for n, (each, parts) in enumerate(zip(call.attempts, found, strict=True), 1)
    ]
    step = nice(whole / 5)
    marks = (step * n for n in range(int(whole / step) + 1))
    ticks = [(round(mark * scale, 1), span(mark) if mark else "0") for mark in marks]
    seen = {piece.kind for line in lines for piece in line.pieces}
    return Fall(
        lines=tuple(lines),
        ticks=tuple(tick for tick in ticks if tick[0] < WIDTH * 0.94 or tick[0] == 0),
        kinds={kind: text for kind, text in MEANINGS.items() if kind in seen},
    )


def _line(number: int, each: dict[str, Any], found: list[Phase], whole: int, scale: float) -> Line:
    start, byte, end = each["start_us"], each["first_byte_us"], each["end_us"]
    end = end if end >= 0 else whole
    pause = [phase.end - phase.begin for phase in found if phase.kind == PAUSE]
    return Line(
        number=number, good=not each["error"],
        pieces=tuple([_piece(phase, scale) for phase in found]),
        first_token=_place(each.get("first_token_us"), scale),
        waited=span(byte - start) if byte >= start >= 0 and byte >= 0 else "–",
        took=span(end - start), starts=span(start) if start > 0 else "0",
        paused=span(pause[0]) if pause else "",
        steps=tuple(
            (MEANINGS[phase.kind], span(phase.end - phase.begin))
            for phase in found
            if phase.kind != PAUSE
        ),
    )  # fmt: skip


def _place(moment: int | None, scale: float) -> float:
    return -1 if moment is None else round(moment * scale, 1)


def _piece(phase: Phase, scale: float) -> Piece:
    """Wide enough to be seen, within the axis."""
    took = phase.end - phase.begin
    width = max(took * scale, THIN)
    return Piece(
        round(min(phase.begin * scale, WIDTH - width), 1), round(width, 1), phase.kind, span(took)
    )
