"""What is old goes, in small steps; what it added up to stays, and months have their own tables."""

import datetime
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from ferryman.config.model import Retention
from ferryman.control.ingest import Ingester
from ferryman.control.keeping import Keeper
from ferryman.store import budgets, condensed, db, ledger, retention
from ferryman.store.journal import JournalWriter
from ferryman.store.schema import calls as calls_table
from ferryman.store.schema import charges, latencies, rollups
from ferryman.telemetry.record import Charge, Closed
from tests.store import samples
from tests.store.samples import DAY
from tests.store.test_ledger import Ingest, ingest, summed

__all__ = ["ingest"]

NOW = int(time.time())
TODAY = NOW // 86_400 * 86_400 * 1_000_000
KEPT = Retention(calls=10 * 86_400, minutes=3 * 86_400, hours=40 * 86_400)


def over_days(count: int, days: int) -> list[Closed]:
    """Calls spread evenly over the last ``days``, at odd times."""
    step = days * DAY // count
    return [
        replace(each, at_us=NOW * 1_000_000 - n * step - 7, charge=Charge(("all",), 3, 2))
        for n, each in enumerate(samples.calls(count))
    ]


def swept(engine: sa.Engine, kept: Retention = KEPT, rows: int = 50) -> int:
    """Let everything go that is old enough; returns in how many steps."""
    retention.make_ahead(engine, NOW)
    retention.raise_floors(engine, kept, NOW)
    steps = 0
    while retention.sweep(engine, rows):
        steps += 1
    return steps


def rows_of(engine: sa.Engine, table: sa.Table) -> int:
    with db.reading(engine) as connection:
        return int(connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0)


def partitions(engine: sa.Engine) -> dict[str, int]:
    """Table of a part of ``calls`` → its rows."""
    with db.reading(engine) as connection:
        names = connection.exec_driver_sql(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'calls'::regclass"
        ).scalars()
        return {
            name: int(connection.exec_driver_sql(f"SELECT count(*) FROM {name}").scalar() or 0)
            for name in names.all()
        }


def test_sums_outlive_what_they_are_made_of(engine: sa.Engine, ingest: Ingest) -> None:
    made = over_days(600, 60)
    ingest(made)
    whole = ledger.usage(engine, by=("model",))
    assert {row.groups: row for row in whole} == summed(made, ("model",))
    assert swept(engine) > 1
    known = [replace(row, estimated=ledger.Estimated()) for row in whole]  # it goes with the calls
    left_of = ledger.usage(engine, by=("model",))
    assert [replace(row, estimated=ledger.Estimated()) for row in left_of] == known
    assert rows_of(engine, rollups["day"]) >= 60
    left = ledger.calls(engine, limit=1000)
    floor = TODAY - 10 * DAY
    if engine.dialect.name == "postgresql":
        day = datetime.datetime.fromtimestamp(floor / 1e6, datetime.UTC).replace(day=1)
        floor = int(day.timestamp()) * 1_000_000
    assert {row.request_id for row in left} == {each.id for each in made if each.at_us >= floor}
    for table, days in (
        (rollups["minute"], 3), (latencies["minute"], 3), (charges["minute"], 3),
        (rollups["hour"], 40), (latencies["hour"], 40), (charges["quarter"], 40),
    ):  # fmt: skip
        with db.reading(engine) as connection:
            first = connection.scalar(sa.select(sa.func.min(table.c.at)))
        assert TODAY // 10**6 - days * 86_400 <= first < TODAY // 10**6 - (days - 1) * 86_400
    assert swept(engine) == 0


@pytest.mark.parametrize(("ago", "unit"), [(1.3, 1), (20.3, 3_600_000_000), (50.3, DAY)])
def test_edges_move_outwards_to_what_is_kept(
    engine: sa.Engine, ingest: Ingest, ago: float, unit: int
) -> None:
    made = over_days(300, 60)
    ingest(made)
    # On PostgreSQL whole months of calls stay: let them go as if it were later.
    retention.raise_floors(engine, replace(KEPT, calls=3 * 86_400), NOW)
    if engine.dialect.name == "postgresql":
        with db.writing(engine) as connection:
            floor = TODAY // 1_000_000 - 10 * 86_400
            connection.exec_driver_sql(
                f"UPDATE meta SET value = {floor} WHERE name = 'calls_kept_since'"
            )
    while retention.sweep(engine):
        pass
    since = NOW * 1_000_000 - int(ago * DAY)
    until = since + int(0.2 * DAY) + 11
    first, last = since - since % unit, until + -until % unit
    assert ledger.kept(engine, since, until) == (first, last)
    within = [each for each in made if first <= each.at_us < last]
    found = ledger.usage(engine, by=("day", "key"), since_us=since, until_us=until)
    # What was estimated goes with the single calls.
    expected = summed([replace(each, estimate=None) for each in within], ("day", "key"))
    assert {row.groups: replace(row, estimated=ledger.Estimated()) for row in found} == expected
    month = NOW - NOW % 900 - 31 * 86_400
    spent = budgets.spent(engine, month, NOW * 1_000_000, 900)
    borne = sum(month * 1_000_000 <= each.at_us < NOW * 1_000_000 for each in made)
    assert sum(each.tokens for each in spent) == 2 * borne


