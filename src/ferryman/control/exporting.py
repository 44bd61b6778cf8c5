"""Exports: every call, or charges by FOCUS 1.2, as they are read from the ledger, page by page.

The answer is JSON, a line for each row: first the columns with their types, then arrays in their
order, at last how many there were, so that an export that broke off is not taken for a whole one.
"""

import csv
import io
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from ferryman.catalog import prices as catalogue
from ferryman.client.documents import Call
from ferryman.control import contents
from ferryman.control.admin import Admin
from ferryman.control.api.route import Route
from ferryman.control.reports import Since, Until, checked, groups_of, span
from ferryman.control.rows import MORE_CLASSES, call_row
from ferryman.ir.price import Price
from ferryman.ir.usage import CLASSES, from_counts
from ferryman.meter.focus import COLUMNS, PERIODS, Charged, Focus
from ferryman.store import keys, ledger
from ferryman.store.dimensions import METADATA
from ferryman.store.ledger import CallRow

PAGE: Final = 1000
TAGS: Final = "organisation,team,user,end_user,task,tag"
"""Dimensions whose values go into the tags of charges."""
_encode: Final = msgspec.json.Encoder().encode
CALLS: Final = {
    "time": "time", "request_id": "text", "key": "text", "key_id": "text", "organisation": "text",
    "team": "text", "user": "text", "end_user": "text", "run": "text", "task": "text",
    "tags": "json", "metadata": "json", "endpoint": "text", "model": "text", "provider": "text",
    "target": "text", "policy": "text", "service": "text", "region": "text", "status": "int",
    "error": "text", "stream": "bool", "state": "text", "attempts": "int", "cache": "text",
    "duration_ms": "float", "ttft_ms": "float", "overhead_ms": "float",
    **{f"tokens_{name}": "int" for name in (*CLASSES, *MORE_CLASSES)},
    "searches": "int", "audio_seconds": "float", "cost_usd": "decimal", "unknown_cost": "int",
    "saved_usd": "decimal", "estimated_input": "int", "estimated_output": "int",
    "estimated_usd": "decimal", "price": "text", "plane": "text",
}  # fmt: skip
"""Column → its type, of an export of calls."""
Pages = Iterator[list[CallRow]]


class ExportQuery(Struct, kw_only=True, forbid_unknown_fields=True):
    """Which calls."""

    since: Since = "30d"
    until: Until = ""


class FocusQuery(ExportQuery, kw_only=True, forbid_unknown_fields=True):
    """Which charges."""

    period: Literal["hour", "day"] = "day"
    tags: Annotated[str, Meta(description="Dimensions that become tags.")] = TAGS


class DatasetQuery(ExportQuery, kw_only=True, forbid_unknown_fields=True):
    """Which stored calls, and how."""

    shape: Annotated[
        Literal["chat", "raw"],
        Meta(description="chat: whole conversations as examples for fine-tuning; raw: as sent."),
    ] = "chat"
    min_score: Annotated[
        Annotated[float, Meta(ge=-1, le=1)] | None, Meta(description="The least mean score.")
    ] = None


def export_calls(admin: Admin, query: ExportQuery, where: dict[str, str]) -> Iterator[bytes]:
    """Every call, oldest first, as JSON lines.

    First the columns with their types, then an array for each call, at last how many there were.
    """
    return _lines(CALLS, _calls(admin, _pages(admin, query, where)))


def export_focus(admin: Admin, query: FocusQuery, where: dict[str, str]) -> Iterator[bytes]:
    """Charges by FOCUS 1.2, as JSON lines, in the form of the other export."""
    pages = _pages(admin, query, where)
    charges = _charges(admin, pages, PERIODS[query.period], groups_of(query.tags))
    return _lines(COLUMNS, charges)


def export_content(admin: Admin, query: DatasetQuery, where: dict[str, str]) -> Iterator[bytes]:
    """Stored calls as data sets, oldest first, as JSON lines, in the form of the other exports."""
    begin, end = span(query.since, query.until)
    admin.catch_up()
    with checked():
        ledger.calls(admin.engine, limit=1, where=where, among=())
    last = int(time.time() * 1e6) if end is None else end
    wish = contents.Wish(begin or 0, last, where, query.shape, query.min_score)
    columns = contents.RAW if query.shape == "raw" else contents.CHAT
    return _lines(columns, contents.rows(admin, wish))


def focus_csv(admin: Admin, since: str, until: str, chosen: Mapping[str, str]) -> Iterator[bytes]:
    """Charges of whole days by FOCUS 1.2 as CSV, in pieces."""
    pages = _pages(admin, ExportQuery(since=since, until=until), chosen)
    charges = _charges(admin, pages, PERIODS["day"], groups_of(TAGS))
    kinds = COLUMNS.values()
    rows = ([_charged(*each) for each in zip(row, kinds, strict=True)] for row in charges)
    yield from csv_of(COLUMNS, rows)


def calls_csv(admin: Admin, pages: Pages) -> Iterator[bytes]:
    """Calls as CSV, with the columns of the other export, in pieces."""
    kinds = CALLS.values()
    rows = ([_cell(*each) for each in zip(row, kinds, strict=True)] for row in _calls(admin, pages))
    return csv_of(CALLS, rows)


