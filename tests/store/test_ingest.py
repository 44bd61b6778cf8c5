"""From journals into the ledger: real files, real databases, and the damage that can happen."""

import itertools
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from ferryman.control.entries import MAX_TOKENS
from ferryman.control.ingest import Ingester
from ferryman.ir.usage import Usage
from ferryman.store import budgets, db, intake, keys, ledger
from ferryman.store.db import MigrationError
from ferryman.store.journal import (
    HEADER_BYTES,
    JournalWriter,
    damages,
    read_segment,
    segments,
)
from ferryman.store.schema import HEAD
from ferryman.telemetry.record import CLOSED, OPENED, RAISED, Charge, Closed
from tests.store import killer, samples

encode = msgspec.msgpack.Encoder().encode
Start = Callable[..., JournalWriter]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Directory of all journals."""
    return tmp_path / "journal"


@pytest.fixture
def start(root: Path) -> Iterator[Start]:
    """Starts a gateway's journal, after the end of the one before in the same plane."""
    running: dict[str, JournalWriter] = {}

    def begin(plane: str = "plane", segment_bytes: int = 1 << 20) -> JournalWriter:
        if plane in running:
            running[plane].close()
        running[plane] = JournalWriter(root / plane, segment_bytes=segment_bytes)
        return running[plane]

    yield begin
    for writer in running.values():
        writer.close()


@pytest.fixture
def ingester(engine: sa.Engine, root: Path) -> Iterator[Ingester]:
    """An ingester of the test's database."""
    ingester = Ingester(engine, root)
    yield ingester
    ingester.close()


def ids(engine: sa.Engine, state: str = "") -> list[str]:
    rows = ledger.calls(engine, limit=10**6)
    return sorted(row.request_id for row in rows if state in ("", row.state))


def open_ids(engine: sa.Engine) -> list[str]:
    with db.reading(engine) as connection:
        return sorted(connection.exec_driver_sql("SELECT request_id FROM open_calls").scalars())


def only(paths: Path) -> Path:
    """The one segment in a plane's directory."""
    [(_, path)] = segments(paths)
    return path


@pytest.mark.parametrize("step", [1, 500, 1 << 20])
def test_every_call_arrives_once_whatever_the_steps(
    engine: sa.Engine, ingester: Ingester, start: Start, step: int
) -> None:
    draw = random.Random(step)
    calls = samples.calls(120)
    writers = [start("a", 3000), start("b", 1 << 20)]
    events = [(number / 120 + draw.random(), OPENED, call) for number, call in enumerate(calls)]
    events += [(at + draw.random() * 2, CLOSED, call) for at, _, call in events]
    taken = 0
    for number, (_, kind, call) in enumerate(sorted(events, key=lambda event: event[0])):
        record = samples.opened(call) if kind == OPENED else call
        writers[int(call.id.split("_")[2]) % 2].append(kind, encode(record))
        if number % 17 == 0:
            taken += ingester.run_once(step)
    taken += ingester.drain(step)
    assert taken == 120
    assert ids(engine) == sorted(call.id for call in calls)
    assert ids(engine, state="closed") == ids(engine)
    assert open_ids(engine) == []
    assert ingester.run_once() == 0
    assert intake.counts(engine) == {}


def test_nothing_there_is_nothing_done(engine: sa.Engine, ingester: Ingester, root: Path) -> None:
    assert ingester.run_once() == 0
    (root / "empty-plane").mkdir()
    (root / "stray-file").write_text("not a plane")
    (root / "plane").mkdir()
    (root / "plane" / "notes.txt").write_text("not a segment")
    assert ingester.run_once() == 0
    assert not ingester.behind


