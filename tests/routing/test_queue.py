"""Places and the queue for them: order, fairness, bounds, and nobody lost, over many seeds."""

import random
from collections import Counter

import pytest

from ferryman.routing.queue import Line, Ticket

SEEDS = 300


def waiter(line: Line, key: str = "k", cost: float = 1.0) -> tuple[Ticket, list[str]]:
    told: list[str] = []
    ticket = Ticket(key, cost, told.append)
    last = line.join(ticket)
    if last is not None:
        last.tell("full")
    return ticket, told


def free(line: Line, seconds: float = 1.0) -> Ticket | None:
    line.leave(seconds)
    return line.next()


def test_places_go_to_whoever_came_first() -> None:
    line = Line(2, 10, 1.0, fair=False)
    assert line.take()
    assert line.take()
    assert not line.take()
    tickets = [waiter(line, key)[0] for key in "aab"]
    assert [free(line) for _ in range(4)] == [*tickets, None]
    assert line.at_work == 1
    assert line.take(), "nobody waits any more"


def test_nobody_passes_those_who_wait_when_places_are_added() -> None:
    line = Line(1, 10, 1.0, fair=False)
    assert line.take()
    ticket, _ = waiter(line)
    line.most = 5
    assert not line.take(), "one is waiting"
    assert line.next() is ticket
    assert line.take()


def test_the_wait_that_is_expected_follows_the_pace() -> None:
    line = Line(4, 100, 1.0, fair=False)
    for _ in range(4):
        line.take()
    assert line.expects("k") == 0, "nothing is known yet"
    for _ in range(8):
        waiter(line)
        free(line, 2.0)
    for _ in range(7):
        waiter(line)
    assert line.expects("k") == pytest.approx(8 * 2.0 / 4)
    for _ in range(60):
        waiter(line)
        free(line, 0.5)
    assert line.expects("k") == pytest.approx(8 * 0.5 / 4, rel=0.01)


def served(line: Line, calls: int) -> Counter[str]:
    """Tokens by key of the next ``calls`` calls that get places."""
    found: Counter[str] = Counter()
    for _ in range(calls):
        ticket = free(line)
        assert ticket is not None
        found[ticket.key] += int(ticket.cost)
    return found


def test_fair_gives_each_key_as_many_tokens_as_any_other() -> None:
    line = Line(1, 1000, 1.0, fair=True)
    line.take()
    for _ in range(400):
        waiter(line, "crowd", 100)
    for _ in range(200):
        waiter(line, "long", 400)
    for _ in range(20):
        waiter(line, "rare", 100)
    assert served(line, 55)["rare"] >= 1900, "it hardly waits behind the other two"
    tokens = served(line, 300)
    assert tokens["long"] == pytest.approx(tokens["crowd"], rel=0.05)


def test_a_first_come_queue_lets_a_crowd_through_first() -> None:
    """The same as above, to show that it is the order that is fair and not the numbers."""
    line = Line(1, 1000, 1.0, fair=False)
    line.take()
    for _ in range(400):
        waiter(line, "crowd", 100)
    waiter(line, "rare", 100)
    assert served(line, 400)["rare"] == 0


def test_who_has_more_waiting_than_its_share_gives_way_in_a_full_queue() -> None:
    line = Line(1, 10, 1.0, fair=True)
    line.take()
    crowd = [waiter(line, "crowd", 100)[1] for _ in range(10)]
    _, told = waiter(line, "crowd", 100)
    assert told == ["full"], "its own eleventh"
    _, told = waiter(line, "rare", 100)
    assert told == []
    assert [len(one) for one in crowd] == [0] * 9 + [1], "the last of the crowd gave way"
    assert line.waiting == 10


def test_a_caller_who_leaves_costs_its_key_nothing() -> None:
    line = Line(1, 100, 1.0, fair=True)
    line.take()
    waiter(line, "other", 10)
    for _ in range(50):
        line.drop(waiter(line, "patience", 1000)[0])
    waiter(line, "other", 10)
    mine, _ = waiter(line, "patience", 10)
    assert [free(line), free(line)][1] is mine


def test_nothing_is_remembered_once_there_is_enough_for_all() -> None:
    line = Line(1, 100, 1.0, fair=True)
    line.take()
    waiter(line, "a", 1_000_000)
    free(line)
    assert line.waiting == 0
    first, _ = waiter(line, "a", 1)
    waiter(line, "b", 1)
    assert free(line) is first, "the million is forgotten"


@pytest.mark.parametrize("fair", [False, True])
def test_bounds_hold_and_nobody_is_lost_whatever_happens(fair: bool) -> None:
    for seed in range(SEEDS):
        rng = random.Random(seed)
        line = Line(rng.randint(1, 5), rng.randint(0, 8), 1.0, fair)
        waiting: dict[Ticket, list[str]] = {}
        at_work = 0
        for _ in range(200):
            step = rng.random()
            if step < 0.5:
                if line.take():
                    at_work += 1
                else:
                    ticket, told = waiter(line, rng.choice("abc"), rng.randint(1, 999))
                    waiting[ticket] = told
            elif step < 0.6 and waiting:
                gone = rng.choice(list(waiting))
                line.drop(gone)
                waiting.pop(gone)
            elif step < 0.62:
                line.most = rng.randint(1, 5)
            elif at_work:
                at_work -= 1
                line.leave(rng.random())
            while (ticket := line.next()) is not None:
                told = waiting.pop(ticket)
                assert told == [], seed
                at_work += 1
            waiting = {ticket: told for ticket, told in waiting.items() if not told}
            assert line.at_work == at_work, seed
            assert line.waiting == len(waiting) <= max(line.length, 0), seed
            assert not waiting or at_work >= line.most, f"{seed}: a place is free, and one waits"
