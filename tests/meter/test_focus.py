"""Charges as FOCUS rows: judged by the specification's own table, and equal to the costs."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

from ferryman.ir.price import Price, Rate, Special
from ferryman.ir.usage import Extras, Usage
from ferryman.meter.cost import Prices, cost
from ferryman.meter.focus import COLUMNS, Charged, Focus
from tests.meter.focus_spec import violations

AT = int(datetime(2026, 12, 31, 23, 30, tzinfo=UTC).timestamp())
RATE = Rate(input=800_000, cache_read=80_000, output=4_000_000, reasoning=4_000_000,
            request=10**9, search=8 * 10**9, audio_hour=36 * 10**10)  # fmt: skip
DEAR = Rate(input=1_600_000, cache_read=160_000, output=8_000_000, reasoning=8_000_000)
PRICE = Price(
    tiers=((-1, RATE), (200_000, DEAR)),
    specials=(Special(service="flex", tiers=((-1, Rate(input=400_000, output=2_000_000)),)),),
    regions=(("us", 1100),),
)
LIST = Price(tiers=((-1, Rate(input=10**6, cache_read=10**5, output=5 * 10**6)),))
USES = [
    Usage(input=1000, cache_read=333, output=77, reasoning=9),
    Usage(input=1000, output=1),
    Usage(input=300_000, output=10),
    Usage(input=5, output=5, extras=Extras(service="flex")),
    Usage(input=7, output=3, extras=Extras(region="us", searches=2, audio_ms=61_001)),
]


def listed(provider: str, _model: str) -> Prices:
    return (LIST,) if provider == "lab" else ()


def rows(focus: Focus) -> list[dict[str, str | None]]:
    return [dict(zip(COLUMNS, row, strict=True)) for row in focus.rows()]


def filled(seconds: int = 3600) -> Iterator[tuple[Focus, int]]:
    focus = Focus(seconds, {"key_1": "shop"}.get, listed)  # type: ignore[arg-type]
    assert not list(focus.turn(AT))
    total = 0
    for number, usage in enumerate(USES * 3):
        extras = usage.extras or Extras()
        provider = ("lab", "other")[number % 2]
        tags = '{"team":"red","batch":true}' if number % 3 else ""
        of = Charged(provider, "m-1", "key_1", extras.service, extras.region, tags)
        paid = cost(usage, (PRICE,), AT)
        assert paid is not None
        focus.add(of, AT + number, paid, usage, "p1", (PRICE,))
        total += paid
    focus.add(Charged("lab", "m-1", "key_1", "", "", ""), AT, 12345, None, "", ())
    yield focus, total + 12345


def test_rows_follow_the_specification_and_add_up_to_the_costs() -> None:
    for seconds in (3600, 86_400):
        for focus, total in filled(seconds):
            found = rows(focus)
            assert violations(list(COLUMNS), found) == []
            for name in ("BilledCost", "EffectiveCost", "ContractedCost"):
                assert sum(Decimal(row[name] or "") for row in found) == Decimal(total).scaleb(-12)
            assert {row["BillingPeriodEnd"] for row in found} == {"2027-01-01T00:00:00Z"}
            assert rows(focus) == [], "what was told is not told again"


def test_a_discount_shows_between_list_and_contracted_cost() -> None:
    for focus, _ in filled():
        found = [row for row in rows(focus) if row["SkuId"] == "lab/m-1/input"
                 and row["ContractedUnitPrice"] == "0.8" and row["Tags"] is None]  # fmt: skip
        [row] = found
        assert (row["ListUnitPrice"], row["PricingUnit"]) == ("1", "1000000 Tokens")
        tokens = Decimal(row["ConsumedQuantity"] or "")
        assert Decimal(row["PricingQuantity"] or "") == tokens / 10**6
        assert Decimal(row["ListCost"] or "") == tokens / 10**6
        assert Decimal(row["EffectiveCost"] or "") == tokens * Decimal("0.8") / 10**6
        assert (row["SubAccountName"], row["x_Model"]) == ("shop", "m-1")


def test_a_period_ends_where_the_next_begins() -> None:
    for focus, _ in filled():
        assert list(focus.turn(AT + 60)) == []
        told = list(focus.turn(AT + 3600))
        assert told
        assert focus.begin == AT - AT % 3600 + 3600


def test_the_judge_finds_what_is_wrong() -> None:
    for focus, _ in filled():
        row = rows(focus)[0]
        for name, bad in (("BilledCost", None), ("PricingQuantity", "1/2"), ("ChargeClass", ""),
                          ("ChargePeriodStart", "2026-12-31"), ("ContractedCost", "9"),
                          ("Tags", '{"a": []}'), ("ChargeCategory", "Other")):  # fmt: skip
            assert violations(list(COLUMNS), [{**row, name: bad}]), name
        assert violations([*COLUMNS, "Model"], [row]) == [
            "Model is no column of FOCUS, and does not begin with x_"
        ]
        assert violations([n for n in COLUMNS if n != "ListCost"], []) == ["ListCost is missing"]
