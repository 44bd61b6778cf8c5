"""Limits and budgets on the request path: whose a call's are, what it takes, what is said of it."""

import asyncio
import contextlib
import math
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import product
from typing import Final, NamedTuple

from ferryman.config.snapshot import RATES, Budget, CallLimit, Snapshot
from ferryman.flow.asking import LARGE
from ferryman.flow.bonds import Caller
from ferryman.flow.bounds import IMAGE_TOKENS, IMAGES, answers, beyond, choices, size_of
from ferryman.flow.call import Call, Plane
from ferryman.flow.choice import USUAL_OUTPUT
from ferryman.flow.deliver import NO_RETRY, SDK_WAITS, usd
from ferryman.flow.headers import HeaderFacts
from ferryman.flow.policies import Facts
from ferryman.flow.turns import Turns
from ferryman.flow.window import text_size
from ferryman.http1.exchange import Headers
from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.meter.cost import hold, rate_at
from ferryman.meter.limits import (
    PARALLEL,
    TOKENS,
    USD,
    Amounts,
    BudgetMeter,
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
from ferryman.meter.throttle import NEVER
from ferryman.meter.window import Window
from ferryman.routing.conditions import Meets, compiled
from ferryman.telemetry.metrics import family
from ferryman.upstream.fleet import Target
from ferryman.wire.envelope import Request
from ferryman.wire.paths import CONVERSATIONS

SECONDS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
NEWS_PATIENCE: Final = 3.0
"""Seconds that a call waits for what was spent to be known, in the first moments of a gateway."""
NONE_GIVEN: Final = "-"
"""The value of calls that have none."""
SILENT: Final = frozenset(("embeddings", "embed", "embed_content", "batch_embed_contents", "rerank",
                           "moderations"))  # fmt: skip
"""Endpoints whose answers are no tokens."""
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


class Limiter:
    """The limits of a snapshot, with what is counted of them."""

    def __init__(self, snapshot: Snapshot, before: "Limiter | None") -> None:
        """What is counted goes on where ``before`` stood."""
        bounds = [_bound(each) for each in snapshot.limits]
        for rule in snapshot.rules:
            if rule.budgets:
                limit = _limit(CallLimit(name=f"policy-{rule.name}", budgets=rule.budgets))
                bounds.append(Bound(limit, (), None, rule.name))
        self.bounds = tuple(bounds)
        old = {bound.limit.name: bound.limit for bound in before.bounds} if before else {}
        for bound in bounds:
            bound.limit.inherit(old.get(bound.limit.name))
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

    def unknown(self) -> list[tuple[str, BudgetMeter]]:
        """Budgets of which is not known what was spent before, with their limits' names."""
        return [
            (bound.limit.name, meter)
            for bound in self.bounds
            for meter in bound.limit.meters
            if isinstance(meter, BudgetMeter) and not meter.known
        ]

    def standing(self, at: Moment) -> list[tuple[str, State]]:
        """How every meter stands for every key that it remembers."""
        return [
            (key, meter.state(key, at))
            for bound in self.bounds
            for meter in bound.limit.meters
            for key in meter.keys()  # noqa: SIM118 - no mapping
        ]


def limiter_of(snapshot: Snapshot, before: Limiter | None) -> Limiter | None:
    """The snapshot's limits; None when it has none, so that calls pay nothing."""
    limited = snapshot.limits or any(rule.budgets for rule in snapshot.rules)
    return Limiter(snapshot, before) if limited else None


def _bound(given: CallLimit) -> Bound:
    meets = compiled(given.when) if given.when is not None else None
    return Bound(_limit(given), given.by, meets, "")


def _limit(given: CallLimit) -> Limit:
    meters: list[Meter] = [
        RateMeter(rate.measure, rate.most, SECONDS[rate.per], rate.burst, rate.per)
        for rate in given.rates
    ]
    if given.parallel:
        meters.append(ParallelMeter(given.parallel))
    meters += [_budget(budget) for budget in given.budgets]
    return Limit(given.name, meters, given.status)


def _budget(given: Budget) -> BudgetMeter:
    window = Window(given.per, given.zone, rolling=given.rolling)
    return BudgetMeter(
        USD if given.unit == "usd" else TOKENS, given.most, Spending(window), soft=given.soft,
        extra=given.extra, extra_until=given.extra_until, begun_us=time.time_ns() // 1000,
    )  # fmt: skip


async def reserve(call: Call, request: Request, turns: Turns, headers: HeaderFacts) -> None:
    """Take what the call may use at most of all its limits. Raises :class:`GatewayError`.

    429 beyond a rate, the limit's own status beyond a budget, 400 where no bound is known for what
    the call may cost, 503 while it is not known what was spent before.
    """
    limiter = call.plane.limits
    assert limiter is not None
    said = Facts(call, request, headers)
    applying = _applying(limiter, call, request, turns.order[0].name, headers.session, said)
    if not applying:
        return
    limits = [limit for limit, _ in applying]
    asked = await _asked(call, request, turns, limits, said)
    at = Moment(int(call.plane.now() * 1e9), call.at_us // 1_000_000)
    found = admit(applying, asked, at)
    if isinstance(found, Refusal) and found.unknown:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(limiter.learned.wait(), NEWS_PATIENCE)
        found = admit(applying, asked, at)
    if isinstance(found, Refusal):
        limiter.refused[found.limit, found.measure] += 1
        raise _refused(found, applying, at)
    call.grant = found
    lines = _lines(applying, at)
    for limit, key in applying:
        if limit.soft:
            lines += _told(call, limiter, limit, key, at)
    call.limit_lines = lines


def knock(call: Call, request: Request, headers: HeaderFacts, target: str) -> None:
    """Count a call that gets ``target``'s answer again: one request, and nothing else of limits.

    Raises :class:`GatewayError` (429).
    """
    limiter = call.plane.limits
    if limiter is None:
        return
    said = Facts(call, request, headers)
    found = _applying(limiter, call, request, target, headers.session, said)
    applying = [(limit.knocks, key) for limit, key in found if limit.knocks is not None]
    if not applying:
        return
    at = Moment(int(call.plane.now() * 1e9), call.at_us // 1_000_000)
    grant = admit(applying, Amounts(), at)
    if isinstance(grant, Refusal):
        limiter.refused[grant.limit, grant.measure] += 1
        raise _refused(grant, applying, at)
    call.grant = grant
    call.limit_lines = _lines(applying, at)


# -- whose they are --------------------------------------------------------------------------------


def _applying(
    limiter: Limiter, call: Call, request: Request, first: str, session: bytes, said: Facts
) -> list[tuple[Limit, str]]:
    """The limits that are for this call, with the keys that it counts with."""
    found: list[tuple[Limit, str]] = []
    for limit, by, meets, policy in limiter.bounds:
        if policy and policy != call.policy:
            continue
        if meets is not None and not meets(said.ask):
            continue
        if not by:
            found.append((limit, limit.name))
            continue
        if len(by) == 1:
            for value in _values(by[0], call, request, first, session, said):
                found.append((limit, key_of(limit.name, value)))
            continue
        values = [_values(name, call, request, first, session, said) for name in by]
        found += [(limit, key_of(limit.name, *each)) for each in product(*values)]
    return found


def _values(
    name: str, call: Call, request: Request, first: str, session: bytes, said: Facts
) -> Sequence[str]:
    """The call's values of a dimension: one, but for tags."""
    if name == "key":
        return (call.key,)
    if name == "model":
        asked = call.use or request.model
        return (asked if asked in call.plane.fleet.snapshot.routes else first,)
    if name == "user":
        raw = Caller(call, request, session, b"").identity("user").partition(b"\0")[2]
        return (raw.decode("utf-8", "replace") or NONE_GIVEN,)
    value = said.ask(name)
    if isinstance(value, frozenset):
        return sorted(value) or (NONE_GIVEN,)
    return (NONE_GIVEN if value is None else str(value),)


# -- what it takes ---------------------------------------------------------------------------------


async def _asked(
    call: Call, request: Request, turns: Turns, limits: Iterable[Limit], said: Facts
) -> Amounts:
    """What the call takes: as expected for rates, at most for budgets."""
    counts = budgeted = money = False
    for limit in limits:
        counts, budgeted = counts or limit.counts, budgeted or limit.budgeted
        money = money or limit.money
    tokens = output = most = picodollars = 0
    if counts:
        tokens = await _input(request, turns.order[0], said)
        silent = call.endpoint in SILENT
        output = 0 if silent else (request.max_output or USUAL_OUTPUT) * choices(request)
    if budgeted:
        call.bounded, call.priced = True, money
        most, picodollars = _bounds(call, request, turns)
    return Amounts(tokens, output, most, picodollars)


def _bounds(call: Call, request: Request, turns: Turns) -> tuple[int, int]:
    """The most tokens and picodollars that a call may take. Raises :class:`GatewayError` (400)."""
    # Where several may be asked to the end, all of them may have to be paid for.
    several = call.hedge or call.rescue or call.retry_empty or call.on_content_filter
    times, size = answers(call, request), size_of(call, request)
    most = picodollars = 0
    found = False
    for target in _everyone(call, turns):
        if unbounded(call, request, target):
            continue
        found = True
        output = times * _most_output(call, request, target)
        used, cost = size + output, 0
        if call.priced:
            cost = hold(target.dearest, size, output) + beyond(call, request, target)
        most = most + used if several else max(most, used)
        picodollars = picodollars + cost if several else max(picodollars, cost)
    if not found:
        why = unbounded(call, request, turns.order[0])
        raise GatewayError(400, ErrorKind.UNPRICED, why, param="model")
    return most, picodollars


async def _input(request: Request, target: Target, said: Facts) -> int:
    """Tokens of input, estimated: from the bytes of a text, with a closer look at the rest."""
    size = len(request.body)
    if size <= SMALL or text_size(request.body):
        return math.ceil(size / target.gauge.bytes_per_token)
    if size < LARGE:
        found = said.ask("tokens")
    else:
        found = await asyncio.get_running_loop().run_in_executor(None, said.ask, "tokens")
    return found if isinstance(found, int) else size


def _everyone(call: Call, turns: Turns) -> Sequence[Target]:
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


def _most_output(call: Call, request: Request, target: Target) -> int:
    """The most tokens of an answer; 0 = nobody knows."""
    if call.endpoint in SILENT:
        return 0
    if call.endpoint in IMAGES:
        return max(target.max_output, IMAGE_TOKENS)
    return request.max_output or target.max_output or target.context


def unbounded(call: Call, request: Request, target: Target) -> str:
    """Why there is no bound for what a call costs there, though a budget needs one; "" = it has."""
    if call.priced and rate_at(target.prices, call.at_us // 1_000_000, 0) is None:
        return (
            f"{target.name} has no price, and this call counts in a budget. Whoever runs the "
            f"gateway can give it one: providers.{target.provider}.prices (0 where it is free)."
        )
    speaks = call.endpoint in CONVERSATIONS or call.endpoint == "completions"
    matters = speaks and (target.dearest[1] > 0 or not call.priced)
    if matters and not _most_output(call, request, target):
        return (
            f"Nobody knows how long an answer of {target.name} may get, and this call counts in a "
            "budget. Say at most how many tokens it may have (max_tokens), or give its max_output: "
            f"providers.{target.provider}.models."
        )
    return ""


# -- what is said of it ----------------------------------------------------------------------------


def _told(call: Call, limiter: Limiter, limit: Limit, key: str, at: Moment) -> bytes:
    """If a soft budget is exceeded: count it, tell the log once in a period, and the caller."""
    for meter in limit.meters:
        if not isinstance(meter, BudgetMeter) or not meter.soft or not meter.over(key, at.unix):
            continue
        limiter.over[limit.name] += 1
        news = (key, at.unix + meter.state(key, at).seconds)
        if news not in limiter.told:
            if len(limiter.told) > 10_000:
                limiter.told.clear()
            limiter.told.add(news)
            most = _amount(meter.measure, meter.most_at(at.unix))
            call.plane.log(f"the soft budget {key} of {most} per {meter.per} is exceeded")
        return b"x-ferryman-over-budget: %b\r\n" % limit.name.encode()
    return b""


def _lines(applying: Sequence[tuple[Limit, str]], at: Moment) -> bytes:
    """Headers that say what is left: of each measure, of the limit that has the least."""
    lefts: dict[bytes, int] = {}
    lines: dict[bytes, bytes] = {}
    for limit, key in applying:
        for meter in limit.meters:
            form = _FORMS.get((meter.measure, isinstance(meter, BudgetMeter)), b"")
            if not form:
                continue
            state = meter.state(key, at)
            if form in lefts and lefts[form] <= state.left:
                continue
            lefts[form] = state.left
            if not state.budget:
                lines[form] = form % (state.most, state.left, state.seconds)
                continue
            left = usd(state.left) if state.measure == USD else str(state.left)
            lines[form] = form % (left.encode(), rfc3339(at.unix + state.seconds).encode())
    return b"".join(lines.values())


def _form(measure: str) -> bytes:
    start = b"x-ratelimit-%b-" + measure.replace("_", "-").encode()
    names = [start % name for name in (b"limit", b"remaining", b"reset")]
    return b"%b: %%d\r\n%b: %%d\r\n%b: %%ds\r\n" % tuple(names)


_BUDGET_FORM: Final = b"x-ferryman-budget-left-%b: %%b\r\nx-ferryman-budget-resets-%b: %%b\r\n"
_FORMS: Final[dict[tuple[str, bool], bytes]] = {
    **{(measure, False): _form(measure) for measure in RATES},
    (USD, True): _BUDGET_FORM % (b"usd", b"usd"),
    (TOKENS, True): _BUDGET_FORM % (b"tokens", b"tokens"),
}


def _refused(found: Refusal, applying: Sequence[tuple[Limit, str]], at: Moment) -> GatewayError:
    wait = found.wait
    if found.unknown:
        text = (
            f"What was spent of the budget {found.limit!r} is not known yet: the control plane has "
            "not answered since the gateway started. Retry in a moment."
        )
        headers = ((b"retry-after", b"1"),)
        return GatewayError(503, ErrorKind.NOT_READY, text, headers=headers)
    pairs: Headers = []
    for line in _lines(applying, at).splitlines():
        name, _, value = line.partition(b": ")
        pairs.append((name, value))
    if wait != NEVER:
        pairs.append((b"retry-after", b"%d" % wait))
    if wait == NEVER or wait > SDK_WAITS:
        pairs.append(NO_RETRY)
    return GatewayError(
        found.status,
        ErrorKind.BUDGET if found.budget else ErrorKind.RATE_LIMITED,
        _words(found, at),
        headers=tuple(pairs),
    )


def _words(found: Refusal, at: Moment) -> str:
    what = found.measure.replace("_", " ")
    again = f" Retry after {found.wait} s."
    if found.measure == PARALLEL:
        text = f"The limit {found.limit!r} allows {found.most} calls at once, and as many are at "
        return f"{text}work.{again}"
    if not found.budget:
        text = f"The limit {found.limit!r} allows {found.most} {what} per {found.per}"
        if found.wait == NEVER:
            text += f", and this call may need {found.asked} at once, more than it ever lets pass."
            return f"{text} Send less, or ask for less output."
        needs = f" and this call may need {found.asked}" if found.asked > 1 else ""
        return f"{text}: {found.left} are left{needs}.{again}"
    most, left = _amount(found.measure, found.most), _amount(found.measure, found.left)
    asked = _amount(found.measure, found.asked)
    text = f"The budget {found.limit!r} is {most} per {found.per}: {left} are left, and this call "
    text += f"may take up to {asked}."
    if found.wait == NEVER:
        return f"{text} Send less, or ask for less output (max_tokens)."
    until = rfc3339(at.unix + found.wait)
    return f"{text} Ask for less output (max_tokens), or come back at {until}."


def _amount(measure: str, value: int) -> str:
    return f"{usd(value)} USD" if measure == USD else f"{value} tokens"


@lru_cache(maxsize=256)
def rfc3339(unix: int) -> str:
    """``2026-11-26T12:00:00Z``."""
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def limit_page(plane: Plane) -> bytes:
    """The part of the metrics that is about limits; nothing where there are none."""
    limiter = plane.limits
    if limiter is None:
        return b""
    out = family("limit_refusals_total", "counter", "Calls refused, by limit and measure.")
    for (name, measure), count in sorted(limiter.refused.items()):
        label = f'limit="{name}",measure="{measure}"'
        out.append(f"ferryman_limit_refusals_total{{{label}}} {count}")
    out += family("over_budget_total", "counter", "Calls let through beyond a soft budget.")
    for name, count in sorted(limiter.over.items()):
        out.append(f'ferryman_over_budget_total{{limit="{name}"}} {count}')
    return ("\n".join(out) + "\n").encode()


def standing(plane: Plane) -> list[dict[str, object]]:
    """How every limit stands for each of its keys; amounts in USD as exact decimals."""
    if plane.limits is None:
        return []
    at = Moment(int(plane.now() * 1e9), int(time.time()))
    return [
        {
            "key": key,
            "measure": state.measure,
            "most": usd(state.most) if state.measure == USD else state.most,
            "left": usd(state.left) if state.measure == USD else state.left,
            "per": state.per or None,
            "resets_in_s": state.seconds,
            "kind": "budget" if state.budget else "limit",
        }
        for key, state in plane.limits.standing(at)
    ]
