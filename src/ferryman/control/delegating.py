"""Limits that were set for tenants: into what the data planes go by, and back into words."""

import hashlib
from collections.abc import Iterator
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

import msgspec
import sqlalchemy as sa
from msgspec.structs import replace
from sqlalchemy.exc import SQLAlchemyError

from ferryman.client.tenants import BudgetSet, LimitSet, Rate
from ferryman.config.delegation import amount_of
from ferryman.config.snapshot import RATES, Budget, CallLimit, RateLimit, Snapshot
from ferryman.control.orders import Compiled
from ferryman.control.problem import ProblemError
from ferryman.ir.price import PICO
from ferryman.log import log
from ferryman.store import delegated, tenants

MOST_USD: Final = 1_000_000
_snapshot: Final = msgspec.msgpack.Decoder(Snapshot)


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
    """A limit without a name. Raises :class:`ProblemError` (400)."""
    rates = {name: getattr(said, name) for name in RATES}
    if not any(rates.values()) and said.parallel is None and not said.budget:
        detail = "This limits nothing: say how much, such as requests: 600/minute."
        raise ProblemError(400, "invalid_body", detail)
    return CallLimit(
        name="",
        rates=tuple(_rate(name, rate) for name, rate in rates.items() if rate is not None),
        parallel=said.parallel or 0,
        budgets=tuple(_budget(i, each) for i, each in enumerate(said.budget)),
        status=said.status,
    )


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
        **rates, parallel=limit.parallel or None, budget=tuple(map(_words, limit.budgets)),
        status=limit.status,
    )  # fmt: skip


def told(limit: CallLimit) -> str:
    """The same in a line for people."""
    return "; ".join(_parts(limit))


def _parts(limit: CallLimit) -> Iterator[str]:
    for rate in limit.rates:
        burst = "" if rate.burst == rate.most else f", {rate.burst} at once"
        yield f"{rate.measure.replace('_', ' ')} {rate.most}/{rate.per}{burst}"
    if limit.parallel:
        yield f"{limit.parallel} at once"
    for each in limit.budgets:
        soft = " (soft)" if each.soft else ""
        yield f"{amount_of(each.unit, each.most)} per {each.per}{soft}"


def _rate(measure: str, said: str | Rate) -> RateLimit:
    if isinstance(said, str):
        number, _, per = said.partition("/")
        return RateLimit(measure=measure, most=int(number), per=per, burst=int(number))
    return RateLimit(measure=measure, most=said.most, per=said.per, burst=said.burst or said.most)


def _budget(place: int, said: BudgetSet) -> Budget:
    where = f"budget[{place}]"
    if (said.usd is None) == (said.tokens is None):
        raise ProblemError(400, "invalid_body", f"{where}: give usd or tokens, one of them.")
    try:
        ZoneInfo(said.zone)
    except (KeyError, ValueError, OSError):
        detail = f"{where}.zone: there is no time zone {said.zone!r}."
        raise ProblemError(400, "invalid_body", detail) from None
    return Budget(
        unit="tokens" if said.usd is None else "usd",
        most=(said.tokens or 0) if said.usd is None else _pico(where, said.usd),
        per=said.per, rolling=said.rolling, zone=said.zone, soft=said.soft,
        cut=said.on_exceeded == "cut", notify=tuple(sorted(set(said.notify))),
    )  # fmt: skip


def _pico(where: str, usd: Decimal) -> int:
    if not usd.is_finite() or not 0 <= usd <= MOST_USD or usd * 10**6 % 1:
        detail = f"{where}.usd: give an amount up to {MOST_USD}, with 6 decimals at most."
        raise ProblemError(400, "invalid_body", detail)
    return int(usd * PICO)


def _words(budget: Budget) -> BudgetSet:
    usd = budget.unit == "usd"
    return BudgetSet(
        usd=Decimal(amount_of("usd", budget.most).removesuffix(" USD")) if usd else None,
        tokens=None if usd else budget.most, per=budget.per,  # type: ignore[arg-type]
        rolling=budget.rolling, zone=budget.zone, soft=budget.soft,
        on_exceeded="cut" if budget.cut else "finish", notify=budget.notify,
    )  # fmt: skip
