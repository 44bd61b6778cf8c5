"""Prices in the snapshot: the catalogue's, what is paid of them, and one's own."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from ferryman.catalog import prices as catalogue_prices
from ferryman.config.snapshot import ModelRow
from ferryman.ir.price import Price, Rate, scaled
from ferryman.ir.usage import Extras, Usage
from ferryman.meter.cost import DAY, cost, rate_at
from tests.config.test_compile import compiled, row_of


def test_own_prices_are_counted_exactly(tmp_path: Path) -> None:
    snapshot = compiled(
        tmp_path,
        """\
providers:
  openai:
    discount: 50%
    prices:
      gpt-4o: { input: 0.1, output: 0.3 }
      own: { input: 0.000001, output: 1000000, cache_read: 0, cache_write: 0.2, reasoning: 7,
        audio_input: 8, audio_output: 9, cache_write_1h: 4, request: 0.01 }
""",
    )
    tenth = 100_000  # picodollars per token: 0.1 USD per million tokens
    assert row_of(snapshot, "openai", "gpt-4o") == ModelRow(
        context=128_000,
        max_output=16_384,
        abilities=("tools",),
        prices=(
            Price(
                tiers=(
                    (
                        -1,
                        Rate(
                            input=tenth,
                            cache_read=tenth,
                            cache_write=tenth,
                            cache_write_1h=tenth,
                            audio_input=tenth,
                            output=3 * tenth,
                            reasoning=3 * tenth,
                            audio_output=3 * tenth,
                            audio_cache_read=tenth,
                            image_cache_read=tenth,
                            image_input=tenth,
                            image_output=3 * tenth,
                        ),
                    ),
                )
            ),
        ),
    )
    ((_, rate),) = row_of(snapshot, "openai", "own").prices[0].tiers
    assert rate == Rate(
        input=1,
        output=10**12,
        cache_read=0,
        cache_write=200_000,
        cache_write_1h=4_000_000,
        audio_input=8_000_000,
        reasoning=7_000_000,
        audio_output=9_000_000,
        image_input=1,
        image_output=10**12,
        request=10**10,
        request_low=10**10,
        request_medium=10**10,
    )


def test_own_prices_have_periods_tiers_services_hours_and_currencies(tmp_path: Path) -> None:
    snapshot = compiled(
        tmp_path,
        """\
currencies: { EUR: 1.1 }
providers:
  openai:
    prices:
      own:
        - { input: 1, output: 2, since: 2026-07-01 }
        - input: 3
          output: 10
          search: 0.01
          until: 2026-07-01
          currency: EUR
          above: { 1000: { input: 6 } }
          services: { flex: 50% }
          hours: { "22:00-06:00": 50% }
""",
    )
    july = int(datetime(2026, 7, 1, tzinfo=UTC).timestamp())
    prices = row_of(snapshot, "openai", "own").prices
    assert [(price.since, price.until) for price in prices] == [(0, july), (july, 0)]
    noon, night = july - DAY // 2, july - 60

    def costs(at: int, tokens: int = 10, service: str = "") -> int | None:
        return cost(Usage(tokens, output=1, extras=Extras(service=service)), prices, at)

    assert costs(july) == 12_000_000
    assert costs(noon) == 10 * 3_300_000 + 11_000_000
    assert costs(noon, 1001) == 1001 * 6_600_000 + 11_000_000
    assert costs(noon, service="flex") == (10 * 3_300_000 + 11_000_000) // 2
    assert costs(noon, service="batch") == costs(noon)
    assert costs(night) == (10 * 3_300_000 + 11_000_000) // 2
    assert costs(night, service="flex") == (10 * 3_300_000 + 11_000_000) // 4
    assert cost(Usage(extras=Extras(searches=2)), prices, noon) == 2 * 11 * 10**9


def test_discounts_by_model_and_surcharges_change_the_catalogues_prices(tmp_path: Path) -> None:
    text = "providers: { openai: { discount: 10%, discounts: { gpt-4o: 20% }, surcharge: 10% } }\n"
    snapshot = compiled(tmp_path, text)
    for model, per_mille in (("gpt-4o", 880), ("gpt-4o-mini", 990)):
        whole = catalogue_prices.lookup("openai", model)[-1]
        found = row_of(snapshot, "openai", model).prices[-1]
        assert found.tiers[0][1].input * 1000 == whole.tiers[0][1].input * per_mille > 0
        assert len(found.specials) == len(whole.specials) > 0
        batch, full = found.specials[0].tiers[0][1], whole.specials[0].tiers[0][1]
        assert batch.input * 1000 == full.input * per_mille > 0


def test_a_key_may_have_a_discount_of_its_own(tmp_path: Path) -> None:
    text = "providers: { openai: { keys: [env:A, { key: env:B, discount: 12.5% }] } }\n"
    snapshot = compiled(tmp_path, text)
    assert [secret.pays for secret in snapshot.providers["openai"].keys] == [(1, 1), (7, 8)]


def test_a_discount_is_taken_off_every_price_of_the_catalogue(tmp_path: Path) -> None:
    listed = catalogue_prices.lookup("anthropic", "claude-sonnet-4-5")
    assert listed
    snapshot = compiled(tmp_path, "providers: { anthropic: { discount: 12.5% } }\n")
    found = row_of(snapshot, "anthropic", "claude-sonnet-4-5").prices
    for price, full in zip(found, listed, strict=True):
        assert (price.since, price.until) == (full.since, full.until)
        for (threshold, rate), (at, whole) in zip(price.tiers, full.tiers, strict=True):
            assert threshold == at
            assert rate.input * 8 == whole.input * 7 > 0
            assert rate.output * 8 == whole.output * 7 > 0


def test_a_discount_rounds_half_up_to_whole_picodollars() -> None:
    price = Price(tiers=((-1, Rate(input=3, output=1, request=10**30 + 1)),))
    ((_, half),) = scaled(price, 1, 2).tiers
    assert (half.input, half.output, half.request) == (2, 1, (10**30 + 2) // 2)
    ((_, nothing),) = scaled(price, 0, 1).tiers
    assert nothing == Rate()
    ((_, most),) = scaled(price, 1, 1000).tiers
    assert (most.input, most.output, most.request) == (0, 0, 10**27)


def test_models_that_only_a_route_names_are_priced(tmp_path: Path) -> None:
    """Names the catalogue does not list, but knows a price for: dated ones, for instance."""
    listed = catalogue_prices.lookup("anthropic", "claude-sonnet-4-5-20250929")
    assert listed
    text = "models: { a: anthropic/claude-sonnet-4-5-20250929, b: anthropic/unheard-of }\n"
    snapshot = compiled(tmp_path, text)
    assert row_of(snapshot, "anthropic", "claude-sonnet-4-5-20250929").prices == listed
    assert row_of(snapshot, "anthropic", "unheard-of") == ModelRow()


def test_fees_and_hours_of_ones_own_are_counted(tmp_path: Path) -> None:
    snapshot = compiled(
        tmp_path,
        """\
