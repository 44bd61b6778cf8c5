"""Limits that were set for tenants: into what the data planes go by, and back into words."""

import hashlib
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from msgspec.structs import replace
from sqlalchemy.exc import SQLAlchemyError

from ferryman.client.tenants import BudgetSet, Increase, LimitSet, Rate
from ferryman.config.delegation import amount_of
from ferryman.config.snapshot import Budget, CallLimit, Snapshot
from ferryman.control.orders import Compiled
from ferryman.control.problem import ProblemError
from ferryman.control.when import rfc3339
from ferryman.log import log
from ferryman.store import delegated, tenants

_snapshot: Final = msgspec.msgpack.Decoder(Snapshot)
_numbers: Final = msgspec.json.Encoder(decimal_format="number").encode


class Adder:
    """Adds them to what was compiled from the configuration."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._known: tuple[CallLimit, ...] = ()
        self._number = -1

    def add(self, found: Compiled) -> Compiled:
        """What was compiled, with all that is set. Where the database fails now, what was set when
        it was asked last: a change of the configuration does not wait for it."""
        try:
            self._known = self._set()
        except SQLAlchemyError as error:
            log("control", f"limits of tenants stay as they were: {type(error).__name__}")
        return merged(found, self._known)

    def news(self) -> bool:
        """Whether something else is set now than was added last: by another control plane,
        or because a key is another's now. Cheap, for polling."""
        number = tenants.number(self._engine)
        if number == self._number:
            return False
        found = self._set()
        self._number = number
        return found != self._known

    def _set(self) -> tuple[CallLimit, ...]:
        return tuple(each.limits for each in delegated.every(self._engine))


def merged(found: Compiled, limits: tuple[CallLimit, ...]) -> Compiled:
    """``found`` with further limits in its snapshot, whose version says so. Pure."""
    if not limits:
        return found
    said = found.version.encode() + msgspec.msgpack.encode(limits)
    version = hashlib.sha256(said).hexdigest()[:32]
    snapshot = _snapshot.decode(found.snapshot)
    whole = replace(snapshot, version=version, limits=(*snapshot.limits, *limits))
    return replace(found, version=version, snapshot=msgspec.msgpack.encode(whole))


# -- words -----------------------------------------------------------------------------------------


def limit_of(said: LimitSet) -> CallLimit:
    """A limit without a name, read and checked as one of the configuration is.

    Raises :class:`ProblemError` (400).
    """
    from ferryman.config.one_limit import limit_in  # loads what reads YAML

    limit, problems = limit_in(_numbers(said))
    if limit is None or problems:
        detail = "; ".join(f"{key}: {text}" if key else text for key, text in problems[:3])
        raise ProblemError(400, "invalid_body", f"{detail}.")
    return limit


def words_of(limit: CallLimit) -> LimitSet:
    """The same in words: :func:`limit_of` takes it back."""
    rates = {
        rate.measure: Rate(
            most=rate.most, per=rate.per,  # type: ignore[arg-type]
            burst=None if rate.burst == rate.most else rate.burst,
        )
        for rate in limit.rates
    }  # fmt: skip
    return LimitSet(
        by=limit.by, **rates, parallel=limit.parallel or None,
        budget=tuple(map(_words, limit.budgets)), status=limit.status,
    )  # fmt: skip


def told(limit: CallLimit) -> str:
    """The same in a line for people."""
    each = f"for each {' and '.join(limit.by)}: " if limit.by else ""
    return each + "; ".join(_parts(limit))


def _parts(limit: CallLimit) -> Iterator[str]:
    for rate in limit.rates:
        burst = "" if rate.burst == rate.most else f", {rate.burst} at once"
        yield f"{rate.measure.replace('_', ' ')} {rate.most}/{rate.per}{burst}"
    if limit.parallel:
        yield f"{limit.parallel} at once"
    for each in limit.budgets:
        more = " (soft)" if each.soft else ""
        more += ", carried over" if each.carry_over else ""
        if each.extra:
            more += f", {amount_of(each.unit, each.extra)} more until {rfc3339(each.extra_until)}"
        yield f"{amount_of(each.unit, each.most)} per {each.per}{more}"


def _words(budget: Budget) -> BudgetSet:
    more = None
    if budget.extra_until:
        until = rfc3339(budget.extra_until)
        more = Increase(**_amount(budget.unit, budget.extra), until=until)
    return BudgetSet(
        **_amount(budget.unit, budget.most), per=budget.per,  # type: ignore[arg-type]
        rolling=budget.rolling, zone=budget.zone, soft=budget.soft,
        on_exceeded="cut" if budget.cut else "finish", carry_over=budget.carry_over,
        notify=budget.notify, increase=more,
    )  # fmt: skip


def _amount(unit: str, most: int) -> dict[str, Any]:
    said = amount_of(unit, most)
    return {"usd": Decimal(said.removesuffix(" USD"))} if unit == "usd" else {"tokens": most}
