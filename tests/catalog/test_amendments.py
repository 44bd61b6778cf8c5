"""Prices that are amended: what each row changes, and when."""

from datetime import UTC, date, datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from itertools import pairwise

import pytest

from ferryman.catalog import prices
from ferryman.catalog.amendments import Amendment, amended, amendments, days, regional
from ferryman.catalog.load import models, providers
from ferryman.ir.price import Price, Rate
from ferryman.meter.cost import rate_at


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


ROWS = amendments()
SERVED = {
    "whisper-*": "whisper-large-v3",
    "imagen-3.0-generate-*": "imagen-3.0-generate-002",
    "imagen-3.0-fast-generate-*": "imagen-3.0-fast-generate-001",
    "stability.stable-image-core-v1:?": "stability.stable-image-core-v1:1",
    "stability.stable-image-ultra-v1:?": "stability.stable-image-ultra-v1:1",
}


@pytest.mark.parametrize("row", ROWS, ids=[f"{r.models[0]} {r.why[:30]}" for r in ROWS])
def test_every_row_says_where_it_is_from_and_is_needed(row: Amendment) -> None:
    """A row that changes nothing any more has to go."""
    assert row.source.startswith("https://") and row.why
    assert date(2026, 11, 1) <= date.fromisoformat(row.checked) <= date.today()
    names = [
        (provider, model)
        for provider in row.providers
        for model in models()[provider]
        if any(fnmatchcase(model, pattern) for pattern in row.models)
    ]
    if row.hosts:
        host = row.hosts[0].replace("*", "eu").replace("??", "eu")
        assert any(regional(*name, host) == row.per_cent != 100 for name in names)
        return
    # Models that the sources don't list, but their provider serves.
    names += [(row.providers[0], SERVED.get(row.models[0], row.models[0]))]
    others = tuple(each for each in ROWS if each is not row)
    changed = [n for n in names if prices.lookup(*n) != _by(others, *n)]
    assert changed, "it changes nothing"


def _by(rows: tuple[Amendment, ...], provider: str, model: str) -> tuple[Price, ...]:
    return amended(provider, model, prices.of_genai(provider, model), rows)


def test_rows_name_providers() -> None:
    assert {name for row in ROWS for name in row.providers} <= providers().keys()


def test_a_price_of_ones_own_replaces_another_within_its_time() -> None:
    row = Amendment(
        providers=("p",), models=("m*",), source="", checked="", why="", whole=True,
        since="2026-03-01", until="2026-05-01T12:00",
        usd={"input": Decimal(2), "output": Decimal(4)},
    )  # fmt: skip
    found = (Price(until=at("2026-04-01"), tiers=((-1, Rate(input=1)),)),
             Price(since=at("2026-04-01"), tiers=((-1, Rate(input=3)),)))  # fmt: skip
    got = amended("p", "model", found, (row,))
    assert [(p.since, p.until) for p in got] == [
        (0, at("2026-03-01")),
        (at("2026-03-01"), at("2026-05-01T12:00")),
        (at("2026-05-01T12:00"), 0),
    ]
    assert [p.tiers[0][1].input for p in got] == [1, 2_000_000, 3]
    assert got[1].tiers[0][1].reasoning == 4_000_000, "as output"
    assert amended("p", "other", found, (row,)) == found
    assert [p.tiers[0][1].input for p in amended("p", "m", (), (row,))] == [2_000_000]


def test_amounts_change_where_prices_are() -> None:
    row = Amendment(providers=("p",), models=("m",), source="", checked="", why="",
                    since="2026-03-01", usd={"request": Decimal(1)})  # fmt: skip
    found = (Price(tiers=((-1, Rate(input=1, request=7, request_low=7, request_medium=7)),)),)
    before, after = amended("p", "m", found, (row,))
    assert (before.until, after.since) == (at("2026-03-01"), at("2026-03-01"))
    rate = after.tiers[0][1]
    assert (rate.input, rate.request, rate.request_low, rate.request_medium) == (1, *[10**12] * 3)
    assert amended("p", "m", (), (row,)) == (), "what has no price gets none by it"


def test_days_of_the_week() -> None:
    assert [days(text) for text in ("", "mon", "mon-fri", "sat-sun", "sun-mon", "fri-tue")] == [
        0b1111111, 0b1, 0b11111, 0b1100000, 0b1000001, 0b1110011,
    ]  # fmt: skip


def test_periods_never_overlap_and_have_no_gaps_but_before_the_first() -> None:
    for provider, rows in models().items():
        for model in rows:
            found = prices.lookup(provider, model)
            for one, other in pairwise(found):
                assert one.until == other.since, (provider, model)
            if found:
                assert found[-1].until == 0
                assert rate_at(found, 1_800_000_000, 0) is not None
