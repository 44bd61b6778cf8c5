"""Whose turn it is: the targets of one call in their order, and what each attempt says of them."""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from ferryman.config.snapshot import Route
from ferryman.flow.attempts import HINTING
from ferryman.flow.call import Call, Plane, told
from ferryman.flow.choice import Choice, choice_of, health_of, measure
from ferryman.flow.window import roomiest
from ferryman.http1.client import USED_UP, Fault, FaultKind
from ferryman.http1.connect import SLOW
from ferryman.ir.errors import ErrorKind
from ferryman.ir.usage import Usage
from ferryman.routing.health import RAMP_SECONDS, Rest
from ferryman.routing.outliers import OUTLIER_SECONDS, OUTLIER_SHARE, slow
from ferryman.routing.plan import Facts, Standing, plan
from ferryman.routing.quota import remaining
from ferryman.routing.reactions import UNREACHABLE, Reaction, hint, reaction
from ferryman.upstream.fleet import Resolved, Target
from ferryman.upstream.reply import Reply
from ferryman.wire.envelope import Request
from ferryman.wire.openai_chat.errors import SURFACED
from ferryman.wire.paths import CONVERSATIONS

WELL: Final = Rest()
"""The rest of keys that need none."""
LONE_SECONDS: Final = 0.5
"""Most that a call waits after a single failure before it asks the same model once more."""


HEDGING: Final = 0.5
"""The part of the budget of extra attempts that rivals may use: some are left for what fails."""
SHOULD_RETRY: Final = b"x-should-retry"
"""The official SDKs heed it, and some providers send it."""


class Turns:
    """The order in which one call asks its targets, decided step by step."""

    __slots__ = (
        "_again", "_again_at", "_call", "_fallbacks", "_max_output", "_place", "_settled",
        "_size", "_strained", "_target", "asked", "order", "wait",
    )  # fmt: skip

    def __init__(self, call: Call, resolved: Resolved, size: int, max_output: int) -> None:
        """``size`` is the bytes of the request, ``max_output`` its limit of output tokens or 0."""
        self._call = call
        self._size = size
        self._max_output = max_output
        self.order: Sequence[Target] = resolved.targets
        if len(resolved.targets) != 1 or resolved.fallbacks:
            self.order = roomiest(_planned(call, resolved, size, max_output), max_output)
            if call.plane.queues:
                self.order = _with_room_first(call, self.order, resolved)
        call.order = self.order
        call.equals = resolved.targets
        self._fallbacks = resolved.fallbacks
        self._place = 0
        self._target: Target | None = None
        self._again: Target | None = None
        self._again_at = 0.0
        self._settled: bool = call.retried  # who comes again has had its second chance
        self._strained = False
        self.asked = False
        """Whether the target of the last turn was really sent something."""
        self.wait = 0.0
        """Seconds to wait before the turn that :meth:`next` gave."""
        # _strained: one that rests was asked; a second one is no likelier to answer, if it failed
        # but now.

    def next(self, reply: Reply | None, kind: ErrorKind | None) -> Target | None:
        """The next target, its key in ``call.slot``; None when there is none, or too many failed.

        ``reply`` and ``kind`` are of the attempt before, if there was one.
        """
        call = self._call
        plane = call.plane
        now = plane.now()
        self.wait = 0.0
        last = self._target
        if last is None:
            if call.retried:
                plane.retries.spend(now)  # a retry, whoever makes it; it is asked for once at least
            else:
                plane.retries.call(now)
            target = self.order[0]
            if len(self.order) > 1:
                self._strained = resting_until(plane, target, now) > now
            return self._go(target, now)
        if self.asked and kind is not None and reply is not None:
            self.asked = False
            if self._next_key(last, kind, now):
                return last if plane.retries.spend(now) else None
            self._remember(last, reply, kind, now)
        while self._place < len(self.order):
            target = self.order[self._place]
            again = self._again
            if again is not None and not self._settled and target in self._fallbacks:
                self._settled = True
                if self._again_at < call.deadline() and plane.retries.spend(now):
                    self.wait = max(self._again_at - now, 0.0)
                    return self._ask(again, now)
            rest = rest_of(plane, target, now)
            strained = rest.until > now
            if strained and self._strained and not health_of(target).may_be_back(rest, now):
                self._place += 1
                continue
            if call.attempts and not plane.retries.spend(now):
                return None
            self._strained = self._strained or strained
            return self._go(target, now)
        return None

    def rival(self) -> Target | None:
        """The next target, if it is well, to be asked beside the last; its attempt is spent."""
        if self._place >= len(self.order):
            return None
        plane = self._call.plane
        now, target = plane.now(), self.order[self._place]
        if target in self._fallbacks or resting_until(plane, target, now) > now:
            return None
        return self._go(target, now) if plane.retries.spend(now, HEDGING) else None

    def larger(self, kind: ErrorKind) -> bool:
        """Whether what is too long for one may fit others: they come next then."""
        call, last = self._call, self._target
        if kind is not ErrorKind.CONTEXT_TOO_LONG or call.too_long == "error" or last is None:
            return False
        told = call.too_long == "next"  # who says so has also those tried that nobody knows
        larger = [
            target
            for target in self.order[self._place :]
            if target.context > last.context > 0 or (told and not (target.context and last.context))
        ]
        self.order = [*self.order[: self._place], *larger]
        return bool(larger)

    def reroute(self, resolved: Resolved) -> bool:
        """Go on with the targets of another model, if it has any but the last one asked."""
        order = _planned(self._call, resolved, self._size, self._max_output)
        self.order = [target for target in order if target is not self._target]
        self._fallbacks = resolved.fallbacks
        self._place = 0
        return bool(self.order)

    def put_back(self, last: Target, slot: int) -> None:
        """The rival is not asked after all: its turn comes if ``last``, with that key, fails."""
        self._place -= 1
        self._target = last
        self._call.slot, self._call.tried = slot, 1 << slot

    def _go(self, target: Target, now: float) -> Target:
        self._place += 1
        return self._ask(target, now)

    def _ask(self, target: Target, now: float) -> Target:
        """Choose the key for it."""
        self._target = target
        call = self._call
        call.slot = call.tried = 0
        runtime = target.runtime
        if len(runtime.keys) > 1:
            slots = usable_keys(call.plane, target, now, 0)
            call.slot = runtime.take_turn(slots) if slots else _slot(call.plane, target, now)
            call.tried = 1 << call.slot
        return target

    def _next_key(self, target: Target, kind: ErrorKind, now: float) -> bool:
        """Take the next healthy key for the same target, where the kind of failure is a key's."""
        call, runtime = self._call, target.runtime
        if len(runtime.keys) < 2 or not reaction(kind).next_key:
            return False
        slots = usable_keys(call.plane, target, now, call.tried)
        if not slots:
            return False
        call.slot = runtime.take_turn(slots)
        call.tried |= 1 << call.slot
        return True

    def _remember(self, target: Target, reply: Reply, kind: ErrorKind, now: float) -> None:
        """Keep who may be asked once more before another model is: a short wait, a lone failure."""
        if self._settled or not self._fallbacks or not reaction(kind).again:
            return
        if reply.status >= 400 and (SHOULD_RETRY, b"false") in reply.headers:
            return
        wait = hint(reply.headers, None, reply.body[:HINTING]) if reply.status >= 400 else -1.0
        if wait < 0:
            if kind is not ErrorKind.UPSTREAM_ERROR or not health_of(target).lone:
                return
            wait = self._call.plane.rng.random() * LONE_SECONDS
        elif wait > self._call.plane.fleet.snapshot.timeouts.short_wait:
            return
        else:
            # Others were told the same moment: let them not all come in it.
            wait += self._call.plane.rng.random() * min(wait, LONE_SECONDS)
        if self._again is None or now + wait < self._again_at:
            self._again, self._again_at = target, now + wait


