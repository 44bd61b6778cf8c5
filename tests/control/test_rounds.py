"""How urgently the journal is taken in, and that it comes through where others want everything."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from bench.ingestion import fill

from ferryman.control.ingest import Ingester
from ferryman.control.rounds import BEHIND, STARVED, STEPS, Rounds, urgency
from ferryman.store import db

CALLS = 12_000
BURN = "import time\nend = time.monotonic() + 180\nwhile time.monotonic() < end: pass"


@pytest.mark.parametrize(
    ("now", "waiting", "share", "then"),
    [
        (0, BEHIND - 1, 0.01, 0),  # nothing waits for long
        (0, BEHIND + 1, 0.01, 1),
        (1, BEHIND + 1, 0.01, 2),
        (2, BEHIND + 60, 0.01, 2),  # there is no more
        (0, BEHIND + 60, STARVED, 0),  # a backlog alone takes nothing from calls
        (1, BEHIND + 1, 0.9, 1),
        (2, BEHIND - 1, 0.9, 0),
    ],
)
def test_only_who_is_behind_and_kept_from_working_gets_urgent(
    now: int, waiting: float, share: float, then: int
) -> None:
    assert urgency(now, waiting, share) == then


def test_what_calls_wait_for_is_done_as_urgently_as_they_are(tmp_path: Path) -> None:
    """The nicest thread would let them wait for seconds on a machine with much to do."""
    engine = db.open_engine(f"sqlite:///{tmp_path / 'ledger.db'}")
    db.migrate(engine)
    names: list[str] = []
    rounds = Rounds(
        Ingester(engine, tmp_path / "journal"),
        lambda: None,
        lambda: names.append(threading.current_thread().name),
        lambda: None,
    )
    rounds.start()
    assert rounds.catch_up(60)
    assert set(names) == {f"ingestion-{STEPS[0]}"}
    assert rounds.catch_up(60, urgent=True)
    assert f"ingestion-{STEPS[-1]}" in names
    rounds.stop(20)
    engine.dispose()


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no niceness of their own")
def test_records_come_through_beside_those_who_want_all_processors(tmp_path: Path) -> None:
    """The nicest thread gets a hundredth of a processor here: it would take minutes."""
    fill(tmp_path / "journal" / "gateway", CALLS)
    engine = db.open_engine(f"sqlite:///{tmp_path / 'ledger.db'}")
    db.migrate(engine)
    rounds = Rounds(
        Ingester(engine, tmp_path / "journal"), lambda: None, lambda: None, lambda: None
    )
    burners = [
        subprocess.Popen([sys.executable, "-S", "-c", BURN])
        for _ in range(2 * len(os.sched_getaffinity(0)))
    ]
    try:
        began = time.monotonic()
        rounds.start()
        assert rounds.catch_up(patience=120), f"{STEPS}: not in after {time.monotonic() - began} s"
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()
        rounds.stop(20)
    with db.reading(engine) as connection:
        assert connection.exec_driver_sql("SELECT COUNT(*) FROM calls").scalar() == CALLS
    engine.dispose()
