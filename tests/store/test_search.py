"""Calls that are looked for, and sums that are read, for a bounded time."""

import datetime
import zoneinfo
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ferryman.control.ingest import Ingester
from ferryman.store import (
    condensed,
    db,
    feedback,
    intake,
    latency,
    ledger,
    retention,
    search,
    sizes,
    spending,
    zoned,
)
from ferryman.store.journal import JournalWriter
from ferryman.telemetry.record import Labels
from tests.store import samples

DAY = 86_400
FIRST = samples.START // 1_000_000 // DAY


@pytest.fixture
def filled(engine: sa.Engine, tmp_path: Path) -> Iterator[sa.Engine]:
    writer = JournalWriter(tmp_path / "journal" / "plane")
    ingester = Ingester(engine, tmp_path / "journal")
    crowd = [samples.call(f"req_same_{n}", at_us=samples.START + 5) for n in range(9)]
    samples.put(writer, [*samples.calls(120), *crowd])
    ingester.drain()
    yield engine
    ingester.close()
    writer.close()


@pytest.mark.parametrize("where", [{}, {"key": "key_AAAAAAAAAAAA"}, {"team": "red"}])
def test_a_search_without_time_comes_through_step_by_step(
    filled: sa.Engine, monkeypatch: pytest.MonkeyPatch, where: dict[str, str]
) -> None:
    monkeypatch.setattr(search, "FIRST_STEP", 4)
    monkeypatch.setattr(search, "MOST", 4)
    for chosen in ({"failed": True}, {"text": "SMART"}, {"since_us": samples.START + 10**10}, {}):
        asked = {"where": where, **chosen}
        every = ledger.calls(filled, limit=500, **asked)  # type: ignore[arg-type]
        assert every
        for seconds in (0.0, 60.0):
            seen, after, rounds = [], None, 0
            while True:
                found = search.search(filled, limit=7, seconds=seconds, before=after, **asked)  # type: ignore[arg-type]
                assert len(found.rows) <= 7 and (found.whole or not seconds)
                seen += found.rows
                rounds, after = rounds + 1, found.after
                if after is None:
                    break
            assert [row.request_id for row in seen] == [row.request_id for row in every]
            assert seconds or rounds > 5


def test_sums_of_days_and_of_single_calls_say_the_same(filled: sa.Engine) -> None:
    for by in ("", "model", "key"):
        for where in ({}, {"provider": "groq"}):
            found = spending.spending(filled, by, FIRST, FIRST + 4, where, 60)
            # Of the same calls, read one by one: by a dimension that sums over days don't have.
            parts = [
                spending.spending(filled, by, FIRST, FIRST + 4, {**where, "team": team}, 60).rows
                for team in ("red", "blue", "-", "")
            ]
            assert sorted(map(_key, found.rows)) == sorted({_key(r) for p in parts for r in p})
            assert _sums(found.rows) == _sums([row for part in parts for row in part])
            [total] = ledger.usage(filled, where=where, since_us=FIRST * DAY * 10**6)
            said = [total.calls, total.errors, total.unknown_cost, total.repeated]
            weekly = spending.spending(filled, by, FIRST, FIRST + 4, where, 60, 7).rows
            assert _sums(weekly) == _sums(found.rows) and {row.day % 7 for row in weekly} == {0}
            assert _sums(found.rows) == [*said, _sums(found.rows)[4], total.cost, total.saved]


ASKED: tuple[tuple[str, ...], ...] = (
    *((name, *period) for name in condensed.DIMENSIONS if name for period in ((), ("day",))),
    (), ("month",), ("week",), ("month", "model"), ("team", "day"), condensed.OWNERS,
)  # fmt: skip
MIXED = (("key", "model"), ("provider", "service", "policy"))
WHERES = (
    {}, {"key": "key_AAAAAAAAAAAA"}, {"policy": "-"}, {"policy": "dear"},
    {"organisation": "-", "team": "red"},
)  # fmt: skip
DAYS_US = (FIRST - 20) * DAY * 10**6, (FIRST + 20) * DAY * 10**6


def spent(engine: sa.Engine) -> list[list[spending.Spent]]:
    each = [list(spending.daily(engine, by, FIRST, FIRST + 5, {})) for by in ("policy", "team")]
    for rows in each:
        assert rows == sorted(rows, key=lambda row: (row.day, row.group is None, row.group))
    each += [
        sorted(spending.spending(engine, by, FIRST, FIRST + 5, where, 60, days).rows, key=_key)
        for by, where in (
            *((name, {}) for name in condensed.DIMENSIONS),
            ("policy", {"policy": "dear"}),
            ("", {"policy": "dear"}),
            ("team", {}),
            ("organisation", {"team": "red"}),
            ("", {"organisation": "-", "team": "red"}),
        )
        for days in (1, 7)
    ]
    return each


