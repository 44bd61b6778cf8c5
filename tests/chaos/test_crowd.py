"""Crowds of streams and of silent connections, through one data plane."""

import uvloop
from soak import crowd
from soak.plant import Plant

KB_EACH = 64
"""Memory for one stream that leaves 5,000 of them below 400 MB."""


def test_streams_at_once_are_whole_and_cost_little(running: Plant) -> None:
    found = uvloop.run(crowd.streams(running, 500, words=24, tps=6))
    assert found.most_open == 500, "not all were open at the same time"
    assert found.kb_each <= KB_EACH
    assert found.longest_gap <= crowd.STALLED


def test_silent_connections_are_in_nobodys_way(running: Plant) -> None:
    found = uvloop.run(crowd.idle(running, 2000, calls=100))
    assert found.mb <= 2000 * 0.02


def test_it_survives_more_callers_than_files(running: Plant) -> None:
    found = uvloop.run(crowd.too_few(running, limit=120, callers=240))
    assert found.served + found.refused + found.hung_up == 240
    assert found.refused + found.hung_up > 0, "the limit was not reached"
