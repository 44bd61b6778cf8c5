"""Orders to clear the cache: heard once by those who follow, in their order, whatever the clock."""

import time

import pytest
from sqlalchemy import Engine

from ferryman.cache.key import choice
from ferryman.store.clears import KEPT, order, order_seq, orders_since
from ferryman.store.db import writing
from ferryman.store.schema import meta


def test_orders_are_heard_once(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (order_seq(engine), orders_since(engine, 0)) == (0, (0, []))
    some, everything = choice("key_1", None, "nightly"), choice(None, None, None)
    first = order(engine, some)
    assert first >= time.time_ns() // 1_000_000 - 1000
    assert orders_since(engine, 0) == (first, [tuple(some)])
    monkeypatch.setattr(time, "time_ns", lambda: 5)  # the clock was put back
    second = order(engine, everything)
    assert second == first + 1 == order_seq(engine)
    assert orders_since(engine, first) == (second, [tuple(everything)])
    assert orders_since(engine, second) == (second, [])
    third = order(engine, some)
    assert orders_since(engine, second) == (third, [tuple(some)])
    _, ahead = orders_since(engine, third + 1)
    assert sorted(ahead) == sorted([tuple(some), tuple(everything)]), "all, after a restore"


def test_old_orders_are_forgotten(engine: Engine) -> None:
    order(engine, choice("a", None, None))
    with writing(engine) as connection:
        old = meta.update().where(meta.c.name.startswith("clear:"))
        connection.execute(old.values(value=meta.c.value - KEPT - 1))
    latest = order(engine, choice("b", None, None))
    assert orders_since(engine, 0) == (latest, [tuple(choice("b", None, None))])
