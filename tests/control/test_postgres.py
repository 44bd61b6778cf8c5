"""The control plane on PostgreSQL."""

import os
import signal

from ferryman.store.journal import JournalWriter
from tests.control.conftest import Start
from tests.store.conftest import postgres_server, postgres_url
from tests.store.samples import calls, put

__all__ = ["postgres_server", "postgres_url"]


def test_keys_and_ledger_live_in_postgresql(start: Start, postgres_url: str) -> None:
    control = start(FERRYMAN_DATABASE_URL=postgres_url).ready()
    assert not (control.data / "ferryman.db").exists()
    version, seq = control.settled()
    made = control.admin("POST", "/api/v1/keys", {"name": "shop"}).json()
    assert len(control.feed(version, seq, wait=20).keys_delta) == 64
    journal = JournalWriter(control.data / "journal" / "gateway")
    put(journal, calls(200))
    os.kill(control.process.popen.pid, signal.SIGKILL)
    control.process.wait()
    again = start(FERRYMAN_DATABASE_URL=postgres_url).ready()
    journal.close()
    answer = again.admin("GET", "/api/v1/usage?by=day&since=2026-11-01").json()
    assert answer["total"]["calls"] == 200
    names = {key["name"] for key in again.admin("GET", "/api/v1/keys").json()["data"]}
    assert names == {"first", "shop"}
    assert made["key"] not in "\n".join(control.process.lines + again.process.lines)


def test_a_server_that_is_away_is_told_and_worth_another_try(start: Start) -> None:
    url = "postgresql://nobody:secret-word@127.0.0.1:9/none"
    control = start(FERRYMAN_DATABASE_URL=url)
    assert control.process.wait() == 1, "1 and not 78: the supervisor tries again"
    said = "\n".join(control.process.lines)
    assert "127.0.0.1" in said
    assert "secret-word" not in said
