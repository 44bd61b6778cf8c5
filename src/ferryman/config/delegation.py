"""Limits that are handed down: organisation, team, user, key. What a child may take is never more
than what its parent may. Pure.

Two limits are compared measure by measure. Of a rate both what flows back in a time and the burst
have to fit (GCRA lets through burst + rate × time, so then it fits over any time). A budget has to
fit each hard budget of the parent in the same unit: in a window as long or longer at once, of
shorter ones as many as there are in its own. Where one of the two says nothing there is nothing to
compare: the parent's hold for all calls of its children anyway.
"""

from typing import Final
from urllib.parse import quote

from msgspec import Struct
from msgspec.structs import replace

from ferryman.config.snapshot import Budget, CallLimit, Condition, RateLimit

SECONDS: Final = {
    "second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 7 * 86_400,
    "month": 31 * 86_400,
}  # fmt: skip
"""Of rates and of budgets; months at their longest."""


class Scope(Struct, frozen=True, order=True):
    """Whose a limit is: what calls have to have in common. Empty = it doesn't matter; an empty
    organisation of a team or user: those that have none."""

    organisation: str = ""
    team: str = ""
    user: str = ""
    key: str = ""
    """Id; the others then say whose it is."""

    @property
    def kind(self) -> str:
        """``key``, ``user``, ``team`` or ``organisation``; empty = all calls."""
        for name in ("key", "user", "team", "organisation"):
            if getattr(self, name):
                return name
        return ""

    @property
    def name(self) -> str:
        """What refusals and records call the limit. No limit of the configuration is called so."""
        kind = self.kind
        said = {"key": [self.key], "user": [self.organisation, self.team, self.user]}
        parts = said.get(kind, [self.organisation, self.team] if self.team else [self.organisation])
        return f"{kind}:{'/'.join(quote(part, safe='@+ ') for part in parts)}"

    def above(self, other: "Scope") -> bool:
        """Whether it is a parent of ``other``: all calls of that are also its own."""
        if self == other or self.key or self.organisation != other.organisation:
            return False
        return self.team in ("", other.team) and self.user in ("", other.user)

    @property
    def when(self) -> Condition:
        """Which calls it is about."""
        if self.key:
            return Condition(op="eq", fact="key", value=self.key)
        parts = [
            Condition(op="eq", fact=name, value=value)
            for name in ("organisation", "team", "user")
            if (value := getattr(self, name))
        ]
        if not self.organisation:
            parts.append(Condition(op="exists", fact="organisation", value=False))
        return parts[0] if len(parts) == 1 else Condition(op="all", parts=tuple(parts))


def beyond(child: CallLimit, parent: CallLimit) -> list[str]:
    """In what a child may take more than its parent, in words; nothing = in nothing."""
    found = []
    for rate in child.rates:
        for bound in _of_measure(parent, rate.measure):
            if _per(rate, bound) > 0:
                found.append(f"{rate.measure}: {_said(rate)} is more than {_said(bound)}")
            elif rate.burst > bound.burst:
                found.append(f"{rate.measure}: a burst of {rate.burst} is more than {bound.burst}")
    if parent.parallel and child.parallel > parent.parallel:
        found.append(f"parallel: {child.parallel} is more than {parent.parallel}")
    for budget in child.budgets:
        most = most_of(parent, budget)
        if most is not None and budget.most > most:
            said, least = (amount_of(budget.unit, each) for each in (budget.most, most))
            found.append(f"budget: {said} per {budget.per} is more than {least}")
    return found


def lowered(child: CallLimit, parent: CallLimit) -> CallLimit:
    """The child with what is beyond its parent brought down to it."""
    rates = []
    for rate in child.rates:
        for bound in _of_measure(parent, rate.measure):
            if _per(rate, bound) > 0:
                rate = replace(rate, most=bound.most, per=bound.per)
            rate = replace(rate, burst=min(rate.burst, bound.burst))
        rates.append(rate)
    budgets = []
    for budget in child.budgets:
        most = most_of(parent, budget)
        budgets.append(budget if most is None else replace(budget, most=min(budget.most, most)))
    parallel = child.parallel
    if parallel and parent.parallel:
        parallel = min(parallel, parent.parallel)
    return replace(child, rates=tuple(rates), parallel=parallel, budgets=tuple(budgets))


def most_of(parent: CallLimit, budget: Budget) -> int | None:
    """The most that a parent's hard budgets let through in the window of ``budget``; None = they
    don't say."""
    span = SECONDS[budget.per]
    found = [
        bound.most * -(-span // SECONDS[bound.per])
        for bound in parent.budgets
        if bound.unit == budget.unit and not bound.soft
    ]
    return min(found, default=None)


def amount_of(unit: str, most: int) -> str:
    """An amount of a budget in words: picodollars as exact dollars."""
    if unit != "usd":
        return f"{most} tokens"
    whole, rest = divmod(most, 10**12)
    return f"{whole}.{rest:012d}".rstrip("0").rstrip(".") + " USD"


def _of_measure(limit: CallLimit, measure: str) -> list[RateLimit]:
    return [rate for rate in limit.rates if rate.measure == measure]


def _per(rate: RateLimit, bound: RateLimit) -> int:
    """How much faster a rate is; exact."""
    return rate.most * SECONDS[bound.per] - bound.most * SECONDS[rate.per]


def _said(rate: RateLimit) -> str:
    return f"{rate.most}/{rate.per}"