def used(engine: sa.Engine) -> list[list[ledger.UsageRow]]:
    """Sums that condensed days tell, and those that weeks do."""
    return [
        ledger.usage(engine, by=by, where=where, since_us=DAYS_US[0], until_us=DAYS_US[1])
        for by in (*ASKED, *MIXED)
        for where in WHERES
        if condensed.dimension((*by, *where)) is not None or (by in MIXED and "team" not in where)
    ]


def times(engine: sa.Engine) -> list[latency.Latency]:
    begin, end = DAYS_US
    return latency.latencies(engine, by=("model",), since_us=begin, until_us=end)


def test_condensed_days_say_the_same_until_a_late_call_comes(
    filled: sa.Engine, tmp_path: Path
) -> None:
    def said() -> list[Any]:
        return [*spent(filled), *used(filled), times(filled)]

    before, over = said(), (FIRST + 4) * DAY
    assert len(used(filled)) > 15 and ledger.total(used(filled)[0]).estimated.calls > 5
    days = condensed.missing(filled, over + condensed.SETTLED)
    assert days and days == condensed.missing(filled, 10**10) and max(days) < FIRST + 4
    assert max(days) not in condensed.missing(filled, max(days) * DAY + DAY)
    for day in days[:-1]:  # the last one is read as before
        condensed.condense(filled, day)
        condensed.condense(filled, day)
    assert condensed.missing(filled, 10**10) == days[-1:]
    weeks = condensed.missing_weeks(filled, over + 7 * DAY)
    assert weeks == sorted({day // 7 for day in days})
    assert condensed.missing_weeks(filled, max(weeks) * 7 * DAY + condensed.SETTLED) == weeks[:-1]
    for week in (*weeks, *weeks):
        condensed.condense_week(filled, week)
    assert condensed.missing_weeks(filled, 10**10) == []
    assert said() == before
    where = {"organisation": "acme"}
    short = spending.spending(filled, "team", FIRST, FIRST + 5, where, 0)
    read = ledger.usage(filled, where=where, since_us=short.since_us)
    assert short.since_us > days[-1] * DAY * 10**6, "of the last day as much as there was time for"
    assert _sums(short.rows)[0] == read[0].calls
    for more in (1000, -1000):
        with db.writing(filled) as connection:
            for name in ("calls_by_dimension", "calls_by_week", "latencies_by_week"):
                more_calls = sa.text(f"UPDATE {name} SET calls = calls + :more")
                connection.execute(more_calls, {"more": more})
        pairs = zip(said(), before, strict=True)
        assert {one == other for one, other in pairs} == {more < 0}, "they are what is read"

    writer = JournalWriter(tmp_path / "late" / "plane")
    ingester = Ingester(filled, tmp_path / "late")
    late_one = samples.call(
        "req_late", at_us=days[0] * DAY * 10**6, policy="dear", labels=Labels(team="red")
    )
    samples.put(writer, [late_one])
    assert ingester.drain() == 1
    ingester.close()
    writer.close()
    late = said()
    assert [_sums(rows)[0] for rows in spent(filled)] == [
        _sums(rows)[0] + 1 for rows in before[: len(spent(filled))]
    ]
    assert sum(row.calls for row in times(filled)) == sum(row.calls for row in before[-1]) + 1
    again = condensed.missing(filled, 10**10)
    assert again == [days[0], *days[-1:]], "a late call takes its day's away"
    assert condensed.missing_weeks(filled, 10**10) == [days[0] // 7], "and its week's"
    for day in again:
        condensed.condense(filled, day)
    condensed.condense_week(filled, days[0] // 7)
    assert said() == late


def test_days_that_an_older_version_condensed_get_what_is_new(filled: sa.Engine) -> None:
    days, first = condensed.missing(filled, 10**10), ledger.calls(filled, limit=500)[-1]
    words = [(name, False, first.key, "", 5, 100, "[]", "") for name in (first.request_id, "never")]
    intake.take_in(filled, intake.Batch(feedback=words))

    def said() -> list[Any]:
        return [*spent(filled), times(filled), ledger.usage(filled, by=("key", "model"))]

    before, late = said(), condensed.missing_weeks(filled, 10**10)
    assert ledger.total(before[-1]).scored == 1 and first.at_us // DAY // 10**6 == days[0]
    for condense in condensed.steps(filled, 10**10):
        condense()
    old = f"UPDATE calls_by_dimension SET calls = calls + 1000 WHERE at > {days[0] * DAY}"
    with db.writing(filled) as connection:
        for statement in (
            "DROP TABLE calls_by_week",
            "DROP INDEX feedback_call_at",
            "ALTER TABLE feedback DROP COLUMN call_at_us",
            "ALTER TABLE calls_by_dimension DROP COLUMN scored",
            "ALTER TABLE calls_by_dimension DROP COLUMN score",
            "DELETE FROM calls_by_dimension WHERE dimension IN ('owner', 'owned', 'unpriced')",
            old,
            "UPDATE latencies_by_week SET calls = calls + 1000",
            "UPDATE alembic_version SET version_num = '0028'",
        ):
            connection.execute(sa.text(statement))
    db.migrate(filled)
    assert said() != before and condensed.missing(filled, 10**10) == days
    assert condensed.missing_weeks(filled, 10**10) == late and times(filled) == before[-2]
    for condense in condensed.steps(filled, 10**10):
        condense()
    assert condensed.steps(filled, 10**10) == []
    with db.writing(filled) as connection:
        there = "dimension NOT IN ('owner', 'owned', 'unpriced')"
        connection.execute(sa.text(f"{old.replace('+', '-')} AND {there}"))
    assert said() == before, "of days without scores, what was there was not made anew"


def test_condensed_days_tell_of_owners_and_estimates_as_long_as_calls_do(filled: sa.Engine) -> None:
    def said() -> list[ledger.UsageRow]:
        found = [ledger.usage(filled, by=by) for by in (("key",), ("day",), ("key", "model"))]
        one, *others = map(ledger.total, found)
        assert others == [one, one]
        asked = ("team",), ("organisation",), ("team", "user")  # the last of single calls
        owned = [ledger.total(ledger.usage(filled, by=by)) for by in asked]
        assert owned == [owned[-1]] * 3
        return found[0]

    before = said()
    days = condensed.missing(filled, 10**10)
    for day in days:
        condensed.condense(filled, day)
        assert said() == before
    now = days[3] * DAY
    retention.raise_floors(filled, retention.Retention(calls=DAY), now)
    if filled.dialect.name == "postgresql":  # where whole months go
        retention.raise_floors(filled, retention.Retention(calls=DAY), now + 40 * DAY)
    assert said()
    while retention.sweep(filled):
        pass
    kept = 0 if filled.dialect.name == "postgresql" else 1
    assert kept <= ledger.total(said()).estimated.calls < ledger.total(before).estimated.calls


def test_condensed_days_tell_of_scores(filled: sa.Engine, tmp_path: Path) -> None:
    key = "key_AAAAAAAAAAAA"

    def word(call: str, key: str, score: int | None, at_us: int = 5) -> intake.Batch:
        said = (call, False, key, "red", at_us, score, "[]", "")
        return intake.Batch(feedback=[said, (call, True, key, "", at_us, 9, "[]", "")])

    def said() -> tuple[int, int]:
        """Of condensed days, and of all calls."""
        asked = ("key",), ("team",), ("day",), (), ("key", "model"), ("user",)
        rows = [ledger.total(ledger.usage(filled, by=by)) for by in asked]
        [found] = {(row.scored, row.score) for row in rows}
        return found

    every = ledger.calls(filled, limit=500)
    for number, call in enumerate(every[::3]):
        score = None if number % 9 == 0 else number - 20
        intake.take_in(filled, word(call.request_id, call.key, score))
    intake.take_in(filled, word("req_later", key, 700))
    intake.take_in(filled, word(every[0].request_id, "key_other", 1000))
    before, days = said(), condensed.missing(filled, 10**10)
    assert before[0] > 30
    for day in days:
        condensed.condense(filled, day)
        assert said() == before
    with db.writing(filled) as connection:
        connection.execute(sa.text("UPDATE calls_by_dimension SET score = score + 1"))
    with pytest.raises(ValueError, match="too many"):
        said()
    with db.writing(filled) as connection:
        connection.execute(sa.text("UPDATE calls_by_dimension SET score = score - 1"))

    scored, score = before
    late = next(call for number, call in enumerate(every) if number % 3)
    for week in condensed.missing_weeks(filled, 10**10):
        condensed.condense_week(filled, week)
    intake.take_in(filled, word(late.request_id, late.key, 50))
    assert said() == (scored + 1, score + 50)
    assert condensed.missing(filled, 10**10) == [late.at_us // DAY // 10**6]
    assert condensed.missing_weeks(filled, 10**10) == [], "they have none of it"
    condensed.condense(filled, late.at_us // DAY // 10**6)
    for at_us, more in ((4, 50), (6, 80)):  # an older word, and one that replaces it
        intake.take_in(filled, word(late.request_id, late.key, more, at_us))
        assert said() == (scored + 1, score + more)
    writer, ingester = (
        JournalWriter(tmp_path / "late" / "plane"),
        Ingester(filled, tmp_path / "late"),
    )
    samples.put(writer, [samples.call("req_later", key=key)])
    assert ingester.drain() == 1
    ingester.close()
    writer.close()
    assert said() == (scored + 2, score + 780), "the word was there before its call"


def test_scores_are_looked_up_by_what_was_said(tmp_path: Path) -> None:
    """Not by all calls of the time: SQLite went through them for sums by periods."""
    engine = db.open_engine(f"sqlite:///{tmp_path / 'ferryman.db'}")
    db.migrate(engine)
    with db.writing(engine) as connection:
        feedback.add(connection, [("req_1", False, "key_1", "", 5, 1000, "[]", "")])
    asked: list[tuple[str, Any]] = []
    sa.event.listen(engine, "before_cursor_execute", lambda *of: asked.append((of[2], of[3])))
    for by in (("month",), ("model",), ()):
        ledger.usage(engine, by=by, since_us=5, until_us=9)
    about = [each for each in asked if "sum(feedback.score)" in each[0]]
    assert len(about) == 3
    with engine.connect() as connection:
        for statement, values in about:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
            [step] = [row[3] for row in plan if "SEARCH calls " in row[3] or "SCAN calls" in row[3]]
            assert "request_id=?" in step
    engine.dispose()


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kathmandu", "UTC"])
def test_sums_of_days_of_a_zone_are_those_of_its_calls(filled: sa.Engine, zone: str) -> None:
    place, epoch = zoneinfo.ZoneInfo(zone), datetime.date(1970, 1, 1)
    for by, where in (("model", {}), ("team", {}), ("", {"team": "red"})):
        chosen = ledger.calls(filled, limit=500, where=where)
        wanted: Counter[tuple[int, str | None]] = Counter()
        for call in chosen:
            day = (datetime.datetime.fromtimestamp(call.at_us / 1e6, place).date() - epoch).days
            wanted[day, getattr(call, by) if by else None] += 1
        asked = (filled, by, FIRST - 1, FIRST + 5, where)
        found = zoned.spending(*asked, 60, 1, zone)
        assert {(row.day, row.group): row.calls for row in found.rows} == wanted
        assert found.since_us == zoned.began_at(FIRST - 1, zone)
        assert sum(row.cost for row in found.rows) == sum(call.cost or 0 for call in chosen)
        assert sorted(found.rows, key=_key) == sorted(zoned.daily(*asked, zone), key=_key)
        weekly = zoned.spending(*asked, 60, 7, zone)
        assert _sums(weekly.rows) == _sums(found.rows)
        assert {row.day % 7 for row in weekly.rows} == {0}
    short = zoned.spending(filled, "team", FIRST - 1, FIRST + 5, {}, 0, 1, zone)
    assert short.since_us == zoned.began_at(FIRST + 4, zone), "the newest day, then the time was up"
    whole = zoned.spending(filled, "model", FIRST, FIRST + 4, {}, 60, 1, "UTC")
    there = spending.spending(filled, "model", FIRST, FIRST + 4, {}, 60)
    assert sorted(whole.rows, key=_key) == sorted(there.rows, key=_key)


def test_sums_without_time_say_how_far_they_came(filled: sa.Engine) -> None:
    short = spending.spending(filled, "tag", FIRST, FIRST + 4, {}, 0)
    whole = spending.spending(filled, "tag", FIRST, FIRST + 4, {}, 60)
    assert short.since_us > whole.since_us == FIRST * DAY * 10**6
    assert {row.group for row in whole.rows} == {None, "batch", "web", "ünï"}
    rows = ledger.usage(filled, by=("tag",), since_us=short.since_us)
    assert sum(row.calls for row in short.rows) == sum(row.calls for row in rows)
    for _ in range(200):
        again = spending.spending(filled, "tag", FIRST, FIRST + 4, {}, 0)
        if again.since_us == whole.since_us:
            break
    assert sorted(again.rows, key=_key) == sorted(whole.rows, key=_key), "each time further back"
    known = sizes.size(filled)
    assert known.ever == sum(row.calls for row in ledger.usage(filled)) == 129
    assert known.size > 10_000 and known.first_us and known.last_us
    assert samples.START <= known.first_us < known.last_us
    with pytest.raises(ValueError, match="Cannot group by"):
        spending.spending(filled, "colour", FIRST, FIRST + 1, {}, 1)


def _key(row: spending.Spent) -> tuple[int, str]:
    return row.day, row.group or ""


def _sums(rows: list[spending.Spent]) -> list[int]:
    names = ("calls", "errors", "unknown_cost", "repeated", "tokens", "cost", "saved")
    return [sum(getattr(row, name) for row in rows) for name in names]
