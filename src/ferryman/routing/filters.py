"""Which targets come into question at all for a request: a pure function of facts and filters."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from ferryman.config.filters import CATALOGUED, Written, barred, unpromised
from ferryman.config.snapshot import Filter
from ferryman.ir.price import Rate

ABILITIES: Final = "abilities"
"""Why those are left out that lack an ability, when nobody has asked for that."""


class Candidate(NamedTuple):
    """What filters ask about one target, and those that it must pass."""

    written: Written
    abilities: tuple[str, ...] = ()
    """By the catalogue's names; empty = unknown."""
    rate: Rate | None = None
    """What this request would cost there; None = unknown, or nobody asks."""
    filters: tuple[Filter, ...] = ()


class Reason(NamedTuple):
    """Why a target is left out."""

    key: str
    """The filter's key, or :data:`ABILITIES`."""
    source: str = ""
    """Whose filter it is."""
    lacks: tuple[str, ...] = ()
    """The abilities, data policies or regions that are missing, where it is these."""


def sift(candidates: Sequence[Candidate], needs: frozenset[str]) -> list[Reason | None]:
    """For each of the candidates why it is left out; None = it is kept.

    ``needs`` are the abilities that the request needs, by the names of conditions. Where no filter
    says what to do about them, those known not to have them all are left out as long as one is kept
    that is known to have them all.
    """
    reasons = [_reason(candidate, needs) for candidate in candidates]
    kept = [i for i, reason in enumerate(reasons) if reason is None]
    if needs and any(_known(candidates[i]) and not _lacks(candidates[i], needs) for i in kept):
        for i in kept:
            candidate = candidates[i]
            decided = any(each.require_abilities is not None for each in candidate.filters)
            lacks = _lacks(candidate, needs)
            if lacks and _known(candidate) and not decided:
                reasons[i] = Reason(ABILITIES, lacks=lacks)
    return reasons


def _reason(candidate: Candidate, needs: frozenset[str]) -> Reason | None:
    for wanted in candidate.filters:
        key = barred(candidate.written, wanted)
        if not key and _too_dear(candidate.rate, wanted):
            key = "max_price"
        if key:
            return Reason(key, wanted.source, _missing(key, candidate.written, wanted))
        lacks = _lacks(candidate, needs) if wanted.require_abilities else ()
        if lacks:
            return Reason("require_abilities", wanted.source, lacks)
    return None


def _missing(key: str, target: Written, wanted: Filter) -> tuple[str, ...]:
    if key == "data_policy":
        return unpromised(target.data_policy, wanted.data_policy)
    return wanted.regions if key == "regions" else ()


def priced(wanted: Filter) -> bool:
    """Whether a filter asks what the request costs."""
    return wanted.input_price >= 0 or wanted.output_price >= 0 or wanted.request_price >= 0


def _too_dear(rate: Rate | None, wanted: Filter) -> bool:
    if not priced(wanted):
        return False
    if rate is None:
        return True
    return (
        rate.input > wanted.input_price >= 0
        or rate.output > wanted.output_price >= 0
        or rate.request > wanted.request_price >= 0
    )


def _known(candidate: Candidate) -> bool:
    return bool(candidate.abilities)


def _lacks(candidate: Candidate, needs: frozenset[str]) -> tuple[str, ...]:
    """The needed abilities that the target is not known to have, sorted."""
    has = candidate.abilities
    return tuple(sorted(name for name in needs if CATALOGUED.get(name, name) not in has))
