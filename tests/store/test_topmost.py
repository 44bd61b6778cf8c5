"""Sums over more groups than memory should hold: the database finds those that count."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ferryman.control.ingest import Ingester
from ferryman.store import ledger, topmost
from ferryman.store.journal import JournalWriter
from ferryman.store.schema import calls as stored
from ferryman.store.spending import daily
from ferryman.telemetry.record import Closed, Labels
from tests.store import samples

MANY = 30_000
FEW = 1_000
"""Sums that may be held at once in these tests."""


@pytest.fixture
def taken(engine: sa.Engine, tmp_path: Path) -> Iterator[Any]:
    """Puts calls into the ledger the way they get there."""
    writer = JournalWriter(tmp_path / "journal" / "plane")
    ingester = Ingester(engine, tmp_path / "journal")

    def take(calls: Iterable[Closed]) -> None:
        samples.put(writer, list(calls))
        ingester.drain()

    yield take
    ingester.close()
    writer.close()


BY = [
    ("key",), ("day", "key", "model"), ("tag",), ("week", "tag", "metadata.task"),
    ("status", "run"), ("error",), ("metadata.x-y.z", "month"), ("provider", "hour"),
]  # fmt: skip


def test_the_database_finds_the_same_top_groups(
    engine: sa.Engine, taken: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken(samples.calls(300))
    for by in BY:
        asked: dict[str, Any] = {"by": by, "top": 1, "zone": "Europe/Berlin"}
        there = ledger.usage(engine, **asked)
        with monkeypatch.context() as patched:
            patched.setattr(topmost, "read", small(topmost.read))
            assert ledger.usage(engine, **asked) == there, by
        assert any(row.other for row in there)


def small(read: Any) -> Any:
    """``read`` that finds the first attempt, which is for all groups, too much."""
    first = iter([False])

    def reading(*given: Any) -> bool:
        return bool(next(first, None) is not False and read(*given))

    return reading


def grown(engine: sa.Engine) -> None:
    """The one call that there is, once for each of many end users, the last ones the dearest."""
    numbers = sa.select(sa.literal(1, sa.BigInteger).label("value")).cte("numbers", recursive=True)
    more = sa.select(numbers.c.value + 1).where(numbers.c.value < MANY)
    number = numbers.union_all(more).c.value
    word = sa.cast(number, sa.Text)
    said: dict[str, Any] = {
        "request_id": sa.literal("many-").op("||")(word), "cost_pico": number,
        "end_user": sa.literal("user-").op("||")(word),
        "metadata": sa.literal('{"item": "').op("||")(word).op("||")(sa.literal('"}')),
        "at_us": stored.c.at_us + number % 2 * samples.DAY,
    }  # fmt: skip
    columns = [said.get(each.name, each) for each in stored.c]
    with engine.begin() as connection:
        every = sa.select(*columns).select_from(stored.join(number.table, sa.true()))
        connection.execute(stored.insert().from_select(list(stored.c), every))


def test_very_many_groups_are_summed_in_bounded_memory(
    engine: sa.Engine, taken: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []
    add = topmost.add

    def counted(*given: Any) -> int:
        held.append(add(*given))
        return held[-1]

    monkeypatch.setattr(topmost, "add", counted)
    monkeypatch.setattr(topmost, "MOST", FEW)
    taken([samples.call("req_1", cost=7, labels=Labels(end_user="first"))])
    grown(engine)
    with pytest.raises(ValueError, match="more than 1,000 sums"):
        ledger.usage(engine, by=("end_user", "day"), top=FEW + 1)
    whole = MANY * (MANY + 1) // 2 + 7
    for by in ("end_user", "metadata.item"):
        rows = ledger.usage(engine, by=(by,), top=3)
        prefix = "user-" if by == "end_user" else ""
        names = {row.groups[0]: row.cost for row in rows if not row.other}
        assert names == {f"{prefix}{MANY - n}": MANY - n for n in (2, 1, 0)}
        assert [row.calls for row in rows if row.other] == [MANY + 1 - 3]
        assert sum(row.cost for row in rows) == whole
    assert FEW < max(held) <= FEW + 1, "of all that was read into memory at once"
    _is_read_as_it_is_taken(engine, whole)


def _is_read_as_it_is_taken(engine: sa.Engine, whole: int) -> None:
    cursors = set()
    sa.event.listen(
        engine, "after_cursor_execute", lambda _c, cursor, *_: cursors.add(type(cursor).__name__)
    )
    first = samples.START // samples.DAY
    count = cost = 0
    last: tuple[Any, ...] = ()
    for row in daily(engine, "end_user", first - 3, first + 9, {}):
        count, cost = count + row.calls, cost + row.cost
        place = (row.day, row.group is None)
        assert place >= last
        last = place
    assert (count, cost) == (MANY + 1, whole)
    assert engine.dialect.name == "sqlite" or "ServerCursor" in cursors


def test_days_are_those_of_other_sums(engine: sa.Engine, taken: Any) -> None:
    taken(samples.calls(300))
    first = samples.START // samples.DAY - 1
    for by in ("model", "team", "tag", "metadata.task"):
        rows = ledger.usage(engine, by=("day", by))
        found = [(row.group, row.calls, row.errors, row.cost) for row in
                 daily(engine, by, first, first + 6, {})]  # fmt: skip
        expected = [(row.groups[1] or None, row.calls, row.errors, row.cost) for row in rows]
        assert found == expected, by
    with pytest.raises(ValueError, match="Cannot group by"):
        daily(engine, "colour", first, first + 1, {})
