"""Providers and control planes that go away, come back, or talk rubbish."""

import uvloop
from soak import outages
from soak.plant import Plant


def test_a_provider_goes_away_and_returns(running: Plant) -> None:
    found = uvloop.run(outages.upstream(running))
    assert found.cut == outages.STREAMS


def test_a_data_plane_with_the_wrong_feed_token_says_so_and_serves_on(idle_plant: Plant) -> None:
    uvloop.run(outages.wrong_token(idle_plant))


def test_a_data_plane_alone_knows_what_it_knew(idle_plant: Plant) -> None:
    assert uvloop.run(outages.alone(idle_plant)) == 4


def test_a_data_plane_outlives_a_control_plane_gone_mad(idle_plant: Plant) -> None:
    answers = uvloop.run(outages.mad_control(idle_plant, seed=7))
    assert answers >= 2 * len(outages.rubbish(7))
