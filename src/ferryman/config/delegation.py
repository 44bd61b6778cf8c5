"""Limits that are handed down: organisation, team, user, key. What a child may take is never more
than what its parent may. Pure.

Two limits are compared measure by measure. Of a rate both what flows back in a time and the burst
have to fit (GCRA lets through burst + rate × time, so then it fits over any time). A budget has to
fit each hard budget of the parent in the same unit: in a window as long or longer at once, of
shorter ones as many as there are in its own. What a child may carry over counts with it, and what
its parent may does not: others may have spent that. An increase fits into the parent's as long as
that lasts as long. Where one of the two says nothing there is nothing to compare: the parent's hold
for all calls of its children anyway. The same holds where a parent counts by what the child
does not: then no single count of the parent's is about all that one of the child's is about.
"""

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from msgspec import Struct
from msgspec.structs import replace

from ferryman.config.snapshot import LENGTHS, Budget, CallLimit, Condition, RateLimit

RATE_SECONDS: Final = {"second": 1, **LENGTHS}
"""Of what rates are per,"""
SECONDS: Final = {**RATE_SECONDS, "month": 31 * 86_400}
"""and of budgets; months at their longest."""


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
    def fixed(self) -> frozenset[str]:
        """Facts that all of these calls have in common."""
        if self.key:
            return frozenset(("organisation", "team", "user", "key"))
        return frozenset(("organisation", *(n for n in ("team", "user") if getattr(self, n))))

    def called(self, by: Sequence[str]) -> str:
        """What a limit of it is called that is counted by these."""
        said = ",".join(quote(each, safe="@+ ") for each in by)
        return f"{self.name}:{said}" if said else self.name

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


Member = tuple[Scope, CallLimit]
"""Whose a limit is, and the limit."""
_ANY: Final = Scope()


def beyond(child: CallLimit, parent: CallLimit, of: Scope = _ANY) -> list[str]:
    """In what a child may take more than its parent, in words; nothing = in nothing. ``of``: whose
    the child is."""
    found: list[str] = []
    if not _bounds(parent, child, of):
        return found
    for rate in child.rates:
        for bound in _of_measure(parent, rate.measure):
            if _per(rate, bound) > 0:
                found.append(f"{rate.measure}: {_said(rate)} is more than {_said(bound)}")
            elif rate.burst > bound.burst:
                found.append(f"{rate.measure}: a burst of {rate.burst} is more than {bound.burst}")
    if parent.parallel and child.parallel > parent.parallel:
        found.append(f"parallel: {child.parallel} is more than {parent.parallel}")
    for budget in child.budgets:
        most, raised = most_of(parent, budget), most_of(parent, budget, budget.extra_until)
        if most is None or raised is None:
            continue
        said, least, top = (amount_of(budget.unit, n) for n in (budget.most, most, raised))
        carried = f", with {said} carried over," if budget.carry_over else ""
        if _greatest(budget) > most:
            found.append(f"budget: {said} per {budget.per}{carried} is more than {least}")
        elif _greatest(budget) + budget.extra > raised:
            more = amount_of(budget.unit, budget.most + budget.extra)
            while_ = "" if top == least else " with its increase"
            found.append(
                f"budget: {more} per {budget.per}{carried} with the increase is more than "
                f"{top}{while_}"
            )
    return found


def lowered(child: CallLimit, parent: CallLimit, of: Scope = _ANY) -> CallLimit:
    """The child with what is beyond its parent brought down to it."""
    if not _bounds(parent, child, of):
        return child
    rates = []
    for rate in child.rates:
        for bound in _of_measure(parent, rate.measure):
            if _per(rate, bound) > 0:
                rate = replace(rate, most=bound.most, per=bound.per)
            rate = replace(rate, burst=min(rate.burst, bound.burst))
        rates.append(rate)
    parallel = child.parallel
    if parallel and parent.parallel:
        parallel = min(parallel, parent.parallel)
    budgets = tuple(_lowered(budget, parent) for budget in child.budgets)
    return replace(child, rates=tuple(rates), parallel=parallel, budgets=budgets)


def _lowered(budget: Budget, parent: CallLimit) -> Budget:
    most, raised = most_of(parent, budget), most_of(parent, budget, budget.extra_until)
    if most is None or raised is None:
        return budget
    times = 2 if budget.carry_over else 1
    less = replace(budget, most=min(budget.most, most // times))
    extra = min(budget.extra, raised - _greatest(less))
    return replace(less, extra=extra, extra_until=budget.extra_until if extra else 0)


def brought_down(members: Sequence[Member]) -> list[Member]:
    """All of them, each brought down to those above it, which come first."""
    done: list[Member] = []
    for scope, limits in sorted(members, key=lambda each: _depth(each[0])):
        for above, bound in done:
            if above.above(scope):
                limits = lowered(limits, bound, scope)
        done.append((scope, limits))
    return done


def _depth(scope: Scope) -> int:
    """More than of any that is above it."""
    return bool(scope.team) + bool(scope.user) + 3 * bool(scope.key)


def lasting(limits: CallLimit, now: int) -> CallLimit:
    """Limits without increases that are over at that time (Unix seconds)."""
    budgets = tuple(
        replace(each, extra=0, extra_until=0) if each.extra_until <= now else each
        for each in limits.budgets
    )
    return replace(limits, budgets=budgets)


def most_of(parent: CallLimit, budget: Budget, until: int = 0) -> int | None:
    """The most that a parent's hard budgets let through in the window of ``budget``; None = they
    don't say. ``until``: with increases that last as long (Unix seconds), but of shorter windows,
    of which fewer may have one than there are."""
    span = SECONDS[budget.per]
    found = []
    for bound in parent.budgets:
        if bound.unit == budget.unit and not bound.soft:
            times = -(-span // SECONDS[bound.per])
            more = bound.extra if times == 1 and 0 < until <= bound.extra_until else 0
            found.append(bound.most * times + more)
    return min(found, default=None)


def _greatest(budget: Budget) -> int:
    """The most that may be spent in a period, without an increase."""
    return 2 * budget.most if budget.carry_over else budget.most


def _bounds(parent: CallLimit, child: CallLimit, of: Scope) -> bool:
    """Whether all that one count of a child is about is in one of the parent's."""
    return not frozenset(parent.by) - of.fixed - frozenset(child.by)


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
    return rate.most * RATE_SECONDS[bound.per] - bound.most * RATE_SECONDS[rate.per]


def _said(rate: RateLimit) -> str:
    return f"{rate.most}/{rate.per}"
