"""Calls by what callers have kept of them, and calls that caused each other: by index, whatever
callers say."""

from typing import Any

import pytest
import sqlalchemy as sa
from msgspec.structs import replace
from sqlalchemy import event

from ferryman.config.model import Retention
from ferryman.control.tree import tree
from ferryman.store import db, intake, lookup, retention
from ferryman.store.schema import calls, upstream_ids
from ferryman.telemetry.record import Attempt, Closed, Labels, Trace, Verdict
from tests.store import samples
from tests.store.test_ledger import Ingest, ingest

__all__ = ["ingest"]

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def caused(name: str, parent: str, at: int, run: str = "", **more: object) -> Closed:
    labels = Labels(run=run, parent=parent)
    return samples.call(name, at_us=samples.START + at, labels=labels, **more)


def ids(engine: sa.Engine, ident: str) -> list[str]:
    return [call.request_id for call in lookup.calls_of(engine, ident)]


def shape(engine: sa.Engine, ident: str) -> list[tuple[str, int, int]]:
    [call] = lookup.calls_of(engine, ident)
    found = tree(lookup.family(engine, call))
    return [(node.call.request_id, node.depth, node.calls) for node in found]


def test_every_id_leads_to_its_call(engine: sa.Engine, ingest: Ingest) -> None:
    good = samples.call("req_1").attempts[0]
    lost, theirs = replace(good, error="x", upstream_id="up-0\0"), replace(good, upstream_id="up-1")
    ingest([
        samples.call("req_1", attempts=(lost, theirs), trace=Trace(TRACE, "00f067aa0ba902b7", 1)),
        samples.call("req_2", attempts=(theirs,), at_us=samples.START + 1,
                     verdicts=(Verdict("pii", "request", "redacted", 5),)),
        samples.call("up-1x"),
    ])  # fmt: skip
    assert ids(engine, "req_1") == ["req_1"]
    assert ids(engine, "up-0\ufffd") == ["req_1"]
    assert ids(engine, "up-1") == ["req_2", "req_1"], "a provider that repeats itself"
    for ident in (TRACE, f"00-{TRACE}-00f067aa0ba902b7-01"):
        assert ids(engine, ident) == ["req_1"]
    assert ids(engine, "up") == ids(engine, TRACE[1:]) == ids(engine, "") == []
    [call] = lookup.calls_of(engine, "req_2")
    [verdict] = call.verdicts
    said = {"check": "pii", "stage": "request", "action": "redacted", "took_us": 5}
    assert said.items() <= verdict.items()


def test_calls_lead_to_those_that_caused_them_and_back(engine: sa.Engine, ingest: Ingest) -> None:
    ingest([
        caused("root", "req_of_nobody", 0), caused("a", "root", 1), caused("b", "root", 2),
        caused("a1", "a", 3), caused("other", "", 4), caused("self", "self", 5),
        caused("ring1", "ring2", 6), caused("ring2", "ring1", 7), caused("under", "ring2", 8),
    ])  # fmt: skip
    whole = [("root", 0, 4), ("a", 1, 2), ("a1", 2, 1), ("b", 1, 1)]
    assert all(shape(engine, name) == whole for name in ("root", "a", "b", "a1"))
    assert shape(engine, "other") == [("other", 0, 1)]
    assert shape(engine, "self") == [("self", 0, 1)]
    assert shape(engine, "under") == [("ring1", 0, 3), ("ring2", 1, 2), ("under", 2, 1)]


def test_a_family_of_thousands_is_bounded(engine: sa.Engine, ingest: Ingest) -> None:
    ingest([caused("root", "", 0), *(caused(f"c{n}", "root", n, "run") for n in range(1, 1200))])
    [root] = lookup.calls_of(engine, "root")
    assert len(lookup.family(engine, root)) == lookup.MOST
    assert [call.request_id for call in lookup.of_run(engine, "run", 2)] == ["c1", "c2"]


def test_a_long_chain_is_drawn(engine: sa.Engine, ingest: Ingest) -> None:
    ingest([caused(f"c{n}", f"c{n - 1}", n, "run") for n in range(1, 900)])
    nodes = tree(lookup.of_run(engine, "run"))
    assert (nodes[0].calls, nodes[-1].depth) == (899, 898)
    assert nodes[0].cost == 899 * 1_234_567


def test_look_ups_go_by_index(engine: sa.Engine, ingest: Ingest) -> None:
    ingest(samples.calls(3))
    asked: list[tuple[str, Any]] = []

    def hear(_connection: object, _cursor: object, statement: str, values: Any, *_: object) -> None:
        asked.append((statement, values))

    event.listen(engine, "before_cursor_execute", hear)
    [call] = lookup.calls_of(engine, "req_1_0")
    assert lookup.calls_of(engine, TRACE) == []
    lookup.of_run(engine, "run-1")
    lookup.family(engine, call)
    event.remove(engine, "before_cursor_execute", hear)
    if engine.dialect.name != "sqlite":
        return  # of few rows, PostgreSQL rather reads all
    with db.reading(engine) as connection:
        plans = [
            row[3]
            for statement, values in asked
            if statement.startswith(("SELECT", "WITH"))
            for row in connection.exec_driver_sql("EXPLAIN QUERY PLAN " + statement, values)
        ]
    assert sum("calls_day_" in plan for plan in plans) == 6, plans
    assert not [plan for plan in plans if plan.startswith("SCAN") and plan != "SCAN slots"], plans


def test_ids_are_found_in_slots_and_in_days(
    engine: sa.Engine, ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "SLOT_CALLS", 2)
    good = samples.call("req_1").attempts[0]
    for name in ("a", "b", "c", "d", "e"):
        tries = (replace(good, upstream_id=f"up-{name}"),)
        ingest([samples.call(name, attempts=tries, trace=Trace(TRACE, "00f067aa0ba902b7", 1))])
    day, on_sqlite = calls.c.day, engine.dialect.name == "sqlite"
    with db.writing(engine) as connection:
        if on_sqlite:  # as before there were slots
            connection.execute(calls.update().where(calls.c.request_id == "a").values(day=20_000))
        number = len(connection.execute(sa.select(day).distinct()).all())
    assert number == (4 if on_sqlite else 1)
    assert [ids(engine, f"up-{name}") for name in "abcde"] == [[name] for name in "abcde"]
    assert sorted(ids(engine, TRACE)) == ["a", "b", "c", "d", "e"]


def test_ids_of_given_up_attempts_go_with_their_calls(engine: sa.Engine, ingest: Ingest) -> None:
    tries = (Attempt("a", "m", 500, "upstream_error", upstream_id="up-0"), Attempt("b", "m", 200))
    ingest([samples.call("req_1", attempts=tries)])
    assert ids(engine, "up-0") == ["req_1"]
    later = samples.START / 1e6 + 80 * 86_400
    retention.raise_floors(engine, Retention(calls=86_400), later)
    while retention.sweep(engine):
        pass
    with db.reading(engine) as connection:
        assert connection.execute(sa.select(upstream_ids)).all() == []
