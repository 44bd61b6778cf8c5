"""A slice of the proof that a year's pages are quick (``soak/year.py``)."""

from soak import filling, year
from soak.town import DAY, Town

from ferryman.store import db, ledger, lookup


def test_pages_of_many_days_are_right_and_quick(url: str) -> None:
    found = year.run(url, calls=600_000, days=4, seed=7, hours=1)
    assert found.rows > 2_000
    assert max(found.pages.values()) < 5, found.pages


def test_calls_that_were_copied_in_add_up(url: str) -> None:
    end = 1_795_730_000
    town = Town(7, 2_000, end // DAY - 9, end)
    found = filling.fill(url, town, 2_000)
    filling.rush(url, town, found, 500)
    engine = db.open_engine(url)
    whole = ledger.total(ledger.usage(engine, by=("model",)))
    single = ledger.total(ledger.usage(engine, by=("team",)))  # which no sums have
    assert (whole.calls, whole.errors, whole.cost) == (single.calls, single.errors, single.cost)
    assert found.sums[""] | {"tokens": 0} == {
        "calls": whole.calls, "errors": whole.errors, "cost": whole.cost, "tokens": 0,
    }  # fmt: skip
    for name in ("request", "provider", "given up", "trace"):
        [call] = lookup.calls_of(engine, found.ids[name])
        assert call.request_id == found.ids["request"]
    engine.dispose()
