"""Room in accounts at providers, taken at each attempt: a shared one must not run into the wall.

What a provider takes is said of all of it, of its keys, and of models (rates, calls at once);
limits that are counted ``by: provider`` are taken here, too. A target without room is passed over
as a full one is; where calls may wait, each model's do so in the order in which they came. Where
data planes count together, all of it is asked of the shared counters.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from ferryman.config.delegation import RATE_SECONDS
from ferryman.config.snapshot import RateLimit
from ferryman.flow.bearing import bear
from ferryman.flow.bounds import SILENT, choices
from ferryman.flow.call import Call
from ferryman.flow.charges import end_room
from ferryman.flow.choice import USUAL_OUTPUT
from ferryman.flow.limit_words import refused
from ferryman.flow.limiting import (
    PROVIDER,
    expected_input,
    unbounded,
    upper,
)
from ferryman.flow.turns import usable_keys
from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.meter.limits import (
    Amounts,
    Grant,
    Limit,
    Meter,
    Moment,
    ParallelMeter,
    RateMeter,
    Refusal,
    State,
    admit,
    key_of,
)
from ferryman.upstream.fleet import Runtime, Target
from ferryman.wire.envelope import Request

Applying = list[tuple[Limit, str]]
Bound = tuple[Limit, str] | None
"""A limit, and what it is counted by."""
Look = Callable[[], Awaitable[Grant | Refusal]]
STEP: Final = 0.02
"""Seconds between two looks of the call whose turn it is to wait for room,"""
STEP_SHARED: Final = 0.05
"""and where the counters are shared."""
ANYTHING: Final = Amounts(1, 1)
"""The least that a call takes."""


class Accounts:
    """What one provider takes of us, and who waits for room in it."""

    def __init__(
        self, own: Bound, keys: list[Bound], models: dict[str, Bound], before: "Accounts | None"
    ) -> None:
        self.own = own
        self.keys = keys
        self.keyed = any(keys)
        """Whether it matters which key is used."""
        self.models = models
        self.waiting: int = before.waiting if before is not None else 0
        self.last: dict[str, asyncio.Future[None]] = before.last if before is not None else {}
        """By line, which is a model: done once the last of those who wait has left."""

    def limits(self) -> dict[str, Limit]:
        """All of them, by what they are counted by."""
        every = [self.own, *self.keys, *self.models.values()]
        return {key: limit for each in every if each is not None for limit, key in (each,)}

    def applying(self, model: str, slot: int) -> Applying:
        """What a call to ``model`` with that key takes of."""
        every = (self.own, self.keys[slot], self.models.get(model))
        return [each for each in every if each is not None]

    def crowded(self, target: Target, now: float) -> bool:
        """Whether there is no room for any call there, with whichever key."""
        at = Moment(int(now * 1e9), 0)
        for slot in range(len(self.keys)):
            meters = [
                (meter, key)
                for limit, key in self.applying(target.model, slot)
                for meter in limit.meters
            ]
            if all(meter.refusal(key, ANYTHING, at) is None for meter, key in meters):
                return False
        return True

    def standing(self, at: Moment) -> list[tuple[str, State]]:
        """How every meter stands."""
        return [
            (key, meter.state(key, at))
            for key, limit in self.limits().items()
            for meter in limit.meters
        ]


def accounts_of(runtime: Runtime | None, before: "Accounts | None") -> Accounts | None:
    """The accounts of a provider; None where nothing is said of them."""
    if runtime is None:
        return None
    provider = runtime.provider
    if not (provider.rates or provider.accounts or any(runtime.rates)):
        return None
    name = f"account-{provider.name}"
    old = before.limits() if before is not None else {}
    keys = [
        _limit(name, f"{name}|{key}", rates, 0, old)
        for key, rates in zip(runtime.keys, runtime.rates, strict=True)
    ]
    models = {
        model: _limit(f"{name}/{model}", key_of(f"{name}/{model}"), each.rates, each.calls, old)
        for model, each in provider.accounts.items()
    }
    return Accounts(_limit(name, name, provider.rates, 0, old), keys, models, before)


def places_of(runtime: Runtime | None, before: "Accounts | None") -> Accounts | None:
    """The calls at once of a provider and its keys, for data planes that count them together."""
    if runtime is None:
        return None
    limit = runtime.provider.limit
    calls = limit.calls if limit is not None else 0
    if not calls and not runtime.limited:
        return None
    name = f"account-{runtime.provider.name}"
    old = before.limits() if before is not None else {}
    keys = [
        _limit(name, f"{name}|{key}", (), most, old)
        for key, most in zip(runtime.keys, runtime.most, strict=True)
    ]
    return Accounts(_limit(name, name, (), calls, old), keys, {}, before)


def _limit(
    name: str, key: str, rates: tuple[RateLimit, ...], calls: int, old: dict[str, Limit]
) -> Bound:
    meters: list[Meter] = [
        RateMeter(
            rate.measure, rate.most, RATE_SECONDS[rate.per], rate.burst, rate.per, patient=True
        )
        for rate in rates
    ]
    if calls:
        meters.append(ParallelMeter(calls))
    if not meters:
        return None
    limit = Limit(name, meters, 429)
    limit.inherit(old.get(key))
    return limit, key


async def enter(
    call: Call, target: Target, request: Request, account: Accounts | None, length: int,
    wait: float, *, one_key: bool = False,
) -> GatewayError | None:  # fmt: skip
    """Take room for the call at ``target``, waiting up to ``wait`` seconds if no more than
    ``length`` others do. Returns why there is none; None also once its caller has left.

    ``one_key``: no other of the provider's keys will do.
    """
    applying = [
        (limit, key_of(limit.name, *[target.provider if v == PROVIDER else v for v in values]))
        for limit, values in call.narrow
    ]
    try:
        asked = await _asked(call, target, request, applying)
    except GatewayError as error:
        return error

    async def look() -> Grant | Refusal:
        found = await take_room(call, target, account, applying, asked, one_key=one_key)
        if isinstance(found, Grant):
            call.room, call.room_since = found, len(call.attempts)
            if found.budgets:
                call.rooms = [*call.rooms, found]
                bear(call)  # they may have changed since it began
        return found

    try:
        if account is None:
            found: Grant | Refusal | None = await look()
        else:
            found = await in_turn(call, account, target.model, length, wait, look)
    except GatewayError as error:
        return error
    if found is None or isinstance(found, Grant):
        return None
    limiter = call.plane.limits
    if limiter is not None:
        limiter.refused[found.limit, found.measure] += 1
    return refused(found, applying, moment_of(call))


async def in_turn(
    call: Call, account: Accounts, line: str, length: int, seconds: float, look: Look
) -> Grant | Refusal | None:
    """``look`` for room once those who wait in the line have found some, up to ``seconds`` long if
    no more than ``length`` calls wait. Returns what was found last; None: the caller has left."""
    found: Grant | Refusal | None = None
    if seconds <= 0 or line not in account.last:
        found = await look()
    if isinstance(found, Grant):
        return found
    if seconds <= 0 or account.waiting >= length:
        return found or await look()
    return await _wait(call, account, line, seconds, look)


async def _wait(
    call: Call, account: Accounts, line: str, seconds: float, look: Look
) -> Grant | Refusal | None:
    counters = call.plane.counters
    step = STEP_SHARED if counters is not None and counters.wanted else STEP
    loop = asyncio.get_running_loop()
    ahead, me = account.last.get(line), loop.create_future()
    account.last[line] = me
    account.waiting += 1
    gone = loop.create_future()
    exchange = call.exchange
    exchange.on_gone = lambda: _set(gone)
    began = call.plane.now()
    until = began + seconds
    found: Grant | Refusal | None = None
    try:
        if ahead is not None and not ahead.done():
            await asyncio.wait((ahead, gone), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        while not exchange.gone:
            found = await look()
            left = until - call.plane.now()
            if isinstance(found, Grant) or left <= 0:
                return found
            pause = step if found.wait <= 1 else found.wait - 1.0
            await asyncio.wait((gone,), timeout=min(pause, left))
        return None
    finally:
        exchange.on_gone = None
        account.waiting -= 1
        waited = call.plane.now() - began
        call.waited += waited
        call.queued += waited
        _leave(account, line, me, ahead)


def _set(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def _leave(
    account: Accounts, line: str, me: "asyncio.Future[None]", ahead: "asyncio.Future[None] | None"
) -> None:
    """Let those behind take over; not before those ahead have left."""
    if account.last.get(line) is me and (ahead is None or ahead.done()):
        del account.last[line]
    if ahead is None or ahead.done():
        _set(me)
    else:
        ahead.add_done_callback(lambda _: _leave(account, line, me, ahead))


async def take_room(
    call: Call, target: Target, account: Accounts | None, applying: Applying, asked: Amounts, *,
    one_key: bool,
) -> Grant | Refusal:  # fmt: skip
    """Take room now, with another of the provider's keys if need be. Raises :class:`GatewayError`
    (503) where counters are shared, and there is no serving without them."""
    plane = call.plane
    counters = plane.counters
    slots = [call.slot]
    if account is not None and account.keyed and not one_key:
        tried = call.tried & ~(1 << call.slot)
        found = usable_keys(plane, target, plane.now(), tried)
        slots = sorted(found, key=lambda slot: slot != call.slot) or slots
    least: Refusal | None = None
    for slot in slots:
        of_it = account.applying(target.model, slot) if account is not None else []
        every, at = [*of_it, *applying], moment_of(call)
        if counters is not None and counters.wanted and every:
            got = await counters.attempt(call.id, every, asked, at)
        else:
            got = admit(every, asked, at)
        if isinstance(got, Grant):
            call.slot = slot
            call.tried |= 1 << slot
            return got
        if least is None or 0 <= got.wait < least.wait:
            least = got
    assert least is not None
    return least


async def _asked(call: Call, target: Target, request: Request, applying: Applying) -> Amounts:
    """What the call takes there: as expected of rates, at most of budgets."""
    tokens = await expected_input(call, request, target)
    silent = call.endpoint in SILENT
    output = 0 if silent else (request.max_output or USUAL_OUTPUT) * choices(request)
    most = picodollars = 0
    if any(limit.budgeted for limit, _ in applying):
        why = unbounded(call, request, target)
        if why:
            raise GatewayError(400, ErrorKind.UNPRICED, why, param="model")
        most, picodollars = upper(call, request, target)
    return Amounts(tokens, output, most, picodollars)


def leave_room(call: Call) -> None:
    """The attempt for which room was taken is over, or was never made."""
    if len(call.attempts) <= call.room_since:
        end_room(call, None, 0, True, sent=False)
        return
    last = call.attempts[-1]
    end_room(call, last.usage, last.cost, last.whole)


def sooner(one: GatewayError | None, other: GatewayError) -> GatewayError:
    """Of two refusals, the one after which to come back first."""
    if one is None:
        return other
    waits = [dict(error.headers).get(b"retry-after", b"") for error in (one, other)]
    if not waits[1].isdigit():
        return one if waits[0].isdigit() else other
    return one if waits[0].isdigit() and int(waits[0]) <= int(waits[1]) else other


def moment_of(call: Call) -> Moment:
    """Now, as meters take it: in periods of budgets, when the call began."""
    return Moment(int(call.plane.now() * 1e9), call.at_us // 1_000_000)
