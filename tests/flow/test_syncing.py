"""How often the journal is synced to the disk."""

import os
import resource
import threading
from pathlib import Path

import psutil
import pytest

from ferryman.edge.syncing import Syncing
from ferryman.store.journal import JournalWriter
from tests.gateway import Stack, error_of

CONFIG = """\
server: { fsync_ms: 0 }
providers:
  lab: { base_url: SIM/v1, auth: none }
models:
  sim: lab/sim
"""


def test_records_are_synced_until_it_ends_and_a_failing_disk_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync, tries, synced = os.fdatasync, threading.Semaphore(0), threading.Event()
    failing = [OSError(5, "Input/output error")] * 3

    def disk(fd: int) -> None:
        tries.release()
        if failing:
            raise failing.pop()
        sync(fd)
        synced.set()

    monkeypatch.setattr(os, "fdatasync", disk)
    told: list[str] = []
    writer = JournalWriter(tmp_path)
    syncing = Syncing(writer, told.append)
    syncing.adopt(1)
    writer.append(1, b"a record")
    syncing.start()
    assert synced.wait(20)
    syncing.stop()
    writer.append(1, b"another one")
    assert not failing
    assert len(told) == 1 and "Cannot sync the journal" in told[0]
    assert [tries.acquire(timeout=0) for _ in range(6)].count(True) == 4
    writer.close()


def test_a_gateway_that_syncs_every_record_rests_while_nobody_calls(tmp_path: Path) -> None:
    with Stack(tmp_path, CONFIG).served() as running:
        for _ in range(3):
            assert running.chat("sim").status == 200
        plane = psutil.Process(running.process(b"ferryman.edge"))
        before = plane.cpu_times()
        threading.Event().wait(2)
        after = plane.cpu_times()
        assert after.user + after.system - before.user - before.system < 1


SICK = """
import os, time
sync, told = os.fdatasync, {}
def fdatasync(fd):
    size = os.fstat(fd).st_size
    if os.path.exists(os.environ["SICK"]) and told.get(fd) != size:
        told[fd] = size
        time.sleep(float(os.environ.get("SLOW", 0)))
        raise OSError(5, "Input/output error")
    sync(fd)
os.fdatasync = fdatasync
"""


@pytest.mark.parametrize("disk", ["full", "sick"])
def test_a_gateway_that_syncs_every_record_refuses_calls_while_the_disk_does_not(
    tmp_path: Path, disk: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(SICK)
    sick = tmp_path / "sick"
    with Stack(tmp_path, CONFIG, PYTHONPATH=str(tmp_path), SICK=str(sick)).served() as running:
        assert running.chat("sim").status == 200
        pid = running.process(b"ferryman.edge")
        limit = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        if disk == "full":
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, limit[1]))
        else:
            sick.touch()
        for _ in range(5):
            reply = running.chat("sim")
            assert (reply.status, error_of(reply)["code"]) == (503, "gateway_journal_unavailable")
        sick.unlink(missing_ok=True)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limit)
        assert running.chat("sim").status == 200
        running.up.wait_for(r"the journal can be written again")


def test_a_call_that_was_read_before_its_sync_failed_is_closed_in_the_ledger(
    tmp_path: Path,
) -> None:
    (tmp_path / "sitecustomize.py").write_text(SICK)
    sick = tmp_path / "sick"
    env = {"PYTHONPATH": str(tmp_path), "SICK": str(sick), "SLOW": "1.5"}
    with Stack(tmp_path, CONFIG, **env).served() as running:
        assert running.chat("sim").status == 200
        running.forget()
        sick.touch()
        reply = running.chat("sim")
        assert (reply.status, error_of(reply)["code"]) == (503, "gateway_journal_unavailable")
        sick.unlink()
        row = running.row(reply)
        assert (row["state"], row["status"], row["cost_usd"]) == ("closed", 503, "0")
        assert running.stats()["requests"] == 0
