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


WHOLE = (
    "tests/chaos/", "tests/dashboard/test_roles.py", "tests/dashboard/test_walk.py", "tests/fuzz/",
    "tests/flow/test_access.py", "tests/flow/test_canary.py", "tests/flow/test_limits.py",
    "tests/flow/test_shared_limits.py", "tests/guard/", "tests/meter/", "tests/store/test_audit.py",
    "tests/store/test_failing_writes.py", "tests/store/test_vault.py", "tests/test_",
)  # fmt: skip
"""Files that CI runs whole: security, money and durability."""


def _run(nodeid: str, which: int, parts: int) -> bool:
    """Whether a test is in a slice; of those in ``SLOW``, half as many are."""
    if nodeid.startswith(WHOLE):
        return True
    parts *= 2 if nodeid.partition("::")[0] in SLOW else 1
    return crc32(nodeid.encode()) % parts == which


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """``FERRYMAN_SLICE=K/N`` runs the K-th N-th of the tests, and ``WHOLE``: CI has no time for
    all of them."""
    said = os.environ.get("FERRYMAN_SLICE", "0/1")
    which, parts = (int(each) for each in said.split("/"))
    dropped = [item for item in items if not _run(item.nodeid, which, parts)] if parts > 1 else []
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        gone = set(dropped)
        items[:] = [item for item in items if item not in gone]


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
