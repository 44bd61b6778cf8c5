"""Killed processes, PostgreSQL's and Valkey too, leave counters that equal the ledger; and what may
not pass doesn't pass meanwhile."""

from pathlib import Path

import pytest
import uvloop
from soak import counting
from soak.plant import plant, postgresql

from tests.valkey import Server

pytestmark = pytest.mark.timeout(400)


def _found(
    folder: Path, mode: counting.Mode, database: str, *, kills: int, seed: int
) -> counting.Outcome:
    server = Server(folder, kept=True)
    try:
        with plant(counting.settings(server.url, mode), database) as place:
            return uvloop.run(counting.run(place.up(), server, mode, kills=kills, seed=seed))
    finally:
        server.end()


def test_counters_equal_the_ledger_whoever_is_killed(tmp_path: Path) -> None:
    with postgresql() as url:
        found = _found(tmp_path, counting.SHARED, url, kills=6, seed=6)
    assert found.kills == dict.fromkeys(counting.VICTIMS, 1)
    assert found.tally.whole > 100
    assert found.tally.lost > 0, "no call was under way at any kill: that proves little"
    assert found.budgets == 7


def test_no_budget_is_beaten_whoever_is_killed(tmp_path: Path) -> None:
    found = _found(tmp_path, counting.CLOSED, "", kills=4, seed=7)
    assert found.kills == dict.fromkeys(("wiped", "control", "valkey", "edge"), 1)
    assert found.reached > 1, "no budget was used up: that proves little"
    assert found.tally.over > 50
    assert found.tally.whole - found.tally.over - found.tally.unready > 100
