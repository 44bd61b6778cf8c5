"""Killed planes lose nothing that was answered, and count nothing twice."""

import uvloop
from soak import kills
from soak.plant import Plant

from tests.processes import until


def test_every_whole_answer_is_in_the_ledger_once_whoever_is_killed(running: Plant) -> None:
    found = uvloop.run(kills.run(running, kills=8, seed=20261122))
    assert sum(found.kills.values()) == 8
    assert found.kills.keys() == {"edge", "control", "both", "supervisor"}
    assert found.tally.whole > 100
    assert found.tally.streams > 20
    assert found.tally.lost > 0, "no call was under way at any kill: that proves little"
    assert found.tally.lost + found.tally.unseen < found.tally.rows
    assert found.keys >= 8
    until(lambda: len(running.segments()) == 1, "the deletion of journals that are in the ledger")
