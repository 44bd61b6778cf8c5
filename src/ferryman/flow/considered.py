"""Who came into question for a call, for its record and whoever asks."""

from typing import TYPE_CHECKING, Final

from ferryman.telemetry.record import Candidate

if TYPE_CHECKING:
    from ferryman.flow.call import Call

MOST_CANDIDATES: Final = 32


def plan_of(call: "Call") -> tuple[Candidate, ...]:
    """The same where there was a choice to explain; else nothing."""
    doubtful = len(call.order) > 1 or len(call.attempts) > 1 or bool(call.left_out)
    return candidates(call) if doubtful else ()


def candidates(call: "Call") -> tuple[Candidate, ...]:
    """Who came into question, in order; then those that were left out before there was one."""
    targets = list(call.order[:MOST_CANDIDATES])
    left_out = call.left_out or {}
    rests = call.rests or {}
    measures = dict(zip(call.everyone, call.measures, strict=False))
    bond, by = call.bond, call.affinity.by if call.affinity is not None else ""
    targets += [target for target in left_out if target not in targets][:MOST_CANDIDATES]
    found = []
    for place, target in enumerate(targets):
        rest = rests.get(target)
        rests_us, because = (0, "") if rest is None else rest
        fallback = target not in call.equals
        why, full = left_out.get(target, ""), target in call.full
        kept = by if place == 0 and bond is not None and bond.target == target.name else ""
        measure = measures.get(target, -1.0)
        found.append(Candidate(target.name, fallback, rests_us, because, why, full, kept, measure))
    return tuple(found)
