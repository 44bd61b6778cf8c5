"""The pages Limits and Teams: what may be spent and taken, and by whom it is."""

import datetime
import time
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec
from msgspec import Struct

from ferryman.config.snapshot import RATES
from ferryman.control import orders
from ferryman.control.dashboard.desk import Asked, Desk, Go, Page
from ferryman.control.dashboard.routes import changed, written
from ferryman.control.problem import ProblemError
from ferryman.control.when import rfc3339
from ferryman.ir.price import PICO
from ferryman.store import glance

MOST: Final = 200
"""Rows; those with the least left come first."""
SPANS: Final = (("1d", "1 day"), ("7d", "7 days"), ("30d", "30 days"))
DAY: Final = 86_400
MEASURES: Final = (*RATES, "parallel")


class Standing(Struct, frozen=True, kw_only=True):
    """How a budget or a limit stands for one value. Amounts are picodollars, tokens or calls."""

    limit: str
    value: str
    """Of what it is counted by; empty = of nothing."""
    measure: str
    per: str
    most: int
    spent: int
    """Without what is held."""
    held: int
    resets_us: int
    """Of a span of time from now; of budgets until they begin anew."""
    budget: bool

    @property
    def share(self) -> float:
        """How much of it is taken: 1 = all."""
        return (self.spent + self.held) / self.most if self.most else 1.0


class Raise(Struct, frozen=True, kw_only=True):
    """A budget as it is written, and how it may be raised."""

    limit: str
    section: str
    """``limits`` or ``policies``,"""
    place: int
    """the place in it, and"""
    number: int
    """that of the budget."""
    unit: str
    most: str
    per: str
    by: str
    soft: bool
    extra: str
    """What it is raised by already, with its end; empty = nothing."""


def page(desk: Desk, asked: Asked) -> Page:
    """Budgets as bars, limits with how close they are."""
    wanted = asked.query.get("q", "").strip().lower()
    rows, problem = standings(desk)
    fit = [row for row in rows if wanted in f"{row.limit} {row.value}".lower()]
    fit.sort(key=lambda row: row.share, reverse=True)
    found = written(desk)
    values = {
        "budgets": [row for row in fit if row.budget][:MOST],
        "limits": [row for row in fit if not row.budget][:MOST],
        "hidden": max(sum(row.budget for row in fit) - MOST, 0)
        + max(sum(not row.budget for row in fit) - MOST, 0),
        "raises": budgets(found), "configured": configured(found),
        "problem": problem, "said": asked.query.get("q", ""), "spans": SPANS, "pico": PICO,
    }  # fmt: skip
    return Page(template="limits.html", title="Limits", values=values)


def standings(desk: Desk) -> tuple[list[Standing], str]:
    """How everything that counts stands, as the data plane says; or why it can't say so."""
    try:
        said = desk.relay.ask("GET", "/internal/limits")
    except ProblemError as error:
        return [], error.detail
    desk.admin.catch_up()
    return _standings(said, glance.held(desk.admin.engine)), ""


def _standings(
    said: Iterable[Mapping[str, Any]], held: Mapping[str, tuple[int, int]]
) -> list[Standing]:
    found = []
    for row in said:
        usd, budget = row["measure"] == "usd", row["kind"] == "budget"
        most, left = (int(Decimal(row[n]) * PICO) if usd else int(row[n]) for n in ("most", "left"))
        taken = max(most - left, 0)
        waits = min(held.get(row["key"], (0, 0))[0 if usd else 1], taken) if budget else 0
        name, _, value = row["key"].partition("|")
        found.append(
            Standing(
                limit=name, value=value.replace("%7C", "|").replace("%25", "%"),
                measure=row["measure"], per=row["per"] or "", most=most, spent=taken - waits,
                held=waits, resets_us=int(row["resets_in_s"]) * 1_000_000, budget=budget,
            )
        )  # fmt: skip
    return found


