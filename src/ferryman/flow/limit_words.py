"""What callers are told of limits: what is left, in header lines, and why a call is refused."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from ferryman.flow.call import Call
from ferryman.flow.deliver import NO_RETRY, SDK_WAITS, usd
from ferryman.http1.exchange import Headers
from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.meter.limits import (
    PARALLEL,
    USD,
    BudgetMeter,
    Limit,
    Meter,
    Moment,
    RateMeter,
    Refusal,
    State,
)
from ferryman.meter.throttle import NEVER, SECOND

if TYPE_CHECKING:
    from ferryman.flow.limiting import Limiter

Applying = Sequence[tuple[Limit, str]]
"""Limits, and what a call is counted under in each."""


class Row:
    """Headers that say how one meter stands. What they said last is kept: much of it stays."""

    def __init__(self, meter: Meter, place: int) -> None:
        """``place``: where its limit stands among those that apply."""
        self.meter = meter
        self.place = place

    def lines(self, key: str, at: Moment) -> str:
        """How it stands for ``key``."""
        raise NotImplementedError


class RateRow(Row):
    """``x-ratelimit-limit-…``, ``-remaining-…`` and ``-reset-…`` of a rate."""

    def __init__(self, meter: RateMeter, place: int) -> None:
        super().__init__(meter, place)
        name = meter.measure.replace("_", "-")
        self._throttle = meter.throttle
        self._before = f"x-ratelimit-limit-{name}: {meter.most}\r\nx-ratelimit-remaining-{name}: "
        self._between = f"\r\nx-ratelimit-reset-{name}: "
        self._left = self._seconds = -1
        self._said = ""

    def lines(self, key: str, at: Moment) -> str:
        left, ns = self._throttle.left(key, at.ns)
        seconds = -(-ns // SECOND)
        if left != self._left or seconds != self._seconds:
            self._left, self._seconds = left, seconds
            self._said = f"{self._before}{left}{self._between}{seconds}s\r\n"
        return self._said


class BudgetRow(Row):
    """``x-ferryman-budget-left-…`` and ``-resets-…``."""

    def __init__(self, meter: BudgetMeter, place: int) -> None:
        super().__init__(meter, place)
        self._budget = meter
        self._money = meter.measure == USD
        self._before = f"x-ferryman-budget-left-{meter.measure}: "
        self._between = f"\r\nx-ferryman-budget-resets-{meter.measure}: "
        self._end = -1
        self._after = ""

    def lines(self, key: str, at: Moment) -> str:
        left, end = self._budget.left(key, at.unix)
        if end != self._end:
            self._end = end
            self._after = f"{self._between}{rfc3339(end)}\r\n"
        return f"{self._before}{usd(left) if self._money else left}{self._after}"


class Plan:
    """Limits that apply together, and what is the same for all calls that they apply to."""

    __slots__ = ("_rows", "budgeted", "counts", "money", "soft")

    def __init__(self, limits: Sequence[Limit]) -> None:
        self.counts = any(limit.counts for limit in limits)
        """Whether it matters how many tokens a call has;"""
        self.budgeted = any(limit.budgeted for limit in limits)
        """how many at most;"""
        self.money = any(limit.money for limit in limits)
        """and what they cost."""
        self.soft = any(limit.soft for limit in limits)
        found: dict[tuple[str, bool], list[Row]] = {}
        for place, limit in enumerate(limits):
            for meter in limit.meters:
                if isinstance(meter, RateMeter):
                    found.setdefault((meter.measure, False), []).append(RateRow(meter, place))
                elif isinstance(meter, BudgetMeter):
                    found.setdefault((meter.measure, True), []).append(BudgetRow(meter, place))
        self._rows: list[list[Row]] = list(found.values())
        """Those about the same measure together."""

    def lines(self, applying: Applying, at: Moment) -> bytes:
        """Headers that say what is left: of each measure, of the limit that has the least."""
        said: list[str] = []
        for rows in self._rows:
            row = rows[0]
            if len(rows) > 1:
                lefts = [each.meter.state(applying[each.place][1], at).left for each in rows]
                row = rows[lefts.index(min(lefts))]
            said.append(row.lines(applying[row.place][1], at))
        return "".join(said).encode()


def over(call: Call, limiter: "Limiter", limit: Limit, key: str, at: Moment) -> bytes:
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
            most = _amount(meter.measure, meter.most_at(at.unix, key))
            call.plane.log(f"the soft budget {key} of {most} per {meter.per} is exceeded")
        return b"x-ferryman-over-budget: %b\r\n" % limit.name.encode()
    return b""


def refused(found: Refusal, applying: Applying, at: Moment) -> GatewayError:
    """What the caller of a refused call is told."""
    wait = found.wait
    if found.unknown:
        text = (
            f"What was spent of the budget {found.limit!r} is not known yet: the control plane has "
            "not answered since the gateway started. Retry in a moment."
        )
        headers = ((b"retry-after", b"1"),)
        return GatewayError(503, ErrorKind.NOT_READY, text, headers=headers)
    pairs: Headers = []
    for line in Plan([limit for limit, _ in applying]).lines(applying, at).splitlines():
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
        reason=f"limit {found.limit}",
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
    if not found.most:
        of = "costs anything" if found.measure == USD else "has any tokens"
        return f"The budget {found.limit!r} is {most} per {found.per}: no call passes that {of}."
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


def stands(key: str, state: State) -> dict[str, object]:
    """How a meter stands for a key, as JSON; amounts in USD as exact decimals."""
    return {
        "key": key,
        "measure": state.measure,
        "most": usd(state.most) if state.measure == USD else state.most,
        "left": usd(state.left) if state.measure == USD else state.left,
        "per": state.per or None,
        "resets_in_s": state.seconds,
        "kind": "budget" if state.budget else "limit",
    }
