"""One gateway in front of one simulator, under a provider's name for each format."""

from collections.abc import Iterator

import pytest

from tests.gateway import Stack
from tests.matrix.cells import CONFIG, ENV


@pytest.fixture(scope="package")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The gateway, its grammar checker switched on."""
    running = Stack(tmp_path_factory.mktemp("matrix"), CONFIG, **ENV)
    try:
        yield running.ready()
        assert not running.complaints()
    finally:
        running.end()
