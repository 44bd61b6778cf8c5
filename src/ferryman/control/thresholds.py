"""Opens alerts when budgets reach their thresholds: once in a period, as the ledger counts.

The sums are of what is spent (calls under way have yet to end), over all data planes. They are
taken from the ledger once, and go on with what ingestion takes in; all of that is on its thread.
"""

import hashlib
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

import msgspec
import sqlalchemy as sa

from ferryman.config.snapshot import LENGTHS, AlertRule, Budget, Snapshot
from ferryman.control.alerts.reconcile import Finding
from ferryman.control.rows import dollars
from ferryman.control.when import rfc3339
from ferryman.meter.spending import Spending
from ferryman.meter.window import Window
from ferryman.store import budgets
from ferryman.telemetry.record import Charge

STEP: Final = 900
"""Seconds that sums of the ledger are asked by: no day begins within them, in any zone."""
FINE_STEP: Final = 60
AHEAD: Final = 86_400
"""Seconds that clocks of gateways may be ahead."""
Charged = tuple[int, Charge]
"""Unix microseconds when a call began, and what budgets bear of it."""
_snapshot: Final = msgspec.msgpack.Decoder(Snapshot)


class Watched(NamedTuple):
    """A budget with thresholds."""

    limit: str
    budget: Budget
    spending: Spending


class Borne(NamedTuple):
    """What a counter bears of calls."""

    key: str
    picodollars: int
    tokens: int
    at: int
    """Unix seconds."""


class Thresholds:
    """Compares what is spent with the budgets of the configuration in force."""

    def __init__(self, engine: sa.Engine, tell: Callable[[Sequence[Finding], int], None]) -> None:
        """``tell`` opens alerts (``watch.Watch.raised``)."""
        self._engine = engine
        self._tell = tell
        self._rules: tuple[AlertRule, ...] = ()
        self._lock = threading.Lock()
        self._wanted: tuple[tuple[str, Budget], ...] = ()
        self._watched: dict[tuple[str, Budget], Watched] = {}
        self._stale = True
        self._told: set[str] = set()

    def adopt(self, snapshot: bytes) -> None:
        """Watch the budgets of this snapshot (msgpack) from now on. On any thread."""
        found = _snapshot.decode(snapshot)
        wanted = [(limit.name, each) for limit in found.limits for each in limit.budgets]
        wanted += [(f"policy-{rule.name}", each) for rule in found.rules for each in rule.budgets]
        rules = tuple(rule for rule in found.alerts.rules if rule.on == "budget")
        with self._lock:
            self._rules = rules
            self._wanted = tuple(wanted) if rules else ()

    def take(self, charged: Sequence[Charged], *, doubtful: bool = False) -> None:
        """Ingestion has taken in what these calls cost. ``doubtful``: and more, or less."""
        with self._lock:
            wanted, rules = self._wanted, self._rules
        if not wanted:
            self._watched, self._stale = {}, True
            return
        now = int(time.time())
        known = {} if self._stale or doubtful else self._watched
        new = [pair for pair in wanted if pair not in known]
        crossed: list[Finding] = []
        borne = _by_limit(charged)
        for each in known.values():
            crossed += self._crossed(each, rules, _count(each, borne.get(each.limit, ())), now)
        watched = {pair: known[pair] for pair in wanted if pair in known}
        for pair, each in self._learned(new, now).items():
            watched[pair] = each
            crossed += self._crossed(each, rules, each.spending.keys(), now)
        self._watched, self._stale = watched, False
        if crossed:
            self._stale = True  # until it is written down: else it would be looked for no more
            self._tell(crossed, now)
            self._stale = False
            if len(self._told) > 10_000:
                self._told.clear()
            self._told.update(finding.id for finding in crossed)

    def _learned(
        self, new: Sequence[tuple[str, Budget]], now: int
    ) -> dict[tuple[str, Budget], Watched]:
        """Budgets that have not been watched, with what the ledger has of them."""
        found: dict[tuple[str, Budget], Watched] = {}
        sums: dict[tuple[int, int], dict[str, list[Borne]]] = {}
        for name, budget in new:
            window = Window(budget.per, budget.zone, rolling=budget.rolling)
            each = Watched(name, budget, Spending(window))
            since = window.since(now)
            since = window.since(since - 1) if budget.carry_over else since
            step = FINE_STEP if now - since <= 2 * LENGTHS["day"] else STEP
            asked = (since - since % step, step)
            if asked not in sums:
                until = (now + AHEAD) * 1_000_000
                rows = budgets.spent(self._engine, asked[0], until, step)
                sums[asked] = _together(
                    Borne(key, row.picodollars, row.tokens, row.at)
                    for row in rows
                    for key in row.budgets
                )
            _count(each, sums[asked].get(name, ()))
            found[name, budget] = each
        return found

    def _crossed(
        self, each: Watched, rules: Sequence[AlertRule], keys: Iterable[str], now: int
    ) -> list[Finding]:
        """What is news of these keys."""
        budget = each.budget
        usual = budget.most + (budget.extra if now < budget.extra_until else 0)
        found = []
        for key in sorted(set(keys)):
            carried = each.spending.carried(key, budget.most, now) if budget.carry_over else 0
            most = usual + carried
            spent = each.spending.total(key, now)
            for rule in rules if spent else ():
                for percent in budget.notify or (round(rule.percent),):
                    if spent * 100 < percent * most:
                        continue
                    finding = _finding(each, rule, key, percent, spent, most, now)
                    if finding.id not in self._told:
                        found.append(finding)
        return found


