"""Killed data planes, control planes and Valkey leave counters that equal the ledger."""

from pathlib import Path

import uvloop
from soak import counting
from soak.plant import plant

from tests.valkey import Server


def test_counters_equal_the_ledger_whoever_is_killed(tmp_path: Path) -> None:
    server = Server(tmp_path, kept=True)
    try:
        with plant(counting.settings(server.url)) as place:
            found = uvloop.run(counting.run(place.up(), server, kills=12, seed=6))
    finally:
        server.end()
    assert sum(found.kills.values()) == 12
    assert found.kills.keys() == counting.VICTIMS.keys()
    assert found.tally.whole > 100
    assert found.tally.lost > 0, "no call was under way at any kill: that proves little"
    assert found.budgets == 6
