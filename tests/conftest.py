"""What all test folders share."""

import os
from collections.abc import Iterator

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
