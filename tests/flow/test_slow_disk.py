"""A disk that does not take what a gateway keeps of its control plane's news."""

import os
from pathlib import Path

from tests.gateway import Stack
from tests.processes import until


def test_a_disk_that_hangs_keeps_no_revoked_key_alive(tmp_path: Path) -> None:
    """To open a named pipe that nobody reads takes as long as a write to a disk that hangs."""
    with Stack(tmp_path).served() as stack:
        changes = stack.data / "cache" / "keys.delta"
        until(changes.exists, "the first table on the disk")
        changes.unlink()
        os.mkfifo(changes)
        try:
            made = stack.admin("POST", "/api/v1/keys", {"name": "first"}).json()
            until(lambda: stack.get("/v1/models", made["key"]).status == 200, "the new key")
            assert stack.admin("DELETE", f"/api/v1/keys/{made['id']}").status == 200
            until(lambda: stack.get("/v1/models", made["key"]).status == 401, "its end")
        finally:
            reader = os.open(changes, os.O_RDONLY | os.O_NONBLOCK)
            until(lambda: _drained(reader), "the writes that waited")
            os.close(reader)


def _drained(reader: int) -> bytes:
    try:
        return os.read(reader, 65536)
    except BlockingIOError:
        return b""
