"""Sums over minutes, hours and days: always those of the calls themselves, wherever one cuts."""

import datetime
import random
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command, config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ferryman.control.ingest import Ingester
from ferryman.store import budgets, db, intake, latency, ledger, rollup, spans
from ferryman.store.journal import JournalWriter
from ferryman.store.schema import SPANS, STEPS, call_groups, charges, latencies, metadata, rollups
from ferryman.telemetry.record import OPENED, Charge, Closed
from tests.store import samples
from tests.store.samples import DAY, START
from tests.store.test_ledger import Ingest, ingest, summed

__all__ = ["ingest"]

MINUTE, HOUR = 60_000_000, 3_600_000_000
MIDNIGHT = START - START % DAY
EDGES = [
    MIDNIGHT + offset + near
    for offset in (0, DAY, 2 * DAY, DAY + HOUR, DAY + HOUR + MINUTE, 3 * MINUTE, DAY - MINUTE)
    for near in (-1, 0, 1)
]
"""Times at which one span ends and another begins."""
TIMES = st.one_of(st.sampled_from(EDGES), st.integers(MIDNIGHT - DAY, MIDNIGHT + 5 * DAY))


def calls(count: int = 400, seed: int = 3) -> list[Closed]:
    """Random calls, some on the edges of spans, some that budgets bear."""
    draw = random.Random(seed)
    made = samples.calls(count, seed)
    for number, each in enumerate(made):
        at = draw.choice(EDGES) if number % 4 == 0 else each.at_us
        counters = draw.sample(["team|a", "team|b", "all"], draw.randrange(3))
        charge = Charge(tuple(counters), draw.randrange(10**13), draw.randrange(10**5))
        times = {"first_token_us": draw.choice([-1, draw.randrange(10**7)]),
                 "duration_us": draw.randrange(10**8)}  # fmt: skip
        made[number] = replace(each, at_us=at, charge=charge if counters else None, **times)
    return made


def test_sums_are_those_of_the_calls_wherever_one_cuts(engine: sa.Engine, ingest: Ingest) -> None:
    made = calls()
    ingest(made)

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        since=st.one_of(st.none(), TIMES),
        until=st.one_of(st.none(), TIMES),
        by=st.lists(st.sampled_from([*sorted(ledger.ROLLED), "task"]), unique=True).map(tuple),
        zone=st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu"]),
        key=st.one_of(st.none(), st.sampled_from([each.key for each in made])),
    )
    def holds(
        since: int | None, until: int | None, by: tuple[str, ...], zone: str, key: str | None
    ) -> None:
        chosen = [
            each
            for each in made
            if (since is None or each.at_us >= since)
            and (until is None or each.at_us < until)
            and (key is None or each.key == key)
        ]
        where = {} if key is None else {"key": key}
        found = ledger.usage(engine, by=by, since_us=since, until_us=until, where=where, zone=zone)
        assert {row.groups: row for row in found} == summed(chosen, by, zone)
        assert ledger.kept(engine, since, until) == (since, until)

    holds()


def test_periods_that_begin_with_hours_are_read_from_hours(
    engine: sa.Engine, ingest: Ingest
) -> None:
    ingest(calls(60))
    with db.writing(engine) as connection:
        connection.execute(sa.text("UPDATE calls_by_hour SET calls = calls + 1000"))
    for by, zone, read in (
        ("hour", "UTC", True), ("day", "Europe/Berlin", True), ("month", "Asia/Tokyo", True),
        ("hour", "Asia/Kathmandu", False), ("day", "UTC", False),
    ):  # fmt: skip
        rows = ledger.usage(engine, by=(by,), since_us=MIDNIGHT, until_us=None, zone=zone)
        assert (sum(row.calls for row in rows) > 1000) is read, (by, zone)


