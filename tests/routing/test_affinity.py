"""Bonds of calls that belong together, and quotas as replies tell of them."""

import pytest

from ferryman.routing.affinity import Bond, Bonds
from ferryman.routing.health import Health
from ferryman.routing.quota import remaining


def test_a_bond_lasts_as_long_as_the_cache() -> None:
    bonds = Bonds()
    bonds.keep(b"x", Bond("a/m", 9, 1, 50.0))
    bond = bonds.get(b"x", 49.9)
    assert bond is not None
    assert (bond.target, bond.tokens, bond.cost) == ("a/m", 9, 1)
    assert bonds.get(b"x", 50.0) is None
    assert bonds.get(b"y", 1.0) is None


def test_the_oldest_bonds_make_room_and_those_in_use_stay() -> None:
    bonds = Bonds(3)
    for name in (b"a", b"b", b"c"):
        bonds.keep(name, Bond("t/m", 0, None, 9.0))
    bonds.keep(b"a", Bond("t/m", 0, None, 9.0))
    bonds.keep(b"d", Bond("t/m", 0, None, 9.0))
    assert len(bonds) == 3
    assert bonds.get(b"b", 0) is None
    assert bonds.get(b"a", 0) is not None


@pytest.mark.parametrize(
    ("headers", "share"),
    [
        ({}, -1),
        ({b"x-ratelimit-limit-requests": b"50", b"x-ratelimit-remaining-requests": b"20"}, 0.4),
        (
            {b"x-ratelimit-limit-requests": b"50", b"x-ratelimit-remaining-requests": b"20",
             b"x-ratelimit-limit-tokens": b"1000", b"x-ratelimit-remaining-tokens": b"100"}, 0.1,
        ),
        (
            {b"anthropic-ratelimit-input-tokens-limit": b"200",
             b"anthropic-ratelimit-input-tokens-remaining": b"150",
             b"anthropic-ratelimit-input-tokens-reset": b"2026-01-01T00:00:00Z"}, 0.75,
        ),
        ({b"ratelimit-limit": b"10", b"ratelimit-remaining": b"0"}, 0),
        ({b"x-ratelimit-limit-requests": b"0", b"x-ratelimit-remaining-requests": b"0"}, -1),
        ({b"x-ratelimit-remaining-requests": b"20"}, -1),
        ({b"x-ratelimit-limit-requests": b"5", b"x-ratelimit-remaining-requests": b"-1"}, -1),
        ({b"x-ratelimit-limit-requests": b"5", b"x-ratelimit-remaining-requests": b"many"}, -1),
        ({b"x-ratelimit-limit-requests": b"5", b"x-ratelimit-remaining-requests": b"9" * 400}, -1),
        ({b"x-ratelimit-limit-requests": b"5", b"x-ratelimit-remaining-requests": b"9"}, 1),
    ],
)  # fmt: skip
def test_what_is_left_of_a_limit(headers: dict[bytes, bytes], share: float) -> None:
    assert remaining(headers.items()) == share


def test_what_is_used_up_is_the_mean_of_the_keys() -> None:
    health = Health()
    health.left("k1", 0.5, 3.0)
    health.left("k2", 1.0, 4.0)
    health.left("k1", 0.1, 5.0)
    assert (health.used, health.used_at) == (pytest.approx(0.45), 5.0)


def test_long_answers_say_how_long_a_token_takes_and_short_ones_the_first() -> None:
    health = Health()
    assert not health.answered(3, 0.5, True, 1.0)
    health.good("k", 0.5, 0.5, 1.0)
    assert health.answered(100, 2.5, True, 1.0)
    assert health.token.expected(1.0) == pytest.approx(0.02), "less the first token's time"
    health.good("k", -1, 0.5, 1.0)
    assert health.pace.expected(1.0) == 0.5, "and the first token's time stays as it was"
    assert health.answered(100, 4.0, False, 1.0)
    assert health.token.expected(1.0) == pytest.approx(0.04), "of a stream, from its first token on"