def csv_of(head: Iterable[str], rows: Iterable[Iterable[object]]) -> Iterator[bytes]:
    """CSV in pieces of some 64 KiB, as the rows come."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(head)
    for row in rows:
        writer.writerow(row)
        if out.tell() > 65_536:
            yield out.getvalue().encode()
            out.seek(0)
            out.truncate()
    yield out.getvalue().encode()


def _charged(text: str | None, kind: str) -> str:
    return cell(text) if kind == "text" else text or ""


def _cell(value: object, kind: str) -> object:
    if value is None:
        return ""
    if kind == "json":
        return _encode(value).decode()
    return cell(str(value)) if kind == "text" else value


def cell(text: str | None) -> str:
    """A cell that no spreadsheet takes for a formula: callers choose names of models."""
    return "'" + text if text and text[0] in "=+-@\t\r" else text or ""


def _lines(columns: Mapping[str, str], rows: Iterable[object]) -> Iterator[bytes]:
    def said() -> Iterator[bytes]:
        yield _encode({"columns": columns}) + b"\n"
        count = 0
        for row in rows:
            yield _encode(row) + b"\n"
            count += 1
        yield _encode({"rows": count}) + b"\n"

    return _bundled(said())


def _bundled(parts: Iterator[bytes]) -> Iterator[bytes]:
    """The same in larger pieces: each costs a way from thread to loop and back."""
    held: list[bytes] = []
    for part in parts:
        held.append(part)
        if len(held) >= 500:
            yield b"".join(held)
            held.clear()
    yield b"".join(held)


def _pages(admin: Admin, query: ExportQuery, chosen: Mapping[str, str]) -> Pages:
    begin, end = span(query.since, query.until)
    admin.catch_up()
    last = int(time.time() * 1e6) if end is None else end
    after = (begin or 0, "")

    def read() -> Pages:
        nonlocal after
        while page := ledger.calls_after(admin.engine, after, last, PAGE, chosen):
            yield page
            after = (page[-1].at_us, page[-1].request_id)

    return read()


# -- calls -----------------------------------------------------------------------------------------


def _calls(admin: Admin, pages: Pages) -> Iterator[list[object]]:
    for page in pages:
        names = keys.names(admin.engine, {call.key for call in page})
        for call in page:
            yield _flat(call_row(call, names))


def _flat(call: Call) -> list[object]:
    found: dict[str, object] = {f"tokens_{name}": n for name, n in (call.tokens or {}).items()}
    if call.estimate is not None:
        about = call.estimate
        found |= {"estimated_input": about["input"], "estimated_output": about["output"],
                  "estimated_usd": about["cost_usd"]}  # fmt: skip
    return [found.get(name) if name in found else getattr(call, name, None) for name in CALLS]


# -- charges ---------------------------------------------------------------------------------------


def _charges(
    admin: Admin, pages: Pages, seconds: int, tags: tuple[str, ...]
) -> Iterator[list[str | None]]:
    @lru_cache(maxsize=10_000)
    def name_of(key: str) -> str:
        return keys.names(admin.engine, (key,)).get(key, key)

    @lru_cache(maxsize=1000)
    def price_of(price: str) -> tuple[Price, ...]:
        return ledger.price_of(admin.engine, price)

    focus = Focus(seconds, name_of, lru_cache(maxsize=1000)(catalogue.lookup))
    for page in pages:
        for call in page:
            yield from focus.turn(call.at_us // 1_000_000)
            _charge(focus, call, tags, price_of)
    yield from focus.rows()


def _charge(
    focus: Focus,
    call: CallRow,
    tags: tuple[str, ...],
    price_of: Callable[[str], tuple[Price, ...]],
) -> None:
    """Add a call: as a whole, or its attempts where several were paid for."""
    if not call.cost:
        return
    labels = _tags(call, tags)
    at_s, left = call.at_us // 1_000_000, call.cost
    for each in call.attempts if call.price is None else ():
        cost, price = each.get("cost_pico"), each.get("price", "")
        if not cost or not price or cost > left:
            continue
        usage = from_counts(each.get("tokens") or {})
        service = usage.extras.service if usage.extras is not None else ""
        region = usage.extras.region if usage.extras is not None else ""
        of = Charged(each["provider"], each["model"], call.key, service, region, labels)
        focus.add(of, at_s, cost, usage, price, price_of(price))
        left -= cost
    if left:
        extras = call.usage.extras if call.usage is not None else None
        service, region = (extras.service, extras.region) if extras is not None else ("", "")
        of = Charged(call.provider, call.target, call.key, service, region, labels)
        used = call.usage if call.price is not None else None
        focus.add(of, at_s, left, used, call.price or "", price_of(call.price or ""))


def _tags(call: CallRow, names: tuple[str, ...]) -> str:
    found: dict[str, str | bool] = {}
    for name in names:
        if name == "tag":
            found |= dict.fromkeys(call.tags, True)
            continue
        if name.startswith(METADATA):
            value = call.metadata.get(name.removeprefix(METADATA))
        else:
            value = getattr(call, name, None)
        if value is not None and value != "":
            found[name] = str(value)
    return _encode(found).decode() if found else ""


ROUTES: Final = (
    Route(
        "GET",
        "/export/calls",
        "calls.read",
        export_calls,
        errors=(404, 409),
        tenants=True,
        act="calls.export",
    ),
    Route(
        "GET",
        "/export/focus",
        "usage.read",
        export_focus,
        errors=(404, 409),
        tenants=True,
        act="usage.export",
    ),
    Route(
        "GET", "/export/content", "content.read", export_content, errors=(404, 409), tenants=True
    ),
)
