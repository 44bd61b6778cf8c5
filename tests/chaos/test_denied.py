"""The database refuses writes while calls are served, and nobody notices but the admin API."""

import uvloop
from soak import denied
from soak.plant import Plant

TABLES = ("calls", "journal_positions", "virtual_keys", "audit_log")


def test_calls_are_served_whichever_table_can_not_be_written(running: Plant) -> None:
    found = uvloop.run(denied.run(running, seed=5, tables=TABLES))
    assert found.met == list(TABLES)
    assert found.meanwhile >= len(TABLES) * denied.CALLS
    assert found.keys >= 3, "one neither made nor revoked, and one for want of its entry"