def _planned(call: Call, resolved: Resolved, size: int, max_output: int) -> list[Target]:
    plane = call.plane
    now = plane.now()
    choice = choice_of(resolved)
    measures: dict[str, list[float]] = {
        name: measure(choice, name, now, size, max_output, call.stream) for name in choice.measures
    }
    call.strategy = resolved.strategy
    call.everyone, call.measures = choice.everyone, measures.get(resolved.strategy, ())
    facts = doubts(call, choice, now)
    standing = Standing(plane.rng, facts=facts, measures=measures, seeds=call.seeds)
    first_fallback = len(resolved.targets)
    everyone = choice.everyone
    order = plan(choice.targets, choice.fallbacks, first_fallback, standing)
    bond = call.bond
    if bond is not None:
        for i in range(first_fallback):
            if everyone[i].name == bond.target and (i not in facts or facts[i].rests <= 0):
                order.remove(i)
                order.insert(0, i)
    return [everyone[i] for i in order]


def doubts(call: Call, choice: Choice, now: float) -> dict[int, Facts]:
    """Those that are not simply well, and how they stand; who rests is kept for the record."""
    plane = call.plane
    lately = now - RAMP_SECONDS
    healths, everyone = choice.healths, choice.everyone
    doubtful = [
        i
        for i, health in enumerate(healths)
        if health.rest.rounds or health.limits or health.risen > lately or health.pressed
    ]
    if plane.key_rests:
        troubled = {key.partition("#")[0] for key in plane.key_rests}
        doubtful += [i for i, target in enumerate(everyone) if target.provider in troubled]
    facts = {}
    for i in doubtful:
        health = healths[i]
        rests = max(resting_until(plane, everyone[i], now) - now, 0.0)
        if rests:
            note_rest(call, everyone[i], now)
        facts[i] = Facts(rests=rests, trial=health.rest.rounds > 0, share=health.share(now))
    count = choice.count
    if count > 1:
        for i in range(count):
            if healths[i].pace.cost > OUTLIER_SECONDS:
                _doubt_the_slow(facts, choice, now)
                break
    return facts


