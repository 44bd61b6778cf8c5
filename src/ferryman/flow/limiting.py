"""Limits and budgets on the request path: whose a call's are, what it takes, what is said of it."""

import asyncio
import contextlib
import math
import time
from collections import Counter
from collections.abc import Coroutine, Sequence
from itertools import product
from typing import Any, Final, NamedTuple

from ferryman.catalog.tokens import estimate
from ferryman.config.delegation import RATE_SECONDS
from ferryman.config.feed import KeyFacts
from ferryman.config.snapshot import Budget, CallLimit, Condition, Snapshot
from ferryman.flow.allowance import partly
from ferryman.flow.asking import LARGE, conversation_of
from ferryman.flow.bearing import bear
from ferryman.flow.bounds import SILENT, answers, beyond, choices, most_output
from ferryman.flow.call import Call, Plane
from ferryman.flow.choice import USUAL_OUTPUT
from ferryman.flow.deliver import usd
from ferryman.flow.headers import HeaderFacts
from ferryman.flow.limit_words import Plan, over, refused, stands
from ferryman.flow.pictures import most_input, note_images, pictured
from ferryman.flow.policies import WHOSE, Facts
from ferryman.flow.turns import Turns
from ferryman.flow.window import text_size
from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.meter.cost import hold, price_at
from ferryman.meter.limits import (
    TOKENS,
    USD,
    Amounts,
    BudgetMeter,
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
from ferryman.meter.spending import Spending
from ferryman.meter.window import Window
from ferryman.routing.conditions import Meets, compiled
from ferryman.telemetry.metrics import family
from ferryman.upstream.fleet import Target
from ferryman.wire.envelope import Request
from ferryman.wire.paths import CONVERSATIONS

NEWS_PATIENCE: Final = 10.0
"""Seconds that a call waits for what was spent to be known, in the first moments of a gateway."""
PROVIDER: Final = "\0provider"
"""A dimension whose value is known at the attempt; until then it stands for itself."""
NONE_GIVEN: Final = "-"
"""The value of calls that have none."""
PLANS_KEPT: Final = 4096
"""Keys, with a policy and a model each, of which is remembered what applies to them."""
SMALL: Final = 4096
"""Bytes of a body whose tokens are not worth a closer look."""


class Bound(NamedTuple):
    """A limit, and which calls it is for."""

    limit: Limit
    by: tuple[str, ...]
    meets: Meets | None
    """None: all calls,"""
    policy: str
    """or those of this policy, if it is no limit but a policy's budget."""
    fixed: bool
    """Whether all calls fall under it alike that are of one key, policy and model."""


class Limiter:
    """The limits of a snapshot, with what is counted of them."""

    def __init__(self, snapshot: Snapshot, before: "Limiter | None") -> None:
        """What is counted goes on where ``before`` stood."""
        bounds = [_bound(each) for each in snapshot.limits]
        for rule in snapshot.rules:
            if rule.budgets:
                limit = _limit(CallLimit(name=f"policy-{rule.name}", budgets=rule.budgets))
                bounds.append(Bound(limit, (), None, rule.name, True))
        self.bounds = tuple(each for each in bounds if "provider" not in each.by)
        self.attempts = tuple(each for each in bounds if "provider" in each.by)
        """Those that are taken at each attempt (``flow/accounts.py``)."""
        self._fixed = all(bound.fixed for bound in self.bounds)
        self._by_model = any("model" in bound.by for bound in self.bounds)
        self._whose: dict[str, KeyFacts] = {}
        self._ready: dict[tuple[str, str, str], tuple[list[tuple[Limit, str]], Plan]] = {}
        """What :meth:`applying` has found, as long as keys are as in ``_whose``."""
        self._plans: dict[tuple[Limit, ...], Plan] = {}
        old = {bound.limit.name: bound.limit for bound in before.every} if before else {}
        for bound in bounds:
            bound.limit.inherit(old.get(bound.limit.name))
        self.budgets = {
            bound.limit.name: [m for m in bound.limit.meters if isinstance(m, BudgetMeter)]
            for bound in bounds
            if bound.limit.budgeted
        }
        """By their limits' names."""
        self.bearing: dict[str, Call] = before.bearing if before else {}
        """Calls under way that budgets bear, by id."""
        self.learned = asyncio.Event()
        """Set once it is known what was spent of every budget."""
        self.refused: Counter[tuple[str, str]] = (
            before.refused if before else Counter[tuple[str, str]]()
        )
        """Calls refused, by limit and measure."""
        self.over: Counter[str] = before.over if before else Counter[str]()
        """Calls let through beyond a soft budget, by limit."""
        self.told: set[tuple[str, int]] = before.told if before else set[tuple[str, int]]()
        """Keys of soft budgets that the log has told of, with the period's end."""

    @property
    def every(self) -> tuple[Bound, ...]:
        """All of them."""
        return self.bounds + self.attempts

    def applying(
        self, call: Call, request: Request, first: str, headers: HeaderFacts
    ) -> tuple[list[tuple[Limit, str]], Plan]:
        """The limits that are for this call, with what it is counted under; not the attempts'."""
        if not self._fixed:
            return self._find(call, request, first, headers)
        whose = call.plane.facts
        if whose is not self._whose:
            self._ready, self._whose = {}, whose
        model = _model(call, request, first) if self._by_model else ""
        fixed = (call.key, call.policy, model)
        found = self._ready.get(fixed)
        if found is None:
            if len(self._ready) >= PLANS_KEPT:
                self._ready.clear()
            found = self._ready[fixed] = self._find(call, request, first, headers)
        return found

    def _find(
        self, call: Call, request: Request, first: str, headers: HeaderFacts
    ) -> tuple[list[tuple[Limit, str]], Plan]:
        pairs = _applying(self.bounds, call, request, first, Facts(call, request, headers))
        limits = tuple([limit for limit, _ in pairs])
        plan = self._plans.get(limits)
        if plan is None:
            if len(self._plans) >= PLANS_KEPT:
                self._plans.clear()
            plan = self._plans[limits] = Plan(limits)
        return [(limit, key_of(limit.name, *values)) for limit, values in pairs], plan

    def unknown(self) -> list[tuple[str, BudgetMeter]]:
        """Budgets of which is not known what was spent before, with their limits' names."""
        budgets = self.budgets.items()
        return [(name, meter) for name, of in budgets for meter in of if not meter.known()]

    def standing(self, at: Moment) -> list[tuple[str, State]]:
        """How every meter stands for every key that it remembers."""
        return [
            (key, meter.state(key, at))
            for bound in self.every
            for meter in bound.limit.meters
            for key in meter.keys()  # noqa: SIM118 - no mapping
        ]


def limiter_of(snapshot: Snapshot, before: Limiter | None) -> Limiter | None:
    """The snapshot's limits; None when it has none, so that calls pay nothing."""
    limited = snapshot.limits or any(rule.budgets for rule in snapshot.rules)
    return Limiter(snapshot, before) if limited else None


def _bound(given: CallLimit) -> Bound:
    meets = compiled(given.when) if given.when is not None else None
    facts = {*given.by, *(_facts(given.when) if given.when is not None else ())} - {"key", *WHOSE}
    fixed = facts <= {"model"} and (given.when is None or "model" not in _facts(given.when))
    return Bound(_limit(given), given.by, meets, "", fixed)


def _facts(condition: Condition) -> set[str]:
    """What a condition asks for."""
    found = {condition.fact} if condition.fact else set()
    return found.union(*[_facts(part) for part in condition.parts])


def _limit(given: CallLimit) -> Limit:
    meters: list[Meter] = [
        RateMeter(rate.measure, rate.most, RATE_SECONDS[rate.per], rate.burst, rate.per)
        for rate in given.rates
    ]
    if given.parallel:
        meters.append(ParallelMeter(given.parallel))
    meters += [_budget(budget) for budget in given.budgets]
    return Limit(given.name, meters, given.status)


def _budget(given: Budget) -> BudgetMeter:
    window = Window(given.per, given.zone, rolling=given.rolling)
    return BudgetMeter(
        USD if given.unit == "usd" else TOKENS, given.most,
        Spending(window, time.time_ns() // 1000), soft=given.soft, extra=given.extra,
        extra_until=given.extra_until, carries=given.carry_over, cuts=given.cut,
    )  # fmt: skip


async def falls_under(
    call: Call, request: Request, turns: Turns, headers: HeaderFacts
) -> list[dict[str, object]]:
    """The limits that the call falls under, how they stand, what it would take, and whether it
    would pass; nothing is taken."""
    limiter = call.plane.limits
    if limiter is None:
        return []
    first = turns.order[0]
    applying = list(limiter.applying(call, request, first.name, headers)[0])
    said = Facts(call, request, headers)
    for limit, values in _applying(limiter.attempts, call, request, first.name, said):
        values = [first.provider if v == PROVIDER else v for v in values]
        applying.append((limit, key_of(limit.name, *values)))
    if not applying:
        return []
    asked = await _asked(call, request, turns, Plan([limit for limit, _ in applying]))
    at = Moment(int(call.plane.now() * 1e9), call.at_us // 1_000_000)
    found = []
    for limit, key in applying:
        for meter in limit.meters:
            row = stands(key, meter.state(key, at))
            units = meter.asked(asked)
            row["takes"] = usd(units) if meter.measure == USD else units
            row["passes"] = meter.refusal(key, asked, at) is None
            found.append(row)
    return found


def reserve(
    call: Call, request: Request, turns: Turns, headers: HeaderFacts
) -> Coroutine[Any, Any, None] | None:
    """Take what the call may use at most of all its limits. Returns what is to be awaited; None
    for most calls, of which it is done. That, or this, raises :class:`GatewayError`.

    429 beyond a rate, the limit's own status beyond a budget, 400 where no bound is known for what
    the call may cost, 503 while it is not known what was spent before.
    """
    limiter, counters = call.plane.limits, call.plane.counters
    assert limiter is not None
    if limiter.attempts or (counters is not None and counters.wanted):
        return _reserve(call, limiter, request, turns, headers)
    applying, plan = limiter.applying(call, request, turns.order[0].name, headers)
    if not applying:
        return None
    asked = _plainly_asked(call, request, turns, plan)
    if asked is None:
        return _reserve(call, limiter, request, turns, headers)
    at = Moment(int(call.plane.now() * 1e9), call.at_us // 1_000_000)
    found = admit(applying, asked, at)
    if isinstance(found, Refusal):
        return _reserve(call, limiter, request, turns, headers)
    _granted(call, limiter, found, applying, plan, at)
    return None


async def _reserve(
    call: Call, limiter: Limiter, request: Request, turns: Turns, headers: HeaderFacts
) -> None:
    """The same for any call: others are asked, a closer look is taken, and there may be waits."""
    if limiter.attempts:
        await _narrow(limiter.attempts, call, request, turns, Facts(call, request, headers))
    applying, plan = limiter.applying(call, request, turns.order[0].name, headers)
    if not applying and not call.expected:
        return
    asked = _plainly_asked(call, request, turns, plan)
    if asked is None:
        asked = await _asked(call, request, turns, plan)
    at = Moment(int(call.plane.now() * 1e9), call.at_us // 1_000_000)
    found = await _admitted(call, applying, asked, at)
    if isinstance(found, Refusal) and found.unknown:
        news = asyncio.ensure_future(limiter.learned.wait())
        await asyncio.wait((news,), timeout=max(min(NEWS_PATIENCE, _left(call)), 0.0))
        news.cancel()
        at = Moment(int(call.plane.now() * 1e9), at.unix)
        found = await _admitted(call, applying, asked, at)
    if isinstance(found, Refusal) and found.budget and call.stream:
        found = await partly(call, request, turns, applying, asked, at) or found
    if isinstance(found, Refusal):
        limiter.refused[found.limit, found.measure] += 1
        raise refused(found, applying, at)
    _granted(call, limiter, found, applying, plan, at)


async def _admitted(
    call: Call, applying: list[tuple[Limit, str]], asked: Amounts, at: Moment
) -> Grant | Refusal:
    counters = call.plane.counters
    if counters is not None and counters.wanted:
        noted = bool(call.expected)
        return await counters.admit(call.id, applying, asked, at, noted=noted, left=_left(call))
    return admit(applying, asked, at)


def _left(call: Call) -> float:
    """Seconds of its total time."""
    return call.deadline() - call.plane.now()


def _granted(
    call: Call, limiter: Limiter, found: Grant, applying: list[tuple[Limit, str]], plan: Plan,
    at: Moment,
) -> None:  # fmt: skip
    call.grant = found
    if found.budgets or call.expected:
        limiter.bearing[call.id] = call
        if call.plane.limits is not limiter:
            bear(call)  # they have changed while it waited
    lines = plan.lines(applying, at)
    if plan.soft:
        lines += b"".join([over(call, limiter, limit, key, at) for limit, key in applying])
    call.limit_lines = lines
    if call.explain:
        states = [(key, each.state(key, at)) for limit, key in applying for each in limit.meters]
        call.limits = [stands(key, state) for key, state in states]


async def knock(call: Call, request: Request, headers: HeaderFacts, target: str) -> None:
    """Count a call that gets ``target``'s answer again: one request, and nothing else of limits.

    Raises :class:`GatewayError` (429).
    """
    limiter = call.plane.limits
    if limiter is None:
        return
    found, _ = limiter.applying(call, request, target, headers)
    applying = [(limit.knocks, key) for limit, key in found if limit.knocks is not None]
    if not applying:
        return
    at = Moment(int(call.plane.now() * 1e9), call.at_us // 1_000_000)
    counters = call.plane.counters
    if counters is not None and counters.wanted:
        grant = await counters.admit(call.id, applying, Amounts(), at)
    else:
        grant = admit(applying, Amounts(), at)
    if isinstance(grant, Refusal):
        limiter.refused[grant.limit, grant.measure] += 1
        raise refused(grant, applying, at)
    call.grant = grant
    call.limit_lines = Plan([limit for limit, _ in applying]).lines(applying, at)


# -- whose they are --------------------------------------------------------------------------------


async def _narrow(
    bounds: Sequence[Bound], call: Call, request: Request, turns: Turns, said: Facts
) -> None:
    """Note which limits, ``bounds``, are to be taken at each attempt."""
    first = turns.order[0]
    call.narrow = _applying(bounds, call, request, first.name, said)
    for limit, values in call.narrow:
        if not limit.budgeted:
            continue
        call.bounded, call.priced = True, call.priced or limit.money
        await note_images(call, request)
        key = key_of(limit.name, *[first.provider if v == PROVIDER else v for v in values])
        tokens, picodollars = upper(call, request, first)
        call.expected = [*call.expected, (key, picodollars, tokens)]


def _applying(
    bounds: Sequence[Bound], call: Call, request: Request, first: str, said: Facts
) -> list[tuple[Limit, Sequence[str]]]:
    """The limits among ``bounds`` that are for this call, with the values that it counts with."""
    found: list[tuple[Limit, Sequence[str]]] = []
    for limit, by, meets, policy, _ in bounds:
        if policy and policy != call.policy:
            continue
        if meets is not None and not meets(said.ask):
            continue
        if not by:
            found.append((limit, ()))
            continue
        if len(by) == 1:
            for value in _values(by[0], call, request, first, said):
                found.append((limit, (value,)))
            continue
        values = [_values(name, call, request, first, said) for name in by]
        found += [(limit, each) for each in product(*values)]
    return found


def _values(name: str, call: Call, request: Request, first: str, said: Facts) -> Sequence[str]:
    """The call's values of a dimension: one, but for tags."""
    if name == "key":
        return (call.key,)
    if name == "provider":
        return (PROVIDER,)
    if name == "model":
        return (_model(call, request, first),)
    value = said.ask(name)
    if isinstance(value, frozenset):
        return sorted(value) or (NONE_GIVEN,)
    return (NONE_GIVEN if value is None else str(value),)


def _model(call: Call, request: Request, first: str) -> str:
    """The name that the call's model is counted by: a route's, or else its first target's."""
    asked = call.use or request.model
    return asked if asked in call.plane.fleet.snapshot.routes else first


# -- what it takes ---------------------------------------------------------------------------------


async def _asked(call: Call, request: Request, turns: Turns, plan: Plan) -> Amounts:
    """What the call takes: as expected for rates, at most for budgets."""
    tokens = await expected_input(call, request, turns.order[0]) if plan.counts else 0
    if plan.budgeted:
        await note_images(call, request)
    return _amounts(call, request, turns, plan, tokens)


def _plainly_asked(call: Call, request: Request, turns: Turns, plan: Plan) -> Amounts | None:
    """The same for most calls, at once; None where the request needs a closer look."""
    tokens = 0
    if plan.counts:
        tokens = _plain_input(call, request, turns.order[0])
        if tokens < 0:
            return None
    if plan.budgeted and pictured(call, request):
        return None
    return _amounts(call, request, turns, plan, tokens)


def _amounts(call: Call, request: Request, turns: Turns, plan: Plan, tokens: int) -> Amounts:
    output = most = picodollars = 0
    if plan.counts and call.endpoint not in SILENT:
        output = (request.max_output or USUAL_OUTPUT) * choices(request)
    if plan.budgeted:
        call.bounded, call.priced = True, call.priced or plan.money
        most, picodollars = _bounds(call, request, turns)
    return Amounts(tokens, output, most, picodollars)


def _bounds(call: Call, request: Request, turns: Turns) -> tuple[int, int]:
    """The most tokens and picodollars that a call may take. Raises :class:`GatewayError` (400)."""
    # Where several may be asked to the end, all of them may have to be paid for.
    several = call.hedge or call.rescue or call.retry_empty or call.on_content_filter
    most = picodollars = 0
    found = False
    for target in everyone(call, turns):
        if unbounded(call, request, target):
            continue
        found = True
        used, cost = upper(call, request, target)
        most = most + used if several else max(most, used)
        picodollars = picodollars + cost if several else max(picodollars, cost)
    if not found:
        why = unbounded(call, request, turns.order[0])
        raise GatewayError(400, ErrorKind.UNPRICED, why, param="model")
    return most, picodollars


def upper(call: Call, request: Request, target: Target) -> tuple[int, int]:
    """The most tokens and picodollars that the call may take there."""
    size = most_input(call, request, target)
    output = answers(call, request) * most_output(call, request, target)
    cost = 0
    if call.priced:
        cost = hold(target.dearest, size, output) + beyond(call, request, target)
    return size + output, cost


async def expected_input(call: Call, request: Request, target: Target) -> int:
    """Tokens of input, estimated: from the bytes of a text, with a closer look at the rest."""
    plain = _plain_input(call, request, target)
    if plain >= 0:
        return plain
    size = len(request.body)
    with contextlib.suppress(GatewayError):  # its provider will say what is wrong with it
        if size < LARGE:
            return estimate(conversation_of(call, request), target.gauge)
        loop = asyncio.get_running_loop()
        conversation = await loop.run_in_executor(None, conversation_of, call, request)
        return await loop.run_in_executor(None, estimate, conversation, target.gauge)
    return _by_bytes(size, target)


def _plain_input(call: Call, request: Request, target: Target) -> int:
    """Tokens of a text, estimated from its bytes; -1 for what needs a closer look."""
    size = len(request.body)
    if size <= SMALL or call.endpoint not in CONVERSATIONS or text_size(request.body):
        return _by_bytes(size, target)
    return -1


def _by_bytes(size: int, target: Target) -> int:
    per_token: float = target.gauge.bytes_per_token
    return math.ceil(size / per_token)


def everyone(call: Call, turns: Turns) -> Sequence[Target]:
    """Who may be asked, and who when a content filter stops the call."""
    if not call.on_content_filter:
        return turns.order
    targets = list(turns.order)
    try:
        other = call.plane.fleet.resolve(call.on_content_filter)
    except GatewayError:
        return targets  # not active: it won't be asked either
    targets += [each for each in (*other.targets, *other.fallbacks) if each not in targets]
    return targets


def unbounded(call: Call, request: Request, target: Target) -> str:
    """Why there is no bound for what a call costs there, though a budget needs one; "" = it has."""
    steady = target.books[0].fixed is not None
    if call.priced and not steady and price_at(target.prices, call.at_us // 1_000_000) is None:
        return (
            f"{target.name} has no price, and this call counts in a budget. Whoever runs the "
            f"gateway can give it one: providers.{target.provider}.prices (0 where it is free)."
        )
    if most_output(call, request, target):
        return ""
    speaks = call.endpoint in CONVERSATIONS or call.endpoint == "completions"
    if speaks and (target.dearest[1] > 0 or not call.priced):
        return (
            f"Nobody knows how long an answer of {target.name} may get, and this call counts in a "
            "budget. Say at most how many tokens it may have (max_tokens), or give its max_output: "
            f"providers.{target.provider}.models."
        )
    return ""


# -- what is said of it ----------------------------------------------------------------------------


def limit_page(plane: Plane) -> bytes:
    """The part of the metrics that is about what is counted: the journal, and limits."""
    out = family("journal_failing", "gauge", "1 while records of calls can't be written.")
    out.append(f"ferryman_journal_failing {int(plane.refusing)}")
    out += family("owed_records", "gauge", "Records in memory that are yet to be written.")
    out.append(f"ferryman_owed_records {len(plane.owed)}")
    out += family("lost_records_total", "counter", "Records given up: too many were owed.")
    out.append(f"ferryman_lost_records_total {plane.dropped}")
    counters, limiter = plane.counters, plane.limits
    if counters is not None and counters.wanted:
        out += family("limits_shared", "gauge", "Gateways that count limits together now.")
        out.append(f"ferryman_limits_shared {int(counters.connected)}")
        out += family("limits_alone_total", "counter", "Calls decided without the shared counters.")
        out.append(f"ferryman_limits_alone_total {counters.alone}")
    out += family("limit_refusals_total", "counter", "Calls refused, by limit and measure.")
    if limiter is None:
        return ("\n".join(out) + "\n").encode()
    for (name, measure), count in sorted(limiter.refused.items()):
        label = f'limit="{name}",measure="{measure}"'
        out.append(f"ferryman_limit_refusals_total{{{label}}} {count}")
    out += family("over_budget_total", "counter", "Calls let through beyond a soft budget.")
    for name, count in sorted(limiter.over.items()):
        out.append(f'ferryman_over_budget_total{{limit="{name}"}} {count}')
    return ("\n".join(out) + "\n").encode()


def standing(plane: Plane) -> list[dict[str, object]]:
    """How every limit stands for each of its keys, those of accounts at providers among them;
    amounts in USD as exact decimals."""
    at = Moment(int(plane.now() * 1e9), int(time.time()))
    found = plane.limits.standing(at) if plane.limits is not None else []
    for queue in plane.queues.values():
        if queue.account is not None:
            found += queue.account.standing(at)
    return [stands(key, state) for key, state in found]
