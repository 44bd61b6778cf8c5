"""From SQLite to PostgreSQL: all of it or nothing, under load, and nobody goes on with the old."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from msgspec.structs import replace
from soak.plant import Plant, plant

from ferryman.config.delegation import Scope
from ferryman.config.snapshot import CallLimit
from ferryman.config.version import Version
from ferryman.control.ingest import Ingester
from ferryman.control.keys import KeyDesk
from ferryman.control.vault.desk import Vault
from ferryman.control.vault.masters import Masters
from ferryman.store import (
    alerts,
    audit,
    condensed,
    db,
    delegated,
    intake,
    keys,
    ledger,
    moving,
    scim,
    sessions,
    tenants,
    tokens,
    users,
    versions,
)
from ferryman.store.bodies import Sealed
from ferryman.store.contents import Contents
from ferryman.store.journal import JournalWriter
from ferryman.store.schema import DAY_US, HEAD, calls, metadata
from ferryman.telemetry.record import FEEDBACK, OPENED, PRICED, Charge, Feedback, Priced
from tests.processes import Process, request, until
from tests.store import samples, test_scim
from tests.store.test_ledger import summed
from tests.store.test_users import ANNA, session
from tests.store.test_vault import key


@pytest.fixture
def source(tmp_path: Path) -> Iterator[sa.Engine]:
    """An installation's database, with something in every kind of table."""
    engine = db.open_engine(f"sqlite:///{tmp_path / 'ferryman.db'}")
    db.migrate(engine)
    KeyDesk(engine, "pepper", b"seed", tmp_path / "first-key").create("shop", None)
    token = tokens.TokenInfo(
        id="tok_1", name="anna", hint="fma-ab…yz", role="viewer", organisation="acme", team=None,
        created_at=1, created_by="admin", expires_at=2,
    )  # fmt: skip
    tokens.create(engine, token, b"d" * 32)
    users.create(engine, ANNA, "hash")
    sessions.begin(engine, session("mark"))
    team = tenants.Tenant(organisation="acme", title="ä", created_at=1, created_by="admin")
    for each in (team, replace(team, team="red")):
        tenants.create(engine, each)
    delegated.put(engine, Scope("acme"), CallLimit(name="", parallel=5), "anna", within={})
    test_scim.add(engine, "ben")
    scim.add_group(engine, None, replace(test_scim.RED, members=(("usr_ben", ""),)), scim.Grants())
    versions.add(engine, Version(number=0, at=1, by="anna", note="ä", changes=("x",), snapshot="s",
                                 text="{}", overlay={}))  # fmt: skip
    kept = Contents(engine, bytes(32))
    kept.add([Sealed("far", 1, "key_1", "red", b"\0sealed")])
    vault = Vault(engine, Masters([key(1)]), tmp_path / "seen")
    for name in ("lab", "acme/lab"):
        vault.put(name, f"of {name}")
    audit.record(audit.keyed(engine, bytes(32)), audit.Act(action="a.b", after="ä"))
    alerts.silence(engine, "latency", "", 9, "ä", 1)
    alert = alerts.Alert(
        id="a", rule="r", about="budget", subject="", severity="warning", title="", detail="",
        opened_at=1, seen_at=1,
    )  # fmt: skip
    said = alerts.Message(id="m", body="{}", to=("ops",))
    alerts.apply(engine, [alerts.Change(what="opened", alert=alert, message=said)], 1)
    writer = JournalWriter(tmp_path / "journal" / "plane")
    word = Feedback("far", False, "key_1", "", 5, -500, ("a",), "no\0t so good")
    writer.append(FEEDBACK, samples._pack(word))
    writer.append(PRICED, samples._pack(Priced("p1", "lab", "m", ())))
    far = replace(samples.call("far"), at_us=9_000_000_000_000_000, charge=Charge(("all",), 3, 4))
    [attempt] = far.attempts
    far = replace(far, attempts=(replace(attempt, upstream_id="theirs"), attempt))
    samples.put(writer, [*samples.calls(5000), far])
    writer.append(OPENED, samples._pack(samples.opened(samples.call("open"))))
    ingester = Ingester(engine, tmp_path / "journal")
    assert ingester.drain() == 5001
    condensed.condense(engine, condensed.missing(engine, 2e9)[0])
    condensed.condense_week(engine, condensed.missing_weeks(engine, 2e9)[0])
    ingester.close()
    writer.close()
    yield engine
    engine.dispose()