def _doubt_the_slow(facts: dict[int, Facts], choice: Choice, now: float) -> None:
    """Targets that are far slower than the others of the route get few calls."""
    for i in slow([health.pace.expected(now) for health in choice.healths[: choice.count]]):
        known = facts.get(i)
        if known is None:
            facts[i] = Facts(share=OUTLIER_SHARE)
        else:
            known.share = min(known.share, OUTLIER_SHARE)


def _with_room_first(call: Call, order: Sequence[Target], resolved: Resolved) -> Sequence[Target]:
    """Of those that stand for each other, who has a place free before who has none."""
    plane = call.plane
    now = plane.now()
    call.full = [target for target in order if is_full(plane, target)]
    if not call.full:
        return order
    alike = 0
    for target in order:
        if target not in resolved.targets or resting_until(plane, target, now) > now:
            break
        alike += 1
    first = [target for target in order[:alike] if target not in call.full]
    then = [target for target in order[:alike] if target in call.full]
    return [*first, *then, *order[alike:]]


def is_full(plane: Plane, target: Target) -> bool:
    """Whether a call that came there now would have to wait for a place."""
    queue = plane.queues.get(target.provider)
    if queue is None:
        return False
    now = plane.now()
    account = queue.account
    if queue.line.full or (account is not None and account.crowded(target, now)):
        return True
    if not target.runtime.limited:
        return False
    return resting_until(plane, target, now) <= now and not usable_keys(plane, target, now, 0)


def note_rest(call: Call, target: Target, now: float) -> None:
    """Keep for the call's record that the target rests, if it does."""
    rest = rest_of(call.plane, target, now)
    if rest.until > now:
        if call.rests is None:
            call.rests = {}
        call.rests[target] = int((rest.until - now) * 1e6), rest.why


def _rest(plane: Plane, target: Target, slot: int) -> Rest:
    """The longest rest that concerns a target with one of its keys."""
    key = target.runtime.keys[slot]
    return health_of(target).resting(key, plane.key_rests.get(key, WELL))


def resting_until(plane: Plane, target: Target, now: float) -> float:
    """When the target may be asked with some key; a moment that is past = now."""
    return rest_of(plane, target, now).until


def rest_of(plane: Plane, target: Target, now: float) -> Rest:
    """The rest that keeps a target from being asked with its best key, or that has just ended."""
    if len(target.runtime.keys) == 1:
        return _rest(plane, target, 0)
    return _rest(plane, target, _slot(plane, target, now))


def usable_keys(plane: Plane, target: Target, now: float, without: int) -> list[int]:
    """The target's keys that neither rest nor have as many calls at work as they take.

    ``without`` is a set of keys, as bits, that don't come into question.
    """
    runtime = target.runtime
    queue = plane.queues.get(target.provider) if runtime.limited else None
    return [
        slot
        for slot in range(len(runtime.keys))
        if not without >> slot & 1
        and _rest(plane, target, slot).until <= now
        and (queue is None or queue.room(runtime, slot))
    ]


def _slot(plane: Plane, target: Target, now: float) -> int:
    """The first key that may be asked, or else the one that may be soonest."""
    best, best_until = 0, float("inf")
    for slot in range(len(target.runtime.keys)):
        until = _rest(plane, target, slot).until
        if until <= now:
            return slot
        if until < best_until:
            best, best_until = slot, until
    return best


def begin(call: Call, target: Target, now: float) -> None:
    """An attempt begins: count it as the target's work, and as its trial if it is one."""
    health = health_of(target)
    before = call.asked
    if before is not None:
        before.in_flight -= 1
    call.asked = health
    health.in_flight += 1
    plane = call.plane
    if health.rest.rounds or health.limits or plane.key_rests:
        key = target.runtime.keys[call.slot]
        health.claim(key, plane.key_rests.get(key, WELL), now)


def leave(call: Call) -> None:
    """The call is over: no target works on it any more."""
    health = call.asked
    if health is not None:
        health.in_flight -= 1


def note_stream(target: Target, reply: Reply, usage: Usage | None, now: float) -> None:
    """A stream has come to its end: how quick it was."""
    if usage is not None and reply.first_token >= 0:
        seconds = now - reply.first_token
        health_of(target).answered(usage.total_output, seconds, False, now)