providers:
  groq:
    prices:
      own: { input: 1, output: 2, request: 0.012, request_low: 0.005, searched: 0.035,
        file_search: 0.0025, code_unit: 0.03, source: 0.025, character: 15, image: 0.04,
        citation: 2, audio_hour: 0.111, audio_least: 10s,
        services: { batch: 50% },
        hours: { "mon-fri 01:00-04:00": 200%, "sat-sun 00:00-00:00": 50% } }
""",
    )
    (price,) = row_of(snapshot, "groq", "own").prices
    ((_, rate),) = price.tiers
    fees = (rate.request, rate.request_low, rate.request_medium)
    assert fees == (12 * 10**9, 5 * 10**9, 12 * 10**9)
    assert (rate.searched, rate.file_search, rate.code_unit) == (35 * 10**9, 25 * 10**8, 3 * 10**10)
    assert (rate.source, rate.character, rate.image) == (25 * 10**9, 15 * 10**6, 4 * 10**10)
    assert (rate.citation, price.audio_least_ms) == (2 * 10**6, 10_000)
    monday = 4 * 86_400
    for hours, tenths in ((0, 10), (1, 20), (4, 10), (24 * 5, 5), (24 * 7, 10)):
        found = rate_at((price,), monday + hours * 3600, 0)
        assert found is not None and found.input == tenths * 10**5
    batch = rate_at((price,), monday, 0, "batch")
    assert batch is not None
    assert (batch.input, batch.character, batch.source) == (5 * 10**5, 75 * 10**5, 25 * 10**9)


def test_a_call_in_a_gap_between_prices_has_no_price(tmp_path: Path) -> None:
    snapshot = compiled(
        tmp_path,
        """\
providers:
  groq:
    prices:
      own:
        - { input: 1, output: 2, until: 2026-02-01 }
        - { input: 2, output: 4, since: 2026-03-01 }
""",
    )
    found = row_of(snapshot, "groq", "own").prices
    missing = [rate_at(found, day * DAY, 0) is None for day in (20_484, 20_485, 20_512, 20_513)]
    assert missing == [False, True, True, False]


@pytest.mark.parametrize(
    ("provider", "model", "url", "per_cent"),
    [
        ("openai", "gpt-5.4", "https://eu.api.openai.com/v1", 110),
        ("openai", "gpt-5.4", "https://api.openai.com/v1", 100),
        ("openai", "gpt-4o", "https://eu.api.openai.com/v1", 100),
    ],
)
def test_tokens_cost_more_at_some_hosts(
    tmp_path: Path, provider: str, model: str, url: str, per_cent: int
) -> None:
    named = f"models: {{ mine: {provider}/{model} }}\n"
    usual = row_of(compiled(tmp_path, named), provider, model).prices[-1]
    there = compiled(tmp_path, named + f"providers: {{ {provider}: {{ base_url: {url} }} }}\n")
    found = row_of(there, provider, model).prices[-1]
    one, other = usual.tiers[0][1], found.tiers[0][1]
    assert other.input * 100 == one.input * per_cent
    assert (other.search, other.file_search) == (one.search, one.file_search) != (0, 0)
    pairs = zip(usual.specials, found.specials, strict=True)
    assert all(b.tiers[0][1].output * 100 == a.tiers[0][1].output * per_cent for a, b in pairs)
