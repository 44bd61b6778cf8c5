"""What all test folders share."""

import os
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import HealthCheck, settings

from tests.gateway import Stack
from tests.matrix.cells import CONFIG as FORMATS
from tests.matrix.cells import ENV
from tests.tree import ROOT

# How fast examples are made says more of the machine's load than of the code; and what CI finds,
# it has to find again.
settings.register_profile(
    "here",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
)
settings.load_profile("here")


WHOLE = (
    "tests/flow/test_access.py", "tests/flow/test_limits.py", "tests/meter/",
    "tests/store/test_audit.py", "tests/store/test_vault.py", "tests/test_",
)  # fmt: skip
"""Files that CI runs with each commit: security and money;"""
OFTEN = (
    "tests/chaos/", "tests/dashboard/test_roles.py", "tests/dashboard/test_walk.py", "tests/fuzz/",
    "tests/flow/test_canary.py", "tests/flow/test_shared_limits.py", "tests/guard/",
    "tests/store/test_failing_writes.py",
)  # fmt: skip
"""and with every second one: they take longer."""


SLICE, SLICES = (int(each) for each in os.environ.get("FERRYMAN_SLICE", "0/1").split("/"))
"""``FERRYMAN_SLICE=K/N`` runs the K-th N-th of the files, ``WHOLE``, and half of ``OFTEN``: all
would take too long."""


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Whole files, since tests of a file share an installation, and some what others left there."""
    name = collection_path.relative_to(ROOT).as_posix()
    return None if not name.endswith(".py") or runs(name, SLICE, SLICES) else True


def runs(name: str, part: int, parts: int) -> bool:
    """Whether the file is run in that part of all."""
    turn = crc32(name.encode()) % parts
    return (
        turn == part or name.startswith(WHOLE) or (name.startswith(OFTEN) and turn % 2 == part % 2)
    )


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A simulator and a whole Ferryman in front of it, for tests that leave them as they were."""
    running = Stack(tmp_path_factory.mktemp("stack"))
    try:
        yield running.ready()
        assert not running.complaints(), "the log of the whole session"
    finally:
        running.end()


@pytest.fixture(scope="session")
def formats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A gateway in front of one simulator, which is a provider of every format.

    The grammar of answers is checked between every decoder and encoder.
    """
    with Stack(tmp_path_factory.mktemp("formats"), FORMATS, **ENV).served() as running:
        yield running