def test_nothing_goes_that_nobody_said(engine: sa.Engine, ingest: Ingest) -> None:
    ingest(over_days(100, 900))
    swept(engine, Retention())
    assert rows_of(engine, calls_table) == 100
    kept: list[Retention | None] = [None]
    keeper = Keeper(engine, lambda: kept[0])
    keeper.step()
    keeper.step()
    assert rows_of(engine, calls_table) == 100
    kept[0] = KEPT
    for _ in range(20):
        keeper.step()
    assert rows_of(engine, calls_table) < 50


def test_a_failure_is_said_once_and_ingestion_goes_on(
    engine: sa.Engine, ingest: Ingest, capsys: pytest.CaptureFixture[str]
) -> None:
    ingest(over_days(10, 20))
    with db.writing(engine) as connection:
        connection.exec_driver_sql("ALTER TABLE latencies_by_minute RENAME TO away")
    keeper = Keeper(engine, lambda: KEPT)
    for _ in range(5):
        keeper.step()
        keeper._due = 0.0
    assert capsys.readouterr().err.count("can't tidy up the ledger") == 1


def test_a_day_that_can_not_be_condensed_keeps_no_other_from_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = db.open_engine(f"sqlite:///{tmp_path / 'ferryman.db'}")
    db.migrate(engine)
    writer = JournalWriter(tmp_path / "journal" / "plane")
    ingester = Ingester(engine, tmp_path / "journal")
    samples.put(writer, over_days(40, 20))
    assert ingester.drain() == 40
    days = condensed.missing(engine, NOW)
    with db.writing(engine) as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER damaged BEFORE INSERT ON calls_by_dimension "
            f"WHEN NEW.at = {days[-1] * 86_400} BEGIN SELECT RAISE(ABORT, 'damaged'); END"
        )
    keeper = Keeper(engine, lambda: KEPT)
    for _ in range(200):
        keeper.step()
        keeper._due = 0.0
    assert condensed.missing(engine, NOW) == days[-1:], "the newest one, which comes first"
    assert condensed.missing_weeks(engine, NOW) == []
    assert capsys.readouterr().err.count("can't tidy up the ledger (damaged)") == 1
    with db.writing(engine) as connection:
        connection.exec_driver_sql("DROP TRIGGER damaged")
    for _ in range(60):
        keeper.step()
        keeper._due = 0.0
    assert condensed.missing(engine, NOW) == []
    ingester.close()
    writer.close()
    engine.dispose()


def test_nothing_is_tidied_up_once_a_newer_version_has_changed_the_schema(
    engine: sa.Engine, ingest: Ingest, capsys: pytest.CaptureFixture[str]
) -> None:
    ingest(over_days(90, 90))
    retention.make_ahead(engine, NOW)
    retention.raise_floors(engine, KEPT, NOW)
    with db.writing(engine) as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = 'newer'"))
    days = condensed.missing(engine, NOW)
    keeper = Keeper(engine, lambda: KEPT)
    for _ in range(20):
        keeper.step()
        keeper._due = 0.0
    tidying = [*condensed.steps(engine, NOW), lambda: retention.sweep(engine)]
    if engine.dialect.name == "postgresql":
        tidying.append(lambda: retention.make_ahead(engine, NOW + 40 * 86_400))
    for step in tidying:
        with pytest.raises(db.MigrationError):
            step()
    assert condensed.missing(engine, NOW) == days and rows_of(engine, calls_table) == 90
    assert capsys.readouterr().err.count("the database has schema newer by now") == 1


@pytest.fixture
def server(postgres_url: str) -> Iterator[sa.Engine]:
    engine = db.open_engine(postgres_url)
    db.migrate(engine)
    yield engine
    engine.dispose()


def name_of(at_us: int) -> str:
    return f"calls_{datetime.datetime.fromtimestamp(at_us / 1e6, datetime.UTC):%Y_%m}"


def test_months_have_tables_that_are_dropped_whole(server: sa.Engine, tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "journal" / "plane")
    ingester = Ingester(server, tmp_path / "journal")
    made = over_days(90, 90)
    samples.put(writer, [*made, samples.call("far", at_us=9_000_000_000_000_000)])
    assert ingester.drain() == 91
    assert partitions(server) == {"calls_default": 91}
    retention.make_ahead(server, NOW)
    now_has = partitions(server)
    this = name_of(NOW * 1_000_000)
    assert now_has[this] == sum(name_of(each.at_us) == this for each in made)
    assert len(now_has) == 2 + retention.MONTHS_AHEAD
    with db.writing(server) as connection:
        days = {each.at_us // DAY for each in made}
        retention.make_months(connection, retention.months_of(days))
    assert partitions(server)["calls_default"] == 1
    again = [made[3], made[80], replace(made[5], id="new")]
    samples.put(writer, again)
    assert ingester.drain() == 1, "a call is once in the ledger, whatever table it is in"
    ingester.close()
    writer.close()
    assert ledger.calls(server, request_id=made[80].id)[0].at_us == made[80].at_us
    swept(server)
    left = partitions(server)
    floor = name_of(TODAY - 10 * DAY)
    assert {name for name in left if name < floor} == set()
    assert left["calls_default"] == 1
    with db.reading(server) as connection:
        plan = "\n".join(
            connection.exec_driver_sql(
                f"EXPLAIN SELECT count(*) FROM calls WHERE at_us >= {TODAY} AND at_us < {NOW}000000"
            ).scalars()
        )
    assert this in plan
    assert len([name for name in left if name in plan]) <= 2, "other months are not looked at"
