"""What all test folders share."""

import os
from collections.abc import Iterator
from zlib import crc32

import pytest
from hypothesis import HealthCheck, settings

from tests.gateway import Stack
from tests.matrix.cells import CONFIG as FORMATS
from tests.matrix.cells import ENV

# How fast examples are made says more of the machine's load than of the code; and what CI finds,
# it has to find again.
settings.register_profile(
    "here",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
)
settings.load_profile("here")


SLOW = frozenset((
    "tests/cli/test_commands.py", "tests/cli/test_up.py", "tests/config/test_schema.py",
    "tests/control/test_admin.py", "tests/control/test_changes.py",
    "tests/control/test_configuration.py", "tests/control/test_feed.py",
    "tests/control/test_ledger.py", "tests/flow/test_cache_faults.py",
    "tests/flow/test_cache_shared.py", "tests/flow/test_fault_callers.py",
    "tests/flow/test_fault_rescue.py", "tests/flow/test_fault_wall.py",
    "tests/flow/test_overload.py", "tests/flow/test_timeouts.py", "tests/simulator/test_api.py",
    "tests/store/test_db.py",
))  # fmt: skip
"""Files whose tests take longest, most of them since each starts a whole installation."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """CI runs a slice of what takes long, and another one compiled: ``FERRYMAN_SLICE`` is
    ``K/N`` for the K-th N-th of the tests in ``SLOW``, or ``all:K/N`` for that of all tests."""
    said = os.environ.get("FERRYMAN_SLICE", "")
    which, parts = (int(each) for each in said.removeprefix("all:").split("/")) if said else (0, 1)
    dropped = [
        item
        for item in items
        if (said.startswith("all:") or item.nodeid.partition("::")[0] in SLOW)
        and crc32(item.nodeid.encode()) % parts != which
    ]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if item not in set(dropped)]


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