def configured(found: Mapping[str, Any]) -> list[dict[str, str]]:
    """The limits of the configuration, in words."""
    rows = []
    for number, each in enumerate(found.get("limits") or (), 1):
        most = [
            f"{name.replace('_', ' ')} {_rate(each[name])}" for name in MEASURES if name in each
        ]
        most += [f"{_amount(b)} per {b.get('per')}{' (soft)' if b.get('soft') else ''}"
                 for b in _list(each.get("budget"))]  # fmt: skip
        rows.append(
            {
                "name": str(each.get("name") or f"limit-{number}"),
                "by": ", ".join(map(str, _list(each.get("by")))) or "all calls together",
                "when": each.get("when") or "",
                "most": "; ".join(most),
            }
        )
    return rows


def budgets(found: Mapping[str, Any]) -> list[Raise]:
    """Every budget of the configuration."""
    rows = []
    for section, prefix, plain in (("limits", "", "limit"), ("policies", "policy-", "policy")):
        for place, each in enumerate(found.get(section) or ()):
            name = prefix + str(each.get("name") or f"{plain}-{place + 1}")
            for number, budget in enumerate(_list(each.get("budget"))):
                extra = budget.get("increase")
                rows.append(
                    Raise(
                        limit=name, section=section, place=place, number=number,
                        unit="usd" if "usd" in budget else "tokens", most=_amount(budget),
                        per=str(budget.get("per")), soft=bool(budget.get("soft")),
                        by=", ".join(map(str, _list(each.get("by")))),
                        extra=f"{_amount(extra)} until {extra.get('until')}" if extra else "",
                    )
                )  # fmt: skip
    return rows


def increase(desk: Desk, asked: Asked) -> Go:
    """Raise a budget for a while, or end that."""
    form, expected, found = asked.form, desk.configuration.number, written(desk)
    which = (form.get("section", ""), form.get("place", ""), form.get("number", ""))
    rows = [r for r in budgets(found) if (r.section, str(r.place), str(r.number)) == which]
    if not rows or rows[0].limit != form.get("limit"):
        raise ProblemError(404, "limit_not_found", "That budget is not as it was: look again.")
    row = rows[0]
    more: dict[str, Any] | None = None
    if form.get("do") != "end":
        span = form.get("span", "")
        if span not in dict(SPANS):
            raise ProblemError(400, "invalid_span", "Choose how long from the list.")
        until = int(time.time()) + int(span[:-1]) * DAY
        more = {row.unit: _number(form.get("amount", ""), row.unit), "until": rfc3339(until)}
    section = msgspec.json.encode(raised(found[row.section], row.place, row.number, more))
    note = f"{row.limit}: raised for a while" if more else f"{row.limit}: no longer raised"
    return changed(desk, orders.ENTRY, section, row.section, note, expected)


def raised(
    section: Sequence[Mapping[str, Any]], place: int, number: int, more: Mapping[str, Any] | None
) -> list[Mapping[str, Any]]:
    """The section with one budget raised by ``more``; None = not any more. Pure."""
    entry = dict(section[place])
    several = [dict(each) for each in _list(entry["budget"])]
    several[number].pop("increase", None)
    if more is not None:
        several[number]["increase"] = dict(more)
    entry["budget"] = several if isinstance(entry["budget"], list) else several[0]
    return [*section[:place], entry, *section[place + 1 :]]


def _number(text: str, unit: str) -> float | int:
    try:
        amount = Decimal(text.strip())
    except InvalidOperation:
        amount = Decimal(0)
    if not amount.is_finite() or amount <= 0 or (unit == "tokens" and amount % 1):
        raise ProblemError(400, "invalid_amount", "Say by how much, such as 10.")
    return int(amount) if not amount % 1 else float(amount)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _amount(of: Mapping[str, Any]) -> str:
    return f"${of['usd']}" if "usd" in of else f"{of.get('tokens')} tokens"


def _rate(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    burst = f", {value['burst']} at once" if "burst" in value else ""
    return f"{value.get('most')}/{value.get('per')}{burst}"


def month_began(now: float) -> int:
    """Unix microseconds of the month's first midnight, UTC."""
    day = datetime.datetime.fromtimestamp(now, datetime.UTC).replace(
        day=1, hour=0, minute=0, second=0, microsecond=0
    )
    return int(day.timestamp()) * 1_000_000
