"""Limits and budgets of a data plane: a call passes all that are its own, or takes of none. Pure.

A limit is kept for each *key*: its name and the values it is counted by. Its meters say how much
may be taken: rates (``throttle.py``), calls at once, budgets (``spending.py``). :func:`admit` takes
what a call may use at most, :meth:`Grant.settle` puts in its place what it has used.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from ferryman.ir.tally import Tally
from ferryman.meter.spending import Spending
from ferryman.meter.throttle import NEVER, SECOND, SWEPT_AT, Throttle

REQUESTS: Final = "requests"
INPUT: Final = "input_tokens"
OUTPUT: Final = "output_tokens"
TOKENS: Final = "tokens"
PARALLEL: Final = "parallel"
USD: Final = "usd"


class Amounts:
    """What a call takes. Of rates: as expected, of budgets: the most there can be."""

    __slots__ = ("calls", "input", "output", "picodollars", "tokens")

    def __init__(
        self,
        input: int = 0,  # noqa: A002 - as usage calls it
        output: int = 0,
        tokens: int = 0,
        picodollars: int = 0,
        calls: int = 1,
    ) -> None:
        self.input = input
        self.output = output
        """Tokens, both."""
        self.tokens = tokens
        """The most that a budget of tokens may have to bear."""
        self.picodollars = picodollars
        self.calls = calls
        """0: it was not made after all."""


class Moment:
    """When a call is admitted: nanoseconds of a clock that never jumps, and Unix seconds."""

    __slots__ = ("ns", "unix")

    def __init__(self, ns: int, unix: int) -> None:
        self.ns = ns
        self.unix = unix


class Refusal(NamedTuple):
    """Why a call may not pass."""

    limit: str
    """Name of the limit."""
    measure: str
    """One of the constants above."""
    most: int
    left: int
    per: str
    """``minute``, or ``day`` and the like; empty = at once."""
    wait: int
    """Seconds until it may; :data:`~ferryman.meter.throttle.NEVER` = as it is, it never may."""
    asked: int
    status: int
    budget: bool = False
    unknown: bool = False
    """True: what is spent already has not been learned yet."""


class State:
    """How a meter stands for one key."""

    __slots__ = ("budget", "left", "measure", "most", "per", "seconds")

    def __init__(
        self, measure: str, most: int, left: int, seconds: int, per: str, budget: bool = False
    ) -> None:
        self.measure = measure
        self.most = most
        self.left = left
        self.seconds = seconds
        """Until all of it is there again; of budgets until their period ends."""
        self.per = per
        self.budget = budget


class Meter:
    """Says how much may be taken of one measure, for each key."""

    def __init__(self, measure: str, per: str, most: int, identity: tuple[object, ...]) -> None:
        self.measure = measure
        self.per = per
        self.most = most
        self.identity = identity
        """Meters of the same limit with the same identity count the same."""

    def known(self) -> bool:
        """Whether it has been told what was spent before."""
        return True

    def asked(self, asked: Amounts) -> int:
        """What of ``asked`` it is about."""
        raise NotImplementedError

    def refusal(self, key: str, asked: Amounts, at: Moment) -> tuple[int, int] | None:
        """Seconds to wait, and what is left; None = it may pass."""
        raise NotImplementedError

    def take(self, key: str, asked: Amounts, at: Moment) -> int:
        """Take it; returns what :meth:`settle` wants to know of that."""
        raise NotImplementedError

    def settle(self, key: str, taken: int, asked: Amounts, used: Amounts, at: Moment) -> None:
        """Put what was used in place of what was taken."""
        raise NotImplementedError

    def state(self, key: str, at: Moment) -> State:
        """How it stands."""
        raise NotImplementedError

    def keys(self) -> list[str]:
        """Those of which something is remembered."""
        raise NotImplementedError


class RateMeter(Meter):
    """Units of one measure in a time."""

    def __init__(
        self, measure: str, most: int, seconds: int, burst: int, per: str, patient: bool = False
    ) -> None:
        """``patient``: a call that asks for more than there ever is waits until all of it is."""
        super().__init__(measure, per, most, (measure, most, seconds, burst))
        self.throttle = Throttle(most, seconds, burst)
        self.patient = patient

    def refusal(self, key: str, asked: Amounts, at: Moment) -> tuple[int, int] | None:
        wait = self.throttle.wait(key, self.asked(asked), at.ns)
        if not wait:
            return None
        return NEVER if wait == NEVER else -(-wait // SECOND), self.throttle.left(key, at.ns)[0]

    def take(self, key: str, asked: Amounts, at: Moment) -> int:
        return self.throttle.take(key, self.asked(asked), at.ns)

    def settle(self, key: str, taken: int, asked: Amounts, used: Amounts, at: Moment) -> None:
        units, actual = self.asked(asked), self._units(used)
        self.throttle.settle(key, taken, units, actual, at.ns)

    def state(self, key: str, at: Moment) -> State:
        left, ns = self.throttle.left(key, at.ns)
        return State(self.measure, self.most, left, -(-ns // SECOND), self.per)

    def asked(self, asked: Amounts) -> int:
        units = self._units(asked)
        return min(units, self.throttle.burst) if self.patient else units

    def keys(self) -> list[str]:
        return self.throttle.keys()

    def _units(self, amounts: Amounts) -> int:
        measure = self.measure
        if measure == REQUESTS:
            return amounts.calls
        if measure == INPUT:
            return amounts.input
        return amounts.output if measure == OUTPUT else amounts.input + amounts.output


class ParallelMeter(Meter):
    """Calls at work at once."""

    def __init__(self, most: int) -> None:
        super().__init__(PARALLEL, "", most, (PARALLEL,))
        self.at_work: dict[str, int] = {}
        self.elsewhere: dict[str, tuple[int, int]] = {}
        """At other data planes, and when that was heard (nanoseconds)."""

    def hear(self, key: str, calls: int, at: Moment) -> None:
        """So many are at work in all, here and elsewhere: which is believed for a second."""
        others = calls - self.at_work.get(key, 0)
        if len(self.elsewhere) > SWEPT_AT:
            self.elsewhere.clear()
        if others > 0:
            self.elsewhere[key] = (others, at.ns)
        else:
            self.elsewhere.pop(key, None)

    def _calls(self, key: str, at: Moment) -> int:
        calls = self.at_work.get(key, 0)
        heard = self.elsewhere.get(key)
        if heard is not None:
            if at.ns - heard[1] <= SECOND:
                return calls + heard[0]
            del self.elsewhere[key]
        return calls

    def refusal(self, key: str, asked: Amounts, at: Moment) -> tuple[int, int] | None:
        return (1, 0) if self._calls(key, at) >= self.most else None

    def take(self, key: str, asked: Amounts, at: Moment) -> int:
        self.at_work[key] = self.at_work.get(key, 0) + 1
        return 0

    def settle(self, key: str, taken: int, asked: Amounts, used: Amounts, at: Moment) -> None:
        left = self.at_work.get(key, 0) - 1
        if left > 0:
            self.at_work[key] = left
        else:
            self.at_work.pop(key, None)

    def state(self, key: str, at: Moment) -> State:
        left = max(self.most - self._calls(key, at), 0)
        return State(PARALLEL, self.most, left, 0, "")

    def asked(self, asked: Amounts) -> int:
        return 1

    def keys(self) -> list[str]:
        found = set(self.at_work)
        found.update(self.elsewhere)
        return sorted(found)


class BudgetMeter(Meter):
    """Picodollars or tokens in a period."""

    def __init__(
        self, measure: str, most: int, spending: Spending, *, soft: bool = False,
        extra: int = 0, extra_until: int = 0, carries: bool = False, cuts: bool = False,
    ) -> None:  # fmt: skip
        """``extra`` is added until ``extra_until`` (Unix seconds); where it ``carries``, also what
        was left of the period before."""
        window = spending.window
        identity = (measure, window.per, window.rolling, window.zone, soft, carries)
        super().__init__(measure, window.per, most, identity)
        self.soft = soft
        self.carries = carries
        self.cuts = cuts
        """Whether streams may begin that are ended once it is used up."""
        self._extra = extra
        self._extra_until = extra_until
        self.spending = spending

    def known(self) -> bool:
        return self.spending.known

    def usual_at(self, unix: int) -> int:
        """What may be spent of it at that time, without what is carried over."""
        return self.most + (self._extra if unix < self._extra_until else 0)

    def most_at(self, unix: int, key: str) -> int:
        """What may be spent of it at that time."""
        most = self.usual_at(unix)
        return most + self.spending.carried(key, self.most, unix) if self.carries else most

    def since(self, unix: int) -> int:
        """The earliest moment whose spending matters at that time."""
        since = self.spending.window.since(unix)
        return self.spending.window.since(since - 1) if self.carries else since

    def refusal(self, key: str, asked: Amounts, at: Moment) -> tuple[int, int] | None:
        amount, most = self.asked(asked), self.most_at(at.unix, key)
        if self.soft or not amount:
            return None
        if not self.spending.known:
            return 1, most
        total = self.spending.total(key, at.unix)
        over = total + amount - most
        if over <= 0:
            return None
        frees = self.spending.frees(key, over, at.unix) - at.unix
        return NEVER if amount > most else max(frees, 1), max(most - total, 0)

    def take(self, key: str, asked: Amounts, at: Moment) -> int:
        return self.spending.add(key, self.asked(asked), at.unix)

    def settle(self, key: str, taken: int, asked: Amounts, used: Amounts, at: Moment) -> None:
        self.spending.change(key, taken, self.asked(used) - self.asked(asked))

    def state(self, key: str, at: Moment) -> State:
        left, end = self.left(key, at.unix)
        most = self.most_at(at.unix, key)
        return State(self.measure, most, left, end - at.unix, self.per, True)

    def left(self, key: str, unix: int) -> tuple[int, int]:
        """What of it is left at that time, and when the first of what is spent counts no more."""
        left = self.most_at(unix, key) - self.spending.total(key, unix)
        return left if left > 0 else 0, self.spending.frees(key, 0, unix)

    def asked(self, asked: Amounts) -> int:
        return asked.picodollars if self.measure == USD else asked.tokens

    def keys(self) -> list[str]:
        return self.spending.keys()

    def over(self, key: str, unix: int) -> bool:
        """Whether more is spent and held than may be."""
        return self.spending.total(key, unix) > self.most_at(unix, key)


class Limit:
    """A limit with its meters. ``status`` is what refusals by its budgets are answered with."""

    def __init__(self, name: str, meters: Sequence[Meter], status: int) -> None:
        self.name = name
        self.meters = tuple(meters)
        self.status = status
        measures = [m.measure for m in self.meters if isinstance(m, BudgetMeter)]
        self.money = USD in measures
        """Whether it matters what a call costs,"""
        self.budgeted = bool(measures)
        """or what it uses at most."""
        self.soft = any(isinstance(m, BudgetMeter) and m.soft for m in self.meters)
        self.counts = any(m.measure in (INPUT, OUTPUT, TOKENS) for m in self.meters)
        """Whether it matters how many tokens it has."""
        knocks = [m for m in self.meters if m.measure == REQUESTS]
        self.knocks: Limit | None = self
        """What of it counts requests, whatever they take; None = nothing."""
        if len(knocks) != len(self.meters):
            self.knocks = Limit(name, knocks, status) if knocks else None

    def inherit(self, before: "Limit | None") -> None:
        """Go on where a limit of the same name stood, as far as it was the same."""
        old = list(before.meters) if before is not None else []
        for meter in self.meters:
            found = next((each for each in old if each.identity == meter.identity), None)
            if found is not None:
                old.remove(found)  # what one counts, two would count twice
            if isinstance(meter, RateMeter) and isinstance(found, RateMeter):
                meter.throttle = found.throttle
            elif isinstance(meter, ParallelMeter) and isinstance(found, ParallelMeter):
                meter.at_work, meter.elsewhere = found.at_work, found.elsewhere
            elif isinstance(meter, BudgetMeter) and isinstance(found, BudgetMeter):
                meter.spending = found.spending


def key_of(name: str, *values: str) -> str:
    """What a limit is counted by, in one text: its name, and the values, ``|`` between them."""
    key = name
    for value in values:
        key = f"{key}|{_plain(value)}"
    return key


LONGEST_VALUE: Final = 128


def _plain(value: str) -> str:
    if len(value) > LONGEST_VALUE:
        value = value[:LONGEST_VALUE]
    if value.find("|") < 0 and value.find("%") < 0:
        return value
    return value.replace("%", "%25").replace("|", "%7C")


class Grant:
    """What a call has taken of its limits, until it is settled."""

    __slots__ = ("_taken", "asked", "budgets", "id", "over", "picodollars", "settled", "tokens")

    def __init__(
        self, asked: Amounts, taken: list[tuple[Meter, str, int]], budgets: tuple[str, ...]
    ) -> None:
        self.asked = asked
        self._taken = taken
        self.over = False
        """Whether it has been settled."""
        self.id = ""
        """What counters that are shared know it by."""
        self.budgets = budgets
        """Keys of the budgets that it counts in."""
        self.picodollars = asked.picodollars
        """What budgets bear: the hold, and then what it was settled with;"""
        self.tokens = asked.tokens
        """the same of tokens."""
        self.settled: Callable[[Amounts], None] | None = None
        """Told what was used, once."""

    def settle(self, used: Amounts, at: Moment) -> None:
        """Count what was used in place of what was taken; only the first time does anything."""
        if self.over:
            return
        self.over = True
        self.picodollars, self.tokens = used.picodollars, used.tokens
        for meter, key, number in self._taken:
            meter.settle(key, number, self.asked, used, at)
        told = self.settled
        if told is not None:
            told(used)

    def bear(self, meter: BudgetMeter, key: str, at: Moment) -> bool:
        """Count in a budget that came, or began anew, since it was taken; False: it does so."""
        for each, name, _ in self._taken:
            if isinstance(each, BudgetMeter) and each.spending is meter.spending and name == key:
                return False
        asked = self.asked
        if self.over:
            asked = Amounts(tokens=self.tokens, picodollars=self.picodollars)
        self._taken.append((meter, key, meter.take(key, asked, at)))
        return True

    def purses(self) -> list[tuple[Limit, str]]:
        """The budgets that it has taken of, each for itself."""
        return [
            (Limit(key.partition("|")[0], [meter], 402), key)
            for meter, key, _ in self._taken
            if isinstance(meter, BudgetMeter)
        ]

    def close(
        self, usage: Tally | None, cost: int | None, counted: bool, priced: bool, at: Moment,
        beside: Amounts | None = None,
    ) -> None:  # fmt: skip
        """Settle with what is known of a call's usage and cost (picodollars).

        Not ``counted``: it may have used more; not ``priced``: it may have cost more. Then what was
        taken counts, if that is more than what is known; where it is known how much more at most,
        ``beside`` that.
        """
        asked = self.asked
        given = got = tokens = 0
        if usage is not None:
            given, got = max(usage.total_input, 0), max(usage.total_output, 0)
            tokens = given + got
        if usage is None or not counted:
            given, got = max(given, asked.input), max(got, asked.output)
            tokens = max(tokens, self.tokens) if beside is None else tokens + beside.tokens
        spent = max(cost or 0, 0)
        if cost is None or not priced:
            spent = max(spent, self.picodollars) if beside is None else spent + beside.picodollars
        used = Amounts(given, got, tokens, spent)
        self.settle(used, at)


def admit(applying: Sequence[tuple[Limit, str]], asked: Amounts, at: Moment) -> "Grant | Refusal":
    """Take ``asked`` of every limit (with its key), or of none."""
    return refusal_of(applying, asked, at) or take(applying, asked, at)


def refusal_of(
    applying: Sequence[tuple[Limit, str]], asked: Amounts, at: Moment
) -> "Refusal | None":
    """Why ``asked`` may not pass: of several that refuse, the one that makes it wait longest."""
    worst: Refusal | None = None
    for limit, key in applying:
        for meter in limit.meters:
            found = meter.refusal(key, asked, at)
            if found is None:
                continue
            wait, left = found
            if worst is None or wait == NEVER or (worst.wait != NEVER and wait > worst.wait):
                worst = _refusal(limit, meter, key, wait, left, asked, at)
    return worst


def take(applying: Sequence[tuple[Limit, str]], asked: Amounts, at: Moment) -> Grant:
    """Take ``asked`` of every limit, whether it may be or not."""
    taken: list[tuple[Meter, str, int]] = []
    budgets = []
    for limit, key in applying:
        for meter in limit.meters:
            taken.append((meter, key, meter.take(key, asked, at)))
        if limit.budgeted:
            budgets.append(key)
    return Grant(asked, taken, tuple(budgets))


def _refusal(
    limit: Limit, meter: Meter, key: str, wait: int, left: int, asked: Amounts, at: Moment
) -> Refusal:
    budget = isinstance(meter, BudgetMeter)
    most = meter.most_at(at.unix, key) if isinstance(meter, BudgetMeter) else meter.most
    return Refusal(
        limit.name, meter.measure, most, left, meter.per, wait, meter.asked(asked),
        limit.status if budget else 429, budget, not meter.known(),
    )  # fmt: skip