def test_calls_of_a_dead_gateway_are_settled_at_their_hold(
    engine: sa.Engine, ingester: Ingester, start: Start
) -> None:
    writer = start()
    calls = samples.calls(4)
    for call, hold in zip(calls, (0, 10, 2**64 - 1, 30), strict=True):
        writer.append(OPENED, encode(samples.opened(call, hold)))
    writer.append(CLOSED, encode(calls[3]))
    assert ingester.drain() == 1
    assert ingester.drain() == 0
    assert open_ids(engine) == sorted(call.id for call in calls[:3]), "it may still be at work"
    start()
    assert ingester.drain() == 3
    assert open_ids(engine) == []
    rows = {row.request_id: row for row in ledger.calls(engine, where={"status": "lost"})}
    assert [rows[call.id].cost for call in calls[:3]] == [None, 10, 2**63 - 1]
    lost = rows[calls[1].id]
    assert (lost.usage, lost.status, lost.attempts, lost.stream) == (None, 0, [], None)
    assert (lost.at_us, lost.key, lost.model) == (calls[1].at_us, calls[1].key, calls[1].model)
    assert ids(engine, state="closed") == [calls[3].id]
    [total] = ledger.usage(engine)
    assert (total.calls, total.lost) == (4, 3)
    assert intake.counts(engine) == {"calls_lost": 3}


