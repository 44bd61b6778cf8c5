"""Installations for the short slices of the proofs in ``soak/``."""

from collections.abc import Iterator

import pytest
from soak import crowd
from soak.plant import Plant, plant


@pytest.fixture
def idle_plant() -> Iterator[Plant]:
    """An installation that has not been started."""
    with plant() as made:
        yield made


@pytest.fixture
def running(idle_plant: Plant) -> Plant:
    """A ready installation, started with a low limit of open files."""
    with crowd.low_limit():
        return idle_plant.up()


@pytest.fixture(scope="session", autouse=True)
def many_files() -> None:
    """Callers need descriptors, too."""
    crowd.raise_limit()
