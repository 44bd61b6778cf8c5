"""What a call has used, as it is counted: in limits of its attempts, and in budgets; whether
what was said is kept, and what guards say of it."""

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from ferryman.ir.errors import ErrorKind
from ferryman.ir.tally import Tally, tally
from ferryman.ir.usage import CLASSES, Usage, counts
from ferryman.meter.cost import cost_of
from ferryman.meter.limits import Amounts, Moment
from ferryman.routing.affinity import Bond
from ferryman.telemetry.record import Charge, Verdict

if TYPE_CHECKING:
    from ferryman.flow.call import Call
    from ferryman.upstream.fleet import Target

MOST_TOKENS: Final = 10**8
"""A call that has used more of a class is one whose provider is mistaken."""
MOST_PIECES: Final = 10_000
"""The same of searches, images, sources and the like,"""
MOST_AUDIO_MS: Final = 10**8
"""and of milliseconds of audio: more than a day."""
NOT_MADE: Final = Amounts(calls=0)
SURELY_FEW: Final = 1 << 24
"""Of five classes none has as many: then their sum is less than :data:`MOST_TOKENS`, too."""


def verdicts(call: "Call") -> tuple[Verdict, ...]:
    """What guards have said of it, which ends: it is counted."""
    if call.session is None:
        return ()
    found = tuple([Verdict(*each) for each in call.session.verdicts()])
    for said in found:
        call.plane.metrics.judged(said.check, said.stage, said.action)
    return found


def kept(call: "Call", error: ErrorKind | None, status: int) -> str:
    """What the record of a call that ends so says of prompt and answer (``Closed.content``)."""
    witness = call.witness
    return "" if witness is None else witness.settled(call, error, status)


def end_room(
    call: "Call", usage: Usage | None, cost: int | None, whole: bool, *, sent: bool = True
) -> None:
    """An attempt is over for which room was taken: count what it has used instead.

    Without ``usage``, a ``whole`` one was refused. Not ``sent``: there was none after all.
    """
    room = call.room
    assert room is not None
    call.room = None
    at = Moment(int(call.plane.now() * 1e9), call.at_us // 1_000_000)
    if not sent:
        room.settle(NOT_MADE, at)
    elif usage is None and whole:
        room.settle(Amounts(), at)
    else:
        room.close(tally(usage), cost, whole, whole, at)


def end_grant(
    call: "Call", counts: Tally | None, cost: int | None, whole: bool, now: float
) -> None:
    """Count what a call has used in place of what it holds of its limits."""
    grant, doubt = call.grant, call.doubt
    assert grant is not None
    at = Moment(int(now * 1e9), call.at_us // 1_000_000)
    counted = whole if len(call.attempts) < 2 else not call.unknown_cost
    if doubt is not None and doubt.calls != call.unknown_cost:
        doubt = None  # not of these alone: all that is held may be needed
    grant.close(counts, cost, counted, not call.unknown_cost, at, doubt)
    for each in call.more:
        each.settle(NOT_MADE, at)
    limits = call.plane.limits
    if limits is not None:
        limits.bearing.pop(call.id, None)


def charge_of(call: "Call") -> Charge | None:
    """What budgets bear of the call now: what it holds, or once it is settled what it has used."""
    grant = call.grant
    apart = call.expected
    if call.settled and (call.rooms or apart):
        apart = [
            (key, room.picodollars, room.tokens)
            for room in call.rooms
            if room.over
            for key in room.budgets
        ]
    if grant is None or not grant.budgets:
        return Charge((), 0, 0, tuple(apart)) if apart else None
    return Charge(grant.budgets, grant.picodollars, grant.tokens, tuple(apart))


def believed(
    call: "Call", usage: Usage | None, target: "Target | None", whole: bool
) -> tuple[Usage | None, Tally | None, bool]:
    """What is believed of a provider's word: as it is recorded, the same to calculate with, and
    whether that is all."""
    if usage is None:
        return None, None, whole
    found = Tally(usage)
    said: Usage | None = usage
    if _odd(found):
        said, whole = _trusted(call, usage), False
    if said is not None and found.extras is not None:
        said = _known(said, target)
    return said, found if said is usage else tally(said), whole


def _odd(usage: Tally) -> bool:
    """Whether a provider says what can't be."""
    # Together they have a sign bit if one of them has, and as many bits as the largest.
    every = (
        usage.input | usage.cache_read | usage.cache_write | usage.cache_write_1h
        | usage.audio_input | usage.output | usage.reasoning | usage.audio_output
    )  # fmt: skip
    if 0 <= every < SURELY_FEW and usage.extras is None:
        return False
    return every < 0 or _too_much(usage)


def _too_much(usage: Tally) -> bool:
    if usage.total_input > MOST_TOKENS or usage.total_output > MOST_TOKENS:
        return True
    extras = usage.extras
    if extras is None:
        return False
    pieces = (
        extras.searches, extras.file_searches, extras.code_units, extras.sources, extras.images
    )  # fmt: skip
    said = max(pieces) > MOST_PIECES or extras.citations > MOST_TOKENS
    return said or extras.audio_ms > MOST_AUDIO_MS or min(pieces) < 0


def _trusted(call: "Call", usage: Usage) -> Usage | None:
    """What of such usage is believed: nothing that is too much, and 0 for less than nothing."""
    plane = call.plane
    provider = call.target.provider if call.target is not None else ""
    plane.metrics.odd_usage(provider)
    plane.log(f"alert: {call.id}: {provider} says that it has used {counts(usage)}, which can't be")
    if _too_much(Tally(usage)):
        return None
    return replace(usage, **{name: max(getattr(usage, name), 0) for name in CLASSES})


def _known(usage: Usage, target: "Target | None") -> Usage | None:
    """None for ``usage`` that says how many images there are, of a model that is paid by others."""
    extras = usage.extras
    if extras is None or not extras.images or (target is not None and target.by_image):
        return usage
    return None


def bond_of(call: "Call", target: "Target", usage: Usage | None, until: float) -> Bond:
    """That calls which belong to one that was served shall go to the same target."""
    known = 0 if usage is None else usage.cache_read + usage.cache_write + usage.cache_write_1h
    saved = cost_of(Tally(Usage(cache_read=known)), target.prices, call.at_us // 1_000_000)
    return Bond(target.name, known, saved, until)
