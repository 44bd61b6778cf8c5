"""A backlog is taken in while calls are served."""

import uvloop
from soak import backlog
from soak.plant import Plant


def test_a_backlog_is_taken_in_while_calls_are_served(idle_plant: Plant) -> None:
    found = uvloop.run(backlog.run(idle_plant, calls=8_000, rate=50))
    assert found.served > 0, "it was over before a call came"