def _by_limit(charged: Sequence[Charged]) -> dict[str, list[Borne]]:
    """What each limit bears of these calls."""
    return _together(
        Borne(key, pico, tokens, at_us // 1_000_000)
        for at_us, charge in charged
        for key, pico, tokens in (
            *((key, charge.picodollars, charge.tokens) for key in charge.budgets),
            *charge.apart,
        )
    )


def _together(rows: Iterable[Borne]) -> dict[str, list[Borne]]:
    """By the limit's name: there may be thousands of limits."""
    found: dict[str, list[Borne]] = {}
    for row in rows:
        found.setdefault(row.key.partition("|")[0], []).append(row)
    return found


def _count(each: Watched, borne: Iterable[Borne]) -> set[str]:
    """Count what a budget bears; returns the keys that it was."""
    touched = set()
    usd = each.budget.unit == "usd"
    for row in borne:
        each.spending.add(row.key, row.picodollars if usd else row.tokens, row.at)
        touched.add(row.key)
    return touched


def _finding(
    each: Watched, rule: AlertRule, key: str, percent: int, spent: int, most: int, now: int
) -> Finding:
    """What is told: its id is the same for each time in a period."""
    budget = each.budget
    if budget.rolling:
        length = LENGTHS[budget.per]
        start = now - now % length
        end = start + length
    else:
        start, end = each.spending.window.bucket(now)
    which = (key, budget.unit, budget.per, str(budget.rolling), budget.zone, str(percent))
    name = hashlib.sha256("\0".join((rule.name, *which, str(start))).encode()).hexdigest()[:32]
    usd = budget.unit == "usd"
    values = [value.replace("%7C", "|").replace("%25", "%") for value in key.split("|")[1:]]
    whose = f"{each.limit} ({', '.join(values)})" if values else each.limit
    amount, whole = (dollars(number) if usd else str(number) for number in (spent, most))
    of = f"${amount} of ${whole}" if usd else f"{amount} of {whole} tokens"
    does = "Nothing is refused." if budget.soft else "Calls beyond it are refused."
    return Finding(
        rule=rule.name,
        subject=f"{key} {percent}% {budget.unit}/{budget.per}",
        id=f"alert_{name}",
        ends_at=end,
        title=f"{percent} % of the budget of {whose} is spent",
        detail=f"{of} per {budget.per} are spent, as the ledger counts. {does} The period ends at "
        f"{rfc3339(end)}.",
        facts={
            "limit": each.limit, "key": key, "percent": str(percent), "unit": budget.unit,
            "budget": whole, "spent": amount, "per": budget.per,
            "rolling": str(budget.rolling).lower(), "soft": str(budget.soft).lower(),
            "period_start": rfc3339(start), "period_end": rfc3339(end),
        },
    )  # fmt: skip
