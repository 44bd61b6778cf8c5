"""Which roll-ups answer for a stretch of time: the coarsest that do so exactly, and single calls
only for the ragged edges. Pure but for :func:`floors`. All times are Unix microseconds."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import sqlalchemy as sa

from ferryman.store.schema import SPANS, STEPS, meta

EVER: Final = 86_400_000_000 << 26
"""Whole days from 1970 on, longer than anybody has a ledger: stands for no limit."""
CALLS: Final = "calls"
"""The source that is single calls; the others are spans of roll-ups."""
CONTENT: Final = "content"
"""The source that is prompts and answers."""
_MICRO: Final = 1_000_000


class Source(NamedTuple):
    """Where sums can be read from."""

    name: str
    step: int
    """Only whole steps can be read."""
    floor: int
    """What began before is not there any more; at a step of every source."""


class Part(NamedTuple):
    """A stretch of time that one source answers for."""

    source: str
    begin: int
    end: int


def floors(connection: sa.Connection) -> dict[str, int]:
    """Source → from when on it is complete; ``day`` always is."""
    names = {name_of_floor(name): name for name in (CALLS, CONTENT, *SPANS)}
    found = connection.execute(sa.select(meta).where(meta.c.name.in_(names)))
    return {names[name]: int(value) * _MICRO for name, value in found}


def name_of_floor(source: str) -> str:
    """Its name in the table ``meta``, where it stands in Unix seconds."""
    return f"{source}_kept_since"


def of_usage(floors: dict[str, int]) -> list[Source]:
    """Sources of sums over calls, coarsest first."""
    found = [Source(n, s * _MICRO, floors.get(n, -EVER)) for n, s in SPANS.items()]
    return [*reversed(found), Source(CALLS, 1, floors.get(CALLS, -EVER))]


def of_charges(floors: dict[str, int], step_s: int) -> list[Source]:
    """Sources of what budgets bear, coarsest first, for sums over steps of ``step_s`` seconds."""
    kept = {"minute": "minute", "quarter": "hour"}
    found = [
        Source(name, step * _MICRO, floors.get(kept[name], -EVER))
        for name, step in STEPS.items()
        if step_s % step == 0
    ]
    return [*reversed(found), Source(CALLS, 1, floors.get(CALLS, -EVER))]


def widened(begin: int, end: int, sources: Sequence[Source]) -> tuple[int, int]:
    """The stretch with its edges moved outwards to where one of the sources can tell them."""
    first, last = _step(begin, sources), _step(end, sources)
    return begin - begin % first, end + -end % last


def _step(at: int, sources: Sequence[Source]) -> int:
    steps = [each.step for each in sources if at - at % each.step >= each.floor]
    return min(steps, default=sources[0].step)


def cover(begin: int, end: int, sources: Sequence[Source]) -> list[Part]:
    """Parts that are the stretch together: as much as can be from the first source, and so on."""
    if begin >= end:
        return []
    source, *finer = sources
    first = max(begin + -begin % source.step, source.floor)
    last = end - end % source.step
    if not finer or first >= last:
        return cover(begin, end, finer) if finer else [Part(source.name, begin, end)]
    return [
        *cover(begin, first, finer),
        Part(source.name, first, last),
        *cover(last, end, finer),
    ]
