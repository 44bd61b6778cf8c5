"""The memory of answers keeps to its size and their time."""

from msgspec.structs import replace

from ferryman.cache.answer import Answer
from ferryman.cache.key import choice, key_of
from ferryman.cache.shelf import Shelf
from ferryman.flow.replay import young


def answer(size: int = 1000, until: float = 100.0) -> Answer:
    return Answer(b"", b"x" * size, False, "lab/sim", 5, 0.0, until)


def test_the_least_used_goes_first() -> None:
    shelf = Shelf(3 * answer().size)
    for name in (b"a", b"b", b"c"):
        shelf.put(name, answer())
    assert shelf.get(b"a", 1)
    shelf.put(b"d", answer())
    assert shelf.get(b"b", 1) is None
    assert all(shelf.get(name, 1) for name in (b"a", b"c", b"d"))
    assert shelf.size == 3 * answer().size
    shelf.put(b"d", answer(10))
    assert shelf.size == 2 * answer().size + answer(10).size
    shelf.put(b"huge", answer(10_000))
    assert (len(shelf), shelf.size) == (3, 2 * answer().size + answer(10).size)


def test_what_has_expired_is_not_there() -> None:
    shelf = Shelf(10_000)
    shelf.put(b"a", answer(until=10))
    assert shelf.get(b"a", 9.9)
    assert shelf.get(b"a", 10) is None
    assert shelf.size == 0


def test_less_room_is_made_at_once() -> None:
    shelf = Shelf(10_000)
    shelf.put(b"a", answer())
    shelf.put(b"b", answer())
    shelf.resize(answer().size)
    assert shelf.get(b"a", 1) is None
    assert shelf.get(b"b", 1)
    shelf.resize(0)
    assert shelf.size == 0


def test_what_is_cleared_is_gone_and_what_was_on_its_way_is_not_kept() -> None:
    shelf = Shelf(10_000)
    mine, other = (key_of(name, b"m", b"", b"") for name in (b"me", b"you"))
    shelf.put(mine, answer())
    shelf.put(other, answer())
    asked_before = shelf.cleared
    shelf.clear(choice("me", None, None))
    assert shelf.get(mine, 1) is None
    assert shelf.get(other, 1)
    shelf.put(mine, answer(), asked_before)
    assert shelf.get(mine, 1) is None
    shelf.put(mine, answer(), shelf.cleared)
    assert shelf.get(mine, 1)
    shelf.clear(choice(None, None, None))
    assert (len(shelf), shelf.size) == (0, 0)


def test_an_answer_from_a_time_to_come_is_not_believed() -> None:
    """The clock was put back: nobody knows how old it is."""
    kept = replace(answer(), at=5000.0, until=9000.0)
    assert young(kept, -1, 6000.0)
    assert young(kept, -1, 4990.0), "clocks are put right by a little"
    assert not young(kept, -1, 1000.0)
    assert young(kept, None, 1000.0), "for an Idempotency-Key it is the answer, whatever its age"
    assert young(kept, 100, 5099.0)
    assert not young(kept, 100, 5100.0)
    assert not young(kept, 0, 5000.0)
