"""Killed processes, PostgreSQL's and Valkey too, leave counters that equal the ledger; and what may
not pass doesn't pass meanwhile."""

from pathlib import Path

import pytest
import uvloop
from soak import counting
from soak.plant import plant, postgresql

from tests.valkey import Server


@pytest.mark.timeout(400)
def test_counters_equal_the_ledger_and_no_budget_is_beaten_whoever_is_killed(
    tmp_path: Path,
) -> None:
    mode, server = counting.CLOSED, Server(tmp_path, kept=True)
    try:
        with postgresql() as url, plant(counting.settings(server.url, mode), url) as place:
            run = counting.run(place.up(), server, mode, kills=7, seed=8, callers=24)
            found = uvloop.run(run)
    finally:
        server.end()
    assert found.kills.keys() == counting.VICTIMS.keys()
    assert found.reached > 1, "no budget was used up: that proves little"
    assert found.tally.whole - found.tally.over - found.tally.unready > 100
    assert found.budgets > 5 + found.reached
