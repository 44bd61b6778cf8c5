"""Reads what providers bill: forms of ``catalog/bills.py``, or a CSV whose columns are named."""

import csv
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final, NamedTuple

from ferryman.catalog.bills import FORMS, OPTIONAL, Columns
from ferryman.client import ApiError

MEASURES: Final = (
    "calls", "input", "cache_read", "cache_write", "cache_write_1h", "output", "cost",
)  # fmt: skip
"""What is compared; ``output`` has reasoning in it, ``cost`` is in dollars."""
FIELDS: Final = ("date", "model", *MEASURES, "input_total", "cost_cents")
Sums = dict[str, Decimal]


class Bill(NamedTuple):
    """What a file says."""

    form: str
    sums: dict[tuple[date, str], Sums]
    """(UTC day, model as :func:`plain` has it) → measures; an empty model = it says none."""
    measures: tuple[str, ...]


def read(path: Path, form: str, columns: Columns, same: Mapping[str, str]) -> Bill:
    """Read a CSV. Raises :class:`ApiError` for what is none, with its line.

    ``form``: of ``FORMS``, or nothing: as it looks. ``columns`` name what it has in place of that.
    ``same``: their name of a model → ours.
    """
    known = {plain(theirs): plain(ours) for theirs, ours in same.items()}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            name, named = _form(tuple(reader.fieldnames or ()), form, columns)
            sums: dict[tuple[date, str], Sums] = {}
            for row in reader:
                try:
                    day, model, found = _row(row, named)
                except ValueError as error:
                    raise ApiError(f"{path}, line {reader.line_num}: {error}") from None
                model = known.get(model, model)
                group = sums.setdefault((day, model), dict.fromkeys(found, Decimal(0)))
                for measure, amount in found.items():
                    group[measure] += amount
    except OSError as error:
        raise ApiError(f"Can't read {path}: {error.strerror}.") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ApiError(f"{path} is no CSV in UTF-8: {error}.") from None
    if not sums:
        raise ApiError(f"{path} has no rows.")
    measures = {name for found in sums.values() for name in found}
    return Bill(name, sums, tuple(each for each in MEASURES if each in measures))


def _form(header: tuple[str, ...], form: str, columns: Columns) -> tuple[str, Columns]:
    """The form's name, and where each thing stands in it."""
    wrong = [name for name in columns if name not in FIELDS]
    if wrong:
        raise ApiError(f"{wrong[0]!r} is nothing to compare: choose from {', '.join(FIELDS)}.")
    missing = [name for name in columns.values() if name not in header]
    if missing:
        raise ApiError(f"There is no column {missing[0]!r}: the file has {', '.join(header)}.")
    if columns:
        if "date" not in columns or len(set(columns) - {"date", "model"}) == 0:
            raise ApiError("Name the columns of the date and of what is to be compared.")
        return "columns", columns
    if form and form not in FORMS:
        raise ApiError(f"{form!r} is no form: choose from {', '.join(FORMS)}, or name columns.")
    for name in (form,) if form else FORMS:
        for what, named in FORMS[name].items():
            if all(each in header for at, each in named.items() if at not in OPTIONAL):
                return f"{name} {what}", {at: each for at, each in named.items() if each in header}
    raise ApiError(
        f"This is no export that is known ({', '.join(FORMS)}). Name its columns: --column "
        f"date=NAME --column model=NAME --column cost=NAME. The file has {', '.join(header)}."
    )


def _row(row: Mapping[str, str | None], named: Columns) -> tuple[date, str, Sums]:
    day = _day(row.get(named["date"]) or "")
    model = plain((row.get(named["model"]) or "") if "model" in named else "")
    found = {
        at: _number(row.get(name) or "0", name)
        for at, name in named.items()
        if at not in ("date", "model")
    }
    if "input_total" in found:
        found["input"] = found.pop("input_total") - found.get("cache_read", Decimal(0))
    if "cost_cents" in found:
        found["cost"] = found.pop("cost_cents") / 100
    return day, model, found


def _day(text: str) -> date:
    text = text.strip()
    if re.fullmatch(r"[0-9]{9,11}", text):
        return datetime.fromtimestamp(int(text), UTC).date()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no date. Write 2026-11-30 or Unix seconds.") from None
    return (moment.astimezone(UTC) if moment.tzinfo else moment).date()


def _number(text: str, column: str) -> Decimal:
    try:
        found = Decimal(text.strip().lstrip("$").replace(",", "") or "0")
    except InvalidOperation:
        raise ValueError(f"{text!r} in {column!r} is no number.") from None
    if not found.is_finite():
        raise ValueError(f"{text!r} in {column!r} is no number.")
    return found


def plain(model: str) -> str:
    """A model's name as both sides may write it: ``Claude Haiku 4.5`` → ``claude-haiku-4-5``.

    Without a date at its end, and without what a line of an invoice says after a comma.
    """
    text = model.partition(",")[0].strip().lower()
    text = re.sub(r"[^a-z0-9]+", "-", text.rpartition("/")[2]).strip("-")
    return re.sub(r"-(20[0-9]{6}|20[0-9]{2}-[0-9]{2}-[0-9]{2})$", "", text)


def days(bill: Bill) -> tuple[date, date]:
    """The first and the last day."""
    found = sorted(day for day, _ in bill.sums)
    return found[0], found[-1]
