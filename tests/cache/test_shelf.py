"""The memory of answers keeps to its size and their time."""

from ferryman.cache.answer import Answer
from ferryman.cache.shelf import Shelf


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
    assert (len(shelf), shelf.size) == (0, 0)


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