def note(
    call: Call, target: Target, reply: Reply, kind: ErrorKind | None, started: float, now: float
) -> None:
    """An attempt has ended: what it says of its target and key, for the calls that come."""
    health = health_of(target)
    plane = call.plane
    plane.metrics.tried(target.provider, kind or "")
    key = target.runtime.keys[call.slot]
    if call.hedge and (kind is None or kind is ErrorKind.SUPERSEDED):
        tail = health.slow_stream if call.stream else health.slow_whole
        begun = reply.first_token if reply.first_token >= 0 else reply.first_byte
        tail.observe((begun if kind is None and begun >= 0 else now) - started)
    if kind is not None and kind is ErrorKind.SUPERSEDED:  # the first spares most calls a look
        health.pace.observe(max(now - started, health.pace.expected(now)), now)
        return
    if kind is None or kind in SURFACED or kind is ErrorKind.UPSTREAM_EMPTY:
        first = reply.first_token if reply.first_token >= 0 else reply.first_byte
        seconds = (first if first >= 0 else now) - started
        usage = reply.usage if target.timed else None
        if usage is not None and health.answered(usage.total_output, now - started, True, now):
            seconds = -1.0  # of a whole answer the first byte tells nothing: it may be the last
        if target.quota:
            left = remaining(reply.headers)
            if left >= 0:
                health.left(key, left, now)
        health.good(key, seconds, started, now, begun=reply.streaming and kind is None)
        if plane.key_rests and key in plane.key_rests and plane.key_rests[key].end(started):
            del plane.key_rests[key]
            plane.log(f"the key {_named(call, target)} works again")
        return
    fault = reply.fault
    if _impatient(call, fault):
        return
    what = reaction(kind)
    if kind is ErrorKind.UPSTREAM_CONNECT and fault is not None and fault.kind is FaultKind.CONNECT:
        what = UNREACHABLE
    wait = hint(reply.headers, None, reply.body[:HINTING]) if reply.status >= 400 else -1.0
    _hold_against(call, target, what, kind, started, now, wait, late=False)


def _impatient(call: Call, fault: Fault | None) -> bool:
    """Whether it was a time that its caller has set, with less patience than others have."""
    if fault is None or not (call.limited or call.hasty):
        return False
    if fault.message == USED_UP:
        return call.limited
    return call.hasty and (fault.kind is FaultKind.TIMEOUT or fault.message.startswith(SLOW))


def _hold_against(
    call: Call, target: Target, what: Reaction, kind: ErrorKind,
    started: float, now: float, wait: float, *, late: bool,
) -> None:  # fmt: skip
    """An attempt failed: whoever that concerns rests. A key that is out of use is told at once."""
    plane = call.plane
    key = target.runtime.keys[call.slot]
    rest = plane.key_rests.get(key)
    news = rest is None and what.scope == "key"
    if rest is None and what.scope == "key":
        rest = plane.key_rests[key] = Rest()
    chance = plane.rng.random()
    health = health_of(target)
    health.bad(what, kind, key, rest or WELL, started, now, wait, chance, late=late)
    if news:
        others = "its other keys are used" if len(target.runtime.keys) > 1 else "it has no other"
        plane.log(
            f"alert: the key {_named(call, target)} can't be used ({kind}); {others}. "
            "It is tried again within half a minute."
        )


def _named(call: Call, target: Target) -> str:
    name = target.runtime.key_names[call.slot]
    return f"{name} of {target.provider}" if name else f"of {target.provider}"


def adopt(call: Call, extras: Route | None, request: Request) -> None:
    """What the model asked for wants done with its answers; a policy's word goes first."""
    call.original = request
    if extras is not None:
        call.on_content_filter = call.on_content_filter or extras.on_content_filter
        call.retry_empty = extras.retry_empty
        call.hedge = extras.hedge
        call.rescue = extras.rescue
    wants = call.retry_empty or call.rescue or bool(call.on_content_filter)
    call.watched = wants and call.endpoint in CONVERSATIONS


def note_end(call: Call, reply: Reply, kind: ErrorKind | None) -> None:
    """A stream that had begun is over: what that says of its target; ``kind`` is how it failed."""
    target = call.target
    assert target is not None
    health = health_of(target)
    if kind is None:
        health.finished()
        return
    now, last = call.plane.now(), call.attempts[-1]
    cut = replace(last, error=kind, end_us=call.us(now))
    call.attempts[-1] = told(call, cut, target, call.slot, reply, False)
    fault = reply.fault
    what = reaction(kind)
    if what.scope == "nothing" or (fault is not None and fault.message == USED_UP):
        return  # it went on well for as long as it was given
    if _impatient(call, fault):
        return
    started = call.began + last.start_us / 1e6
    _hold_against(call, target, what, kind, started, now, -1.0, late=True)