@pytest.fixture
def target(postgres_url: str) -> Iterator[sa.Engine]:
    engine = db.open_engine(postgres_url)
    yield engine
    engine.dispose()


def contents(engine: sa.Engine) -> dict[str, set[tuple[object, ...]]]:
    with engine.connect() as connection:
        return {
            table.name: {tuple(row) for row in connection.execute(sa.select(table))}
            for table in metadata.sorted_tables
        }


def in_days(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """A call as PostgreSQL has it: ``day`` is one, where SQLite may have a slot."""
    names = list(calls.c.keys())
    at = row[names.index("at_us")]
    return tuple(at // DAY_US if n == "day" else v for n, v in zip(names, row, strict=True))


def same(moved: dict[str, set[Any]], before: dict[str, set[Any]]) -> bool:
    """Whether all is there as it was; pytest takes minutes to tell what of it is not."""
    return moved == before | {"calls": {in_days(row) for row in before["calls"]}}


def test_everything_is_there_and_the_file_says_so(
    source: sa.Engine, target: sa.Engine, tmp_path: Path
) -> None:
    before, head = contents(source), audit.head(source)
    assert sum(not rows for rows in before.values()) == 0, "every table has something"
    told: dict[str, tuple[int, int]] = {}
    rows = moving.move(source, target, lambda name, done, total: told.update({name: (done, total)}))
    assert rows == sum(map(len, before.values()))
    assert told == {name: (len(found), len(found)) for name, found in before.items()}
    assert same(contents(target), before)
    assert audit.verify(target, bytes(32), [head]) == (1, [])
    rows_of = ledger.usage(target, by=("model",))
    assert {row.groups: row for row in rows_of} == ledger_of_file(source)
    for look in (lambda: intake.positions(source), lambda: db.migrate(source),
                 lambda: intake.take_in(source, intake.Batch())):  # fmt: skip
        with pytest.raises(db.MovedError, match="was moved to postgresql://"):
            look()
    assert moving.move(source, target, lambda *_: None) == 0, "again, if it was cut at the end"
    writer = JournalWriter(tmp_path / "journal" / "plane")
    samples.put(writer, samples.calls(100, seed=2))
    ingester = Ingester(target, tmp_path / "journal")
    assert ingester.drain() == 101, "the journal goes on where it was, and the open call is lost"
    ingester.close()
    writer.close()
    assert {key.name for key in keys.list_keys(target)} == {"shop"}


def ledger_of_file(_source: sa.Engine) -> dict[tuple[str | None, ...], ledger.UsageRow]:
    far = samples.call("far", at_us=9_000_000_000_000_000)
    return summed([*samples.calls(5000), far], ("model",))


def test_what_cannot_be_moved_is_refused(source: sa.Engine, target: sa.Engine) -> None:
    with pytest.raises(moving.MoveError, match="Only from SQLite to PostgreSQL"):
        moving.move(target, source, print)
    with pytest.raises(moving.MoveError, match="Only from SQLite to PostgreSQL"):
        moving.move(source, source, print)
    before = contents(source)
    db.migrate(target)
    with db.writing(target) as connection:
        db.add_to_meta(connection, "key_seq", 1)
    with pytest.raises(moving.MoveError, match=r"not empty: the table meta has rows"):
        moving.move(source, target, lambda *_: None)
    with db.writing(target) as connection:
        connection.exec_driver_sql("DELETE FROM meta")
        connection.exec_driver_sql(
            "CREATE FUNCTION off() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN NEW.cost_pico := NEW.cost_pico + 1; RETURN NEW; END $$"
        )
        connection.exec_driver_sql(
            "CREATE TRIGGER off BEFORE INSERT ON calls FOR EACH ROW EXECUTE FUNCTION off()"
        )
    with pytest.raises(moving.MoveError, match=r"calls has 5001 rows.*sums of cost_pico differ"):
        moving.move(source, target, lambda *_: None)
    assert contents(source) == before
    assert not any(contents(target).values())
    with db.writing(target) as connection:
        connection.exec_driver_sql("DROP TRIGGER off ON calls")
    assert moving.move(source, target, lambda *_: None) > 5000
    assert same(contents(target), before)


def test_killed_on_the_way_nothing_has_changed(
    source: sa.Engine, target: sa.Engine, postgres_url: str
) -> None:
    before = contents(source)
    code = (
        "import os, sys; from ferryman.store import db, moving\n"
        "def told(name, done, total):\n"
        "    if name == 'calls' and done: os.kill(os.getpid(), 9)\n"
        "moving.move(db.open_engine(sys.argv[1]), db.open_engine(sys.argv[2]), told)"
    )
    url = source.url.render_as_string(hide_password=False)
    assert subprocess.run([sys.executable, "-c", code, url, postgres_url]).returncode == -9
    assert contents(source) == before
    assert moving.move(source, target, lambda *_: None) > 5000


class Load:
    """Callers that note what was answered, in threads."""

    def __init__(self, place: Plant) -> None:
        self.answered: list[str] = []
        self.failed: list[str] = []
        self._place, self._stop = place, threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(3)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        body = b'{"model": "lab/one", "messages": [{"role": "user", "content": "go on"}]}'
        address = self._place.address
        while not self._stop.is_set():
            reply = request(
                f"http://{address.host}:{address.port}", "POST", "/v1/chat/completions",
                token=address.key, body=body, headers={"content-type": "application/json"},
            )  # fmt: skip
            if reply.status == 200:
                self.answered.append(reply.headers["x-ferryman-request-id"])
            else:
                self.failed.append(f"{reply.status} {reply.body!r}")
            time.sleep(0.005)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_a_running_installation_moves_under_load(postgres_url: str) -> None:
    with plant() as place:
        place.up()
        made = place.admin("POST", "/api/v1/keys", {"name": "shop"}).json()["key"]
        load = Load(place)
        until(lambda: len(load.answered) > 100, "some calls before")
        was = place.pid("control")
        move = Process(
            ["ferryman", "migrate"], place.env | {"FERRYMAN_MIGRATE_TO": postgres_url}, place.work
        )
        move.wait_for("counts and sums are equal")
        assert move.wait() == 0
        then = len(load.answered)
        until(lambda: place.pids("control") not in ([], [was]), "a new control plane")
        until(lambda: len(load.answered) > then + 100, "some calls after")
        place.kill("control")  # it finds the new place again
        until(lambda: len(load.answered) > then + 200, "some more")
        load.stop()
        until(lambda: _count(place) == len(load.answered), "all calls in the ledger")
        assert load.failed == []
        assert place.data.joinpath("secrets", "database-url").stat().st_mode & 0o777 == 0o600
        names = {key["name"] for key in place.admin("GET", "/api/v1/keys").json()["data"]}
        assert names == {"first", "shop"}
        reply = request(f"http://127.0.0.1:{place.port}", "GET", "/v1/models", token=made)
        assert reply.status == 200
        with psycopg.connect(postgres_url) as connection:
            rows = connection.execute("SELECT request_id, state FROM calls").fetchall()
            assert sorted(rows) == sorted((each, "closed") for each in load.answered)
            [[version]] = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        assert version == HEAD
        os.kill(place.supervisor.popen.pid, signal.SIGTERM)  # type: ignore[union-attr]


def _count(place: Plant) -> int:
    try:
        reply = place.admin("GET", "/api/v1/usage?since=2026-01-01")
    except OSError:
        return -1
    return int(reply.json()["total"]["calls"]) if reply.status == 200 else -1
