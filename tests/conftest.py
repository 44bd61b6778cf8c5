"""What all test folders share."""

from collections.abc import Iterator

import pytest

from tests.gateway import Stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A simulator and a whole Ferryman in front of it, for tests that leave them as they were."""
    running = Stack(tmp_path_factory.mktemp("stack"))
    try:
        yield running.ready()
        assert not running.complaints(), "the log of the whole session"
    finally:
        running.end()