def test_what_budgets_bear_is_summed_once_by_time_with_holds_of_the_dead(
    engine: sa.Engine, ingester: Ingester, start: Start
) -> None:
    at, minute = samples.START - samples.START % 900_000_000, 60_000_000
    both, one = ("team|a", "all"), ('team|"b" é',)
    given = [
        (at - 1, both, 5), (at, both, 2**62), (at + minute - 1, both, 2**62), (at + minute, one, 7),
        (at + 2 * minute, both, 9),
    ]  # fmt: skip
    calls = [
        samples.call(f"c{i}", at_us=when, charge=Charge(budgets, pico, 3))
        for i, (when, budgets, pico) in enumerate(given)
    ]
    writer = start()
    samples.put(writer, [*calls, samples.call("plain", at_us=at)])
    samples.put(writer, calls)  # a record that comes again adds nothing
    under_way = replace(samples.opened(calls[3], 11), id="dead", charge=Charge(one, 11, 4))
    writer.append(OPENED, encode(under_way))
    start()
    ingester.drain()
    found = budgets.spent(engine, at // 1_000_000, at + 2 * minute, 60)
    assert sorted(
        (spent.at, spent.budgets, spent.picodollars, spent.tokens) for spent in found
    ) == [
        (at // 1_000_000, both, 2**63, 6),
        (at // 1_000_000 + 60, one, 7 + 11, 3 + 4),
    ]
    there = ["dead", "c4", "never came"]
    found = budgets.spent(engine, at // 1_000_000, at + 2 * minute, 60, without=there)
    assert [spent.picodollars for spent in found if spent.budgets == one] == [7]


def test_a_call_that_holds_more_than_it_did_is_one_and_is_gone_when_it_ends(
    engine: sa.Engine, ingester: Ingester, start: Start
) -> None:
    """Whether all of it comes at once, or the control plane was there in between."""
    writer = start("asking")
    for between in (False, True):
        closed = samples.call(f"ends-{between}", charge=Charge(("all",), 3, 1))
        lost = samples.call(f"dies-{between}")
        for hold, kind in ((10, OPENED), (25, RAISED)):
            for each in (closed, lost):
                opened = replace(samples.opened(each, hold), charge=Charge(("all",), hold, 1))
                writer.append(kind, encode(opened))
            if between:
                ingester.drain()
        writer.append(CLOSED, encode(closed))
        ingester.drain()
    assert budgets.charged(engine, ["dies-False"])["dies-False"][0] == 25
    start("asking")
    ingester.drain()
    borne = budgets.counted(engine, 0, 1 << 62, 60, begun={}, without=[])
    assert sum(spent.picodollars for spent in borne) == 2 * (3 + 25)
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM open_calls")) == 0
        assert connection.scalar(sa.text("SELECT count(*) FROM calls")) == 4


def test_what_others_count_is_left_out_and_open_calls_are_in_with_their_hold(
    engine: sa.Engine, ingester: Ingester, start: Start
) -> None:
    """A gateway that counts since a moment, calls that are named, and one under way."""
    at, keys = samples.START - samples.START % 900_000_000, ("all",)

    def call(name: str, later: int, pico: int) -> Closed:
        return samples.call(name, at_us=at + later, charge=Charge(keys, pico, 1))

    counting, other = start("counting"), start("other")
    samples.put(counting, [call("before", 10, 1), call("named", 20, 2), call("since", 50, 4)])
    samples.put(other, [call("free", 60, 8)])
    for name, pico in (("open", 16), ("named-open", 32)):
        opened = samples.opened(call(name, 30, 0), pico)
        other.append(OPENED, encode(replace(opened, charge=Charge(keys, pico, 1))))
    ingester.drain()
    named = ["named", "named-open", *(f"nobody-{n}" for n in range(1200))]
    found = budgets.counted(
        engine, at // 1_000_000, 1 << 62, 60, begun={"counting": at + 50}, without=named
    )
    assert sum(spent.picodollars for spent in found) == 1 + 8 + 16
    assert sum(spent.tokens for spent in found) == 3
    began = at // 1_000_000
    assert budgets.charged(engine, named) == {
        "named": (2, 1, began, []),
        "named-open": (32, 1, began, []),
    }


def test_a_dead_gateway_of_one_plane_settles_nothing_of_another(
    engine: sa.Engine, ingester: Ingester, start: Start
) -> None:
    for plane in ("a", "b"):
        start(plane).append(OPENED, encode(samples.opened(samples.call(plane))))
    ingester.drain()
    start("a")
    assert ingester.drain() == 1
    assert ids(engine) == ["a"]
    assert open_ids(engine) == ["b"]


def test_a_call_without_its_beginning_counts_all_the_same(
    engine: sa.Engine, ingester: Ingester, start: Start
) -> None:
    start().append(CLOSED, encode(samples.call("alone")))
    assert ingester.drain() == 1
    assert ids(engine) == ["alone"]


def test_an_id_that_is_there_already_is_counted_and_left_out(
    engine: sa.Engine, ingester: Ingester, start: Start
) -> None:
    writer = start()
    samples.put(writer, [samples.call("twice", cost=1), samples.call("twice", cost=2)])
    assert ingester.drain() == 1
    samples.put(writer, [samples.call("twice", cost=3), samples.call("other", cost=4)])
    assert ingester.drain() == 1
    assert {row.request_id: row.cost for row in ledger.calls(engine)} == {"twice": 1, "other": 4}
    assert intake.counts(engine) == {"calls_duplicate": 2}


def test_keys_remember_their_last_use(engine: sa.Engine, ingester: Ingester, start: Start) -> None:
    key = keys.create(engine, keys.NewKey(name="app", digest=b"d" * 32, hint="fm-…"))
    seq = keys.key_seq(engine)
    writer = start()
    for number, seconds in enumerate((500, 900, 700)):
        call = samples.call(f"r{number}", key=key.id, at_us=seconds * 1_000_000 + 999_999)
        samples.put(writer, [call])
        ingester.drain()
    samples.put(writer, [samples.call("stranger", key="key_unknown")])
    ingester.drain()
    [found] = keys.list_keys(engine)
    assert found.last_used_at == 900
    assert keys.key_seq(engine) == seq, "data planes need not hear of it"


def test_a_torn_end_is_waited_for_then_skipped(
    engine: sa.Engine, ingester: Ingester, start: Start, root: Path
) -> None:
    calls = samples.calls(3)
    samples.put(start(), calls)
    path = only(root / "plane")
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    assert ingester.drain() == 2
    path.write_bytes(whole)  # it was only on its way
    assert ingester.drain() == 1
    path.write_bytes(whole + whole[16:40])
    assert ingester.drain() == 0
    assert intake.counts(engine) == {}
    samples.put(start(), [samples.call("next")])
    assert ingester.drain() == 1
    assert intake.counts(engine) == {"journal_torn": 1, "journal_torn_bytes": 24}
    assert len(ids(engine)) == 4


def test_damage_costs_what_it_hits_and_is_told(
    engine: sa.Engine, ingester: Ingester, start: Start, root: Path, capfd: Any
) -> None:
    """In a record, in a length, in a header; a part zeroed, garbage in between, the end cut off."""
    for seed in range(6):
        samples.put(start(), samples.calls(10, seed=seed))
    paths = [path for _, path in segments(root / "plane")]
    start()
    closed = [_frames(path)[1::2] for path in paths]
    _ruin(paths[0], closed[0][4][0] + 20, b"?")
    _ruin(paths[1], closed[1][4][0] + 3, b"\xff")
    _ruin(paths[2], 0, b"?")
    _ruin(paths[3], closed[3][4][0] + 5, bytes(closed[3][6][0] - closed[3][4][0]))
    whole, cut = paths[4].read_bytes(), closed[4][5][0]
    paths[4].write_bytes(whole[:cut] + b"\x07garbage" * 500 + whole[cut:])
    paths[5].write_bytes(paths[5].read_bytes()[: closed[5][4][0] + 9])
    ingester.drain()
    gone = {"req_0_4", "req_1_4", *(f"req_3_{i}" for i in (4, 5, 6))}
    gone |= {f"req_5_{i}" for i in range(4, 10)}
    every = {f"req_{seed}_{i}" for seed in range(6) for i in range(10)}
    assert set(ids(engine, state="closed")) == every - gone
    # Of these the beginning was there; each costs its hold.
    assert ids(engine, state="lost") == ["req_0_4", "req_1_4", "req_3_4", "req_5_4"]
    counts = intake.counts(engine)
    assert (counts["journal_damaged"], counts["journal_torn"], counts["calls_lost"]) == (5, 1, 4)
    assert counts["journal_torn_bytes"] == 9
    told = capfd.readouterr().err
    for path in paths[:5]:
        assert f"of {path} at offset" in told
        kept = path.with_suffix(".damaged")
        assert sum(size for _, size in damages(kept)) > 0, "it can be looked at later"
        assert not path.exists()
    assert f"skipped the last 9 bytes of {paths[5]}" in told
    assert not paths[5].with_suffix(".damaged").exists(), "an end that is torn is normal"
    assert ingester.drain() == 0


def test_damage_in_the_newest_segment_holds_nothing_up(
    engine: sa.Engine, ingester: Ingester, start: Start, root: Path
) -> None:
    """It may stay the newest for days."""
    samples.put(start(), samples.calls(10))
    path = only(root / "plane")
    _ruin(path, _frames(path)[9][0], b"\xff" * 8)
    assert ingester.drain() == 9
    assert open_ids(engine) == ["req_1_4"]
    assert intake.counts(engine)["journal_damaged"] == 1
    _ruin(path, 0, b"?")  # how far it was read is known, and by which start it was written
    samples.put(start(), [samples.call("next")])
    assert ingester.drain() == 2
    assert ids(engine, state="lost") == ["req_1_4"]
    assert intake.counts(engine)["journal_damaged"] == 1


def test_a_segment_with_a_damaged_header_waits_for_the_next_one(
    engine: sa.Engine, ingester: Ingester, start: Start, root: Path
) -> None:
    """Which start of the gateway it is from shows there."""
    samples.put(start(), samples.calls(3))
    _ruin(only(root / "plane"), 2, b"?")
    assert ingester.drain() == 0
    samples.put(start(), [samples.call("next")])
    assert ingester.drain() == 4
    assert intake.counts(engine) == {"journal_damaged": 1, "journal_damaged_bytes": 16}


def _frames(path: Path) -> list[tuple[int, int]]:
    """Where each record of a segment begins and ends."""
    ends = [HEADER_BYTES, *(frame.end for frame in read_segment(path)[0])]
    return list(itertools.pairwise(ends))


def _ruin(path: Path, at: int, by: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(by)


def test_records_that_cannot_be_understood_are_counted(
    engine: sa.Engine, ingester: Ingester, start: Start
) -> None:
    writer = start()
    for payload in (b"", b"rubbish", encode({"id": 1}), encode(["id"]), b"\xc1"):
        writer.append(CLOSED, payload)
        writer.append(OPENED, payload)
    writer.append(200, b"from a later version")
    samples.put(writer, [samples.call("good")])
    assert ingester.drain() == 1
    assert ids(engine) == ["good"]
    assert intake.counts(engine) == {"journal_undecodable": 10, "journal_unknown": 1}


HOSTILE = ["nul\0in it", "\0", "m" * 100_000, "\U0001f6a2" * 3000, "", "'; DROP TABLE calls;--"]


def test_what_callers_and_upstreams_make_up_stops_nothing(
    engine: sa.Engine, ingester: Ingester, start: Start
) -> None:
    writer = start()
    calls = [
        samples.call(f"r{number}", model=text, target=text) for number, text in enumerate(HOSTILE)
    ]
    samples.put(writer, calls)
    mad = Usage(input=2**64 - 1, output=-5, reasoning=7)
    samples.put(writer, [samples.call("mad", usage=mad, cost=2**64 - 1), samples.call("sane")])
    assert ingester.drain() == len(HOSTILE) + 2
    models = {row.request_id: row.model for row in ledger.calls(engine)}
    assert models["r0"] == "nul\ufffdin it"
    assert models["r2"] == "m" * 200
    assert models["r5"] == HOSTILE[5]
    [row] = ledger.calls(engine, request_id="mad")
    assert row.usage == Usage(input=MAX_TOKENS, reasoning=7)
    assert row.cost == 2**63 - 1
    assert intake.counts(engine) == {"tokens_clamped": 1}
    assert ledger.usage(engine)[0].calls == len(HOSTILE) + 2


def test_a_row_that_fits_nowhere_is_left_out_alone(
    engine: sa.Engine, ingester: Ingester, start: Start
) -> None:
    """Fields that only the gateway fills: wrong there means a bug, which must not stop the rest."""
    writer = start()
    samples.put(
        writer, [samples.call("before"), samples.call("odd", duration_us=2**63, endpoint="a\0b")]
    )
    samples.put(writer, [samples.call("after")])
    assert ingester.drain() == 3
    [row] = ledger.calls(engine, request_id="odd")
    assert row.duration_us == 2**63 - 1


def test_finished_segments_are_deleted_once_they_are_in(
    engine: sa.Engine, ingester: Ingester, start: Start, root: Path
) -> None:
    writer = start(segment_bytes=2000)
    calls = samples.calls(40)
    samples.put(writer, calls)
    before = segments(root / "plane")
    assert len(before) > 3
    with db.writing(engine) as connection:
        connection.exec_driver_sql("ALTER TABLE calls RENAME TO away")
    with pytest.raises(sa.exc.DBAPIError):
        ingester.drain()
    assert segments(root / "plane") == before, "nothing is deleted before it is committed"
    with db.writing(engine) as connection:
        connection.exec_driver_sql("ALTER TABLE away RENAME TO calls")
    assert ingester.drain() == 40
    assert segments(root / "plane") == before[-1:], "the newest stays: its number is taken"
    assert intake.counts(engine) == {}
    samples.put(writer, samples.calls(1, seed=2))
    assert ingester.drain() == 1
    assert len(intake.positions(engine)) <= 2, "checkpoints go with their files"
    assert writer.directory.joinpath("lock").exists()


def test_a_directory_begun_anew_is_read_from_its_beginning(
    engine: sa.Engine, ingester: Ingester, start: Start, root: Path
) -> None:
    samples.put(start(), samples.calls(5, seed=1))
    ingester.drain()
    shutil.rmtree(root / "plane")
    samples.put(start(), samples.calls(3, seed=2))
    assert only(root / "plane").name == "0000000001.fj", "the same number, another boot id"
    assert ingester.drain() == 3
    assert len(ids(engine)) == 8


def test_lost_checkpoints_double_nothing(engine: sa.Engine, root: Path, start: Start) -> None:
    samples.put(start(), samples.calls(5))
    start()
    for expected in (5, 0):
        ingester = Ingester(engine, root)
        assert ingester.drain() == expected
        ingester.close()
        with db.writing(engine) as connection:
            connection.exec_driver_sql("DELETE FROM journal_positions")
    assert len(ids(engine, state="closed")) == 5


def test_a_restored_backup_takes_in_again_what_the_journal_still_has(
    engine: sa.Engine, root: Path, start: Start
) -> None:
    writer = start()
    samples.put(writer, samples.calls(5))
    ingester = Ingester(engine, root)
    assert ingester.drain() == 5
    ingester.close()
    with db.writing(engine) as connection:
        connection.exec_driver_sql("DELETE FROM journal_positions")
        connection.exec_driver_sql("DELETE FROM calls WHERE request_id = 'req_1_3'")
    ingester = Ingester(engine, root)
    assert ingester.drain() == 1
    ingester.close()
    assert len(ids(engine)) == 5
    assert intake.counts(engine) == {"calls_duplicate": 4}


def test_only_one_ingests_at_a_time(engine: sa.Engine, root: Path, start: Start) -> None:
    samples.put(start(), samples.calls(3))
    first, second = Ingester(engine, root), Ingester(engine, root)
    assert first.run_once() == 3
    samples.put(start(), samples.calls(2, seed=2))
    assert second.run_once() == 0
    first.close()
    assert second.run_once() == 2
    second.close()


def test_nothing_is_taken_in_once_a_newer_version_changes_the_schema(
    engine: sa.Engine, ingester: Ingester, start: Start
) -> None:
    samples.put(start(), samples.calls(3))
    with ThreadPoolExecutor(1) as another:
        with db.writing(engine) as connection:
            assert db._version(connection, locked=True) == HEAD
            connection.execute(sa.text("UPDATE alembic_version SET version_num = 'newer'"))
            taken = another.submit(ingester.run_once)
            with pytest.raises(TimeoutError):
                taken.result(0.5)
        with pytest.raises(MigrationError, match="schema newer by now"):
            taken.result(20)
    assert ids(engine) == []
    with db.writing(engine) as connection:
        connection.execute(sa.text(f"UPDATE alembic_version SET version_num = '{HEAD}'"))
    assert ingester.run_once() == 3


def test_the_schema_is_changed_once_what_is_being_taken_in_is_there(engine: sa.Engine) -> None:
    def changed() -> str | None:
        with db.writing(engine) as connection:
            return db._version(connection, locked=True)

    with ThreadPoolExecutor(1) as another:
        with db.writing(engine) as connection:
            db.hold_schema(connection)
            version = another.submit(changed)
            with pytest.raises(TimeoutError):
                version.result(0.5)
        assert version.result(20) == HEAD


def test_a_plane_that_cannot_be_read_holds_up_no_other(
    engine: sa.Engine, ingester: Ingester, start: Start, root: Path
) -> None:
    (root / "a" / "0000000001.fj").mkdir(parents=True)
    samples.put(start("b"), samples.calls(3))
    assert ingester.drain() == 3
    assert ingester.drain() == 0


def test_a_segment_with_a_torn_header_is_passed(
    engine: sa.Engine, ingester: Ingester, start: Start, root: Path
) -> None:
    (root / "plane").mkdir(parents=True)
    torn = root / "plane" / "0000000001.fj"
    torn.write_bytes(b"FMJ1boot")
    assert ingester.drain() == 0
    assert intake.counts(engine) == {}
    samples.put(start(), samples.calls(3))
    assert ingester.drain() == 3
    assert intake.counts(engine) == {"journal_torn": 1, "journal_torn_bytes": 8}
    assert not torn.exists()


@pytest.mark.parametrize("seed", [1])
def test_killed_at_random_moments_every_call_counts_once(
    url: str, engine: sa.Engine, tmp_path: Path, seed: int
) -> None:
    command = [sys.executable, killer.__file__, str(tmp_path), url, "15", str(seed)]
    here = Path(killer.__file__).parents[2]
    env = {**os.environ, "PYTHONPATH": f"{here}/src:{here}"}
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    JournalWriter(tmp_path / "journal" / "plane").close()  # the next gateway
    ingester = Ingester(engine, tmp_path / "journal")
    ingester.drain()
    ingester.close()
    acked = (tmp_path / "acked").read_text().split()
    assert acked
    closed, lost = ids(engine, state="closed"), ids(engine, state="lost")
    assert set(acked) <= set(closed)
    assert not set(closed) & set(lost)
    assert open_ids(engine) == []
    numbers = sorted((name.split("_")[0], int(name.split("_")[1])) for name in closed + lost)
    for writer in {name for name, _ in numbers}:
        own = [number for name, number in numbers if name == writer]
        assert own == list(range(len(own))), "each call that was begun, once, in one state"
    rows = ledger.calls(engine, limit=10**6, where={"status": "lost"})
    assert {row.cost for row in rows} == {killer.HOLD}
    [row] = ledger.usage(engine)
    assert (row.calls, row.lost) == (len(closed + lost), len(lost)), "sums are of the same commits"
    assert row.cost == len(closed) * 1_234_567 + len(lost) * killer.HOLD
    counts = intake.counts(engine)
    assert "calls_duplicate" not in counts, "the checkpoint, not luck, keeps them from coming twice"
    assert counts["calls_lost"] == len(lost)
