"""What planes tell each other of rests, without a server between them."""

from ferryman.routing.health import Health, Rest
from ferryman.routing.reactions import Reaction
from ferryman.routing.shared import Notice, Shared

LIMIT = Reaction("limit")


class Plane:
    """One side: its targets and keys, and what it tells at a moment."""

    def __init__(self, name: str) -> None:
        self.shared = Shared(name)
        self.targets = {"near/sim": Health()}
        self.keys: dict[str, Rest] = {}

    def news(self, now: float, most: int = 100) -> list[Notice]:
        return self.shared.news(self.targets, self.keys, now, most)

    def hears(self, notices: list[Notice], now: float) -> None:
        for notice in notices:
            self.shared.take_in(notice, self.targets.get, self.keys, now)


def fails(plane: Plane, reaction: Reaction, now: float, hint: float) -> None:
    rest = plane.keys.setdefault("k", Rest()) if reaction.scope == "key" else Rest()
    plane.targets["near/sim"].bad(reaction, "why", "k", rest, now, now, hint, 1.0)


def test_each_kind_of_rest_arrives_and_is_not_told_back() -> None:
    for scope in ("target", "limit", "key"):
        one, other = Plane("one"), Plane("other")
        fails(one, Reaction(scope, at_once=True), 100, hint=9)
        told = one.news(103)
        assert [(each.rounds, each.seconds, each.why) for each in told] == [(1, 6, "why")]
        one.hears(told, 103)
        other.hears(told, 5000)  # whose clock is another one
        health, key = other.targets["near/sim"], other.keys.get("k", Rest())
        assert health.resting("k", key).until == 5006
        assert one.news(103) == other.news(5000) == []


def test_the_end_of_a_rest_is_told_and_the_target_comes_back_slowly() -> None:
    one, other = Plane("one"), Plane("other")
    fails(one, Reaction("target", at_once=True), 100, hint=2)
    fails(one, LIMIT, 100, hint=5)
    other.hears(one.news(100), 100)
    one.targets["near/sim"].good("k", 0.1, 106, 106)
    told = one.news(106)
    assert {each.rounds for each in told} == {0}
    assert len(told) == 2
    other.hears(told, 106)
    health = other.targets["near/sim"]
    assert health.resting("k", Rest()).until == 0
    assert health.share(106) < 0.2
    assert other.news(106) == []


def test_a_trial_of_one_keeps_the_others_from_making_theirs() -> None:
    one, other = Plane("one"), Plane("other")
    fails(one, Reaction("target", at_once=True), 100, hint=2)
    other.hears(one.news(100), 100)
    one.targets["near/sim"].claim("k", Rest(), 103)
    other.hears(one.news(103), 103)
    assert other.targets["near/sim"].rest.until == 107


def test_a_rest_here_is_never_cut_short_by_another_ones() -> None:
    here = Plane("here")
    fails(here, Reaction("target", at_once=True), 100, hint=20)
    here.hears([Notice("there", "target\x1fnear/sim", 1.0, 1, "x")], 100)
    assert here.targets["near/sim"].rest.until == 120


def test_of_targets_that_are_not_in_use_here_nothing_is_told() -> None:
    one, other = Plane("one"), Plane("other")
    fails(one, Reaction("target", at_once=True), 100, hint=9)
    other.hears(one.news(100), 100)
    used, other.targets = other.targets, {}
    assert other.news(101) == [], "above all not that its rest has ended"
    other.targets = used
    assert other.news(102) == []
    used["near/sim"].good("k", 0.1, 110, 110)
    assert [each.rounds for each in other.news(110)] == [0]


def test_news_come_in_portions_and_nothing_is_lost() -> None:
    one = Plane("one")
    one.targets = {f"near/{n}": Health() for n in range(10)}
    for health in one.targets.values():
        health.bad(Reaction("target", at_once=True), "x", "k", Rest(), 1, 1, 9, 1.0)
    portions = [one.news(1, most=4) for _ in range(4)]
    assert [len(each) for each in portions] == [4, 4, 2, 0]
    assert len({each.name for portion in portions for each in portion}) == 10
    one.shared.forget()
    assert len(one.news(1)) == 10


def test_nonsense_changes_nothing() -> None:
    here = Plane("here")
    here.hears([
        Notice("x", "target", 9.0, 1), Notice("x", "", 9.0, 1), Notice("x", "limit\x1fa", 9.0, 1),
        Notice("x", "target\x1fnobody/x", 9.0, 1), Notice("x", "key\x1fa\x1fb", 9.0, 1),
        Notice("x", "target\x1f" + "y" * 600, 9.0, 1), Notice("x", "limit\x1fnobody\x1fk", 9.0, 1),
    ], 1)  # fmt: skip
    assert here.news(1) == []
    assert not here.keys
    here.hears([Notice("x", "target\x1fnear/sim", -5.0, 10**9, "z" * 999)], 1)
    rest = here.targets["near/sim"].rest
    assert (rest.until, rest.rounds, len(rest.why)) == (1, 64, 100)
