"""A slice of the proof of pages on a large ledger, and of what viewers cost (``soak/pages.py``)."""

from pathlib import Path

import pytest
from soak import pages, viewers


@pytest.mark.timeout(400)
def test_every_page_answers_and_every_sum_is_exact(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    with pages.installed(url, 20_000, 30, seed=7) as (place, filled):
        caller = pages.address(place.up())
        found = pages.ask(place, filled, caller, [], rounds=1)
        beside = viewers.cost(
            place, caller, tmp_path, viewers=3, connections=8, rounds=1, seconds=1
        )
    assert found.compared == 1 + 24 + 12 + 30, "all, by model, by team, by day"
    assert len(found.lags) == pages.LIVE
    shown = pages.facts(found)
    assert {each.question.name for each in found.timed} <= shown.keys()
    assert len(shown) == len(found.timed) + 4, "each question has a line of its own"
    assert beside.events >= beside.viewers and beside.ratio > 0
