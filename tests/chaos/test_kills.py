"""Killed processes lose nothing that was answered, count nothing twice, and leave nothing held; and
a database that can't be written is in nobody's way."""

from collections.abc import Iterator

import pytest
import uvloop
from soak import denied, kills
from soak.books import LIMITS
from soak.plant import Plant, plant

from tests.processes import until

TABLES = ("calls", "journal_positions", "virtual_keys", "audit_log")


@pytest.fixture(scope="module")
def budgeted() -> Iterator[Plant]:
    """A ready installation with budgets. PostgreSQL is in ``test_counting.py``."""
    with plant(LIMITS) as made:
        yield made.up()


def test_every_whole_answer_is_in_the_ledger_once_whoever_is_killed(budgeted: Plant) -> None:
    found = uvloop.run(kills.run(budgeted, kills=6, seed=20261122))
    assert sum(found.kills.values()) == 6
    assert found.kills.keys() >= {"edge", "control", "both", "supervisor"}
    assert found.tally.whole > 100
    assert found.tally.streams > 20
    assert found.tally.lost > 0, "no call was under way at any kill: that proves little"
    assert found.tally.lost + found.tally.unseen < found.tally.rows
    assert found.counters >= 5, "dollars and tokens of all, dollars of each model"
    assert found.keys >= 6
    until(lambda: len(budgeted.segments()) == 1, "the deletion of journals that are in the ledger")


def test_calls_are_served_whichever_table_can_not_be_written(budgeted: Plant) -> None:
    found = uvloop.run(denied.run(budgeted, seed=5, tables=TABLES))
    assert found.met == list(TABLES)
    assert found.meanwhile >= len(TABLES) * denied.CALLS
    assert found.keys >= 3, "one neither made nor revoked, and one for want of its entry"