def test_what_budgets_bear_is_that_of_the_calls(engine: sa.Engine, ingest: Ingest) -> None:
    made = calls()
    ingest(made)

    @settings(max_examples=40, deadline=None)
    @given(
        since=TIMES.map(lambda at: at // 1_000_000),
        until=TIMES,
        step=st.sampled_from([1, 60, 900, 3600, 86_400]),
    )
    def holds(since: int, until: int, step: int) -> None:
        sums: dict[tuple[tuple[str, ...], int], list[int]] = defaultdict(lambda: [0, 0])
        for each in made:
            if each.charge is not None and since * 1_000_000 <= each.at_us < until:
                known = sums[each.charge.budgets, each.at_us // 1_000_000 // step * step]
                known[0] += each.charge.picodollars
                known[1] += each.charge.tokens
        found = budgets.spent(engine, since, until, step)
        assert len(found) == len(sums)
        assert {(f.budgets, f.at): [f.picodollars, f.tokens] for f in found} == sums

    holds()


@given(st.integers(4, 2**63 - 1))
def test_buckets_are_narrow_and_without_gaps(microseconds: int) -> None:
    number = rollup.bucket(microseconds)
    low, high = rollup.bounds(number)
    assert low <= microseconds < high
    assert (high - low) * 4 <= low
    assert rollup.bounds(number + 1)[0] == high


def test_percentiles_are_within_a_bucket_of_the_calls(engine: sa.Engine, ingest: Ingest) -> None:
    made = calls(600)
    ingest(made)
    since, until = MIDNIGHT + 3 * HOUR + 7, MIDNIGHT + 3 * DAY + 11
    well = [
        each
        for each in made
        if since <= each.at_us < until and each.status < 400 and each.cache not in rollup.REPEATED
    ]
    rows = latency.latencies(engine, by=("model", "stream"), since_us=since, until_us=until)
    assert [row.group for row in rows] == [
        {"model": model, "stream": stream}
        for model, stream in sorted({(each.model, each.stream) for each in well})
    ]
    for row in rows:
        mine = [e for e in well if {"model": e.model, "stream": e.stream} == row.group]
        assert row.calls == len(mine)
        firsts = [each.first_token_us for each in mine if each.first_token_us >= 0]
        _near(row.duration, [each.duration_us for each in mine])
        _near(row.first_token, firsts)
    [one] = latency.latencies(
        engine, since_us=since, until_us=until, equal={"model": "fast", "provider": "groq"}
    )
    assert one.calls == sum(e.model == "fast" and e.provider == "groq" for e in well)
    with pytest.raises(ValueError, match="'key'"):
        latency.latencies(engine, by=("key",), since_us=since, until_us=until)


def _near(found: tuple[float, ...], times: list[int]) -> None:
    times.sort()
    for share, value in zip(latency.QUANTILES, found, strict=True):
        right = times[-(-len(times) * round(share * 100) // 100) - 1]
        assert rollup.bucket(int(value)) == rollup.bucket(right)


def test_what_comes_twice_is_added_once(engine: sa.Engine, tmp_path: Path) -> None:
    made = calls(60)
    writer = JournalWriter(tmp_path / "journal" / "plane")
    samples.put(writer, made)
    odd = replace(made[0], id="odd", duration_us=2**63, cost=2**63)
    samples.put(writer, [odd, made[3]])
    ingester = Ingester(engine, tmp_path / "journal")
    assert ingester.drain() == 61
    ingester.close()
    with db.writing(engine) as connection:  # as when an older backup was restored
        connection.exec_driver_sql("DELETE FROM journal_positions")
    samples.put(writer, calls(5, seed=9))
    ingester = Ingester(engine, tmp_path / "journal")
    assert ingester.drain() == 5
    ingester.close()
    writer.close()
    everything = [*made, replace(odd, cost=2**63 - 1), *calls(5, seed=9)]
    found = ledger.usage(engine, by=("model",))
    assert {row.groups: row for row in found} == summed(everything, ("model",))
    assert intake.counts(engine)["calls_duplicate"] == 1 + 62


def test_lost_calls_are_summed_at_their_hold(engine: sa.Engine, tmp_path: Path) -> None:
    made = calls(20)
    charge = Charge(("all",), 70, 7)
    writer = JournalWriter(tmp_path / "journal" / "plane")
    for each in made:
        writer.append(OPENED, samples._pack(replace(samples.opened(each, 70), charge=charge)))
    writer.close()
    JournalWriter(tmp_path / "journal" / "plane").close()
    ingester = Ingester(engine, tmp_path / "journal")
    assert ingester.drain() == 20
    ingester.close()
    [row] = ledger.usage(engine)
    assert (row.calls, row.lost, row.errors, row.cost) == (20, 20, 0, 1400)
    spent = budgets.spent(engine, 0, MIDNIGHT + 9 * DAY, 900)
    assert (sum(s.picodollars for s in spent), sum(s.tokens for s in spent)) == (1400, 140)


def said(engine: sa.Engine, table: sa.Table) -> dict[tuple[Any, ...], list[int]]:
    """What a table of sums says, whatever the ids of its groups."""
    groups = [column for column in call_groups.c if column.name != "id"]
    values = [c for c in table.c if isinstance(c.type, sa.BigInteger) and not c.primary_key]
    names = [c for c in table.c if c not in values and c.name != "group_id"]
    query = sa.select(*names, *values)
    if "budgets" not in table.c:
        query = sa.select(*names, *groups, *values).join(
            call_groups, table.c.group_id == call_groups.c.id
        )
    sums: dict[tuple[Any, ...], list[int]] = {}
    with db.reading(engine) as connection:
        for row in connection.execute(query):
            key, numbers = tuple(row[: -len(values)]), list(row[-len(values) :])
            known = sums.get(key, [0] * len(values))
            sums[key] = [a + b for a, b in zip(known, numbers, strict=True)]
    return sums


@pytest.fixture
def older(engine: sa.Engine, tmp_path: Path) -> Iterator[sa.Engine]:
    """A database of the version before, beside ``engine``."""
    if engine.dialect.name == "sqlite":
        other = db.open_engine(f"sqlite:///{tmp_path / 'older.db'}")
    else:
        with engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.exec_driver_sql(f"CREATE DATABASE {engine.url.database}_older")
        other = sa.create_engine(engine.url.set(database=f"{engine.url.database}_older"))
    upgrade(other, "0008")
    yield other
    other.dispose()


def upgrade(engine: sa.Engine, revision: str) -> None:
    options = config.Config()
    options.set_main_option("script_location", str(db._MIGRATIONS))
    with db.writing(engine) as connection:
        options.attributes["connection"] = connection
        command.upgrade(options, revision)


def test_an_older_ledger_gets_the_sums_of_its_calls(
    engine: sa.Engine, ingest: Ingest, older: sa.Engine
) -> None:
    today = int(time.time() * 1_000_000)
    recent = [replace(each, id=f"r{each.id}", at_us=today - n * 977_000_000)
              for n, each in enumerate(calls(80, seed=5))]  # fmt: skip
    far_off = [samples.call("past", at_us=5), samples.call("future", at_us=4_500_000_000_000_000)]
    everything = [*calls(120), *recent, *far_off]
    ingest(everything)
    before = sa.MetaData()
    before.reflect(older, only=["calls"])
    names = [column.name for column in before.tables["calls"].c]
    with db.reading(engine) as connection:
        rows = connection.execute(sa.select(*(metadata.tables["calls"].c[n] for n in names))).all()
    with db.writing(older) as connection:
        connection.execute(before.tables["calls"].insert(), [dict(row._mapping) for row in rows])
    db.migrate(older)
    with db.reading(older) as connection:
        since = spans.floors(connection)["minute"] // 1_000_000
    assert today // 1_000_000 - since > 8 * 86_400
    for tables, steps in ((rollups, SPANS), (latencies, SPANS), (charges, STEPS)):
        for step in steps:
            right = said(engine, tables[step])
            if step == "minute":
                right = {key: sums for key, sums in right.items() if key[0] >= since}
            assert right
            assert said(older, tables[step]) == right, tables[step].name
    week = today - 8 * DAY - 12_345
    for begin, end in ((None, None), (week, None), (MIDNIGHT + 5, MIDNIGHT + DAY + 7)):
        found = ledger.usage(older, by=("day", "model"), since_us=begin, until_us=end)
        right = ledger.usage(engine, by=("day", "model"), since_us=begin, until_us=end)
        # The older ledger had no estimates yet.
        assert found == [replace(row, estimated=ledger.Estimated()) for row in right]
    if engine.dialect.name == "postgresql":
        months = {
            f"calls_{datetime.datetime.fromtimestamp(c.at_us / 1e6, datetime.UTC):%Y_%m}"
            for c in everything[:-2]
        }
        with db.reading(older) as connection:
            query = "SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'"
            made = set(connection.exec_driver_sql(query).scalars())
        assert made == months | {"calls_default", "calls_1970_01"}
