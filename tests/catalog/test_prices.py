"""Our integer prices against genai-prices' own arithmetic."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise

import genai_prices
import pytest
from genai_prices.types import (
    ConditionalPrice,
    ModelInfo,
    TieredPrices,
    TimeOfDateConstraint,
)
from msgspec.structs import replace

from ferryman.catalog import prices
from ferryman.catalog.load import models, providers
from ferryman.ir.price import PICO, Price, Rate
from ferryman.ir.usage import Extras, Usage
from ferryman.meter.cost import cost as cost_of

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAYS = [datetime(2024, 6, 1, tzinfo=UTC), datetime(2025, 9, 15, 7, tzinfo=UTC), NOW]
TABLE = {
    provider: {model: found for model in rows if (found := prices.of_genai(provider, model))}
    for provider, rows in models().items()
}
GENAI = {provider.id: provider for provider in prices.genai_providers()}
USAGES = [
    Usage(input=1_000, output=500),
    Usage(input=13, cache_read=90_017, output=7, reasoning=1_001),
    Usage(input=150_000, cache_read=100_003, cache_write=50_001, output=999),
    Usage(input=300, cache_write=77, cache_write_1h=1_031, output=1),
    Usage(input=700_000, output=12_345, reasoning=4_321),
    Usage(input=200, audio_input=3_333, output=10, audio_output=4_444),
    Usage(
        input=210_000, cache_read=17, output=1_009, extras=Extras(searches=3, image_output=1_290)
    ),
]
CONTEXTS = {
    "": {},
    "batch": {"processing": "batch"},
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
    "fast": {"service_tier": "fast", "speed": "fast"},
}


def cost(usage: Usage, table: tuple[Price, ...], at: datetime) -> int:
    """Picodollars."""
    found = cost_of(usage, table, int(at.timestamp()))
    assert found is not None
    return found


def theirs(
    usage: Usage, genai: str, model: str, at: datetime, context: dict[str, str] | None = None
) -> Decimal:
    extras = usage.extras or Extras()
    given = genai_prices.Usage(
        input_tokens=usage.total_input,
        cache_read_tokens=usage.cache_read or None,
        cache_write_tokens=usage.cache_write + usage.cache_write_1h or None,
        cache_write_1h_tokens=usage.cache_write_1h or None,
        input_audio_tokens=usage.audio_input or None,
        output_tokens=usage.total_output,
        output_reasoning_tokens=usage.reasoning or None,
        output_audio_tokens=usage.audio_output or None,
        output_image_tokens=extras.image_output or None,
        web_searches=extras.searches or None,
    )
    found = genai_prices.calc_price(
        given, model, provider_id=genai, genai_request_timestamp=at, price_context=context
    )
    return found.total_price * PICO


def listed(model: ModelInfo) -> list[ConditionalPrice]:
    if isinstance(model.prices, list):
        return model.prices
    return [ConditionalPrice(prices=model.prices)]


def by_hour(model: ModelInfo) -> bool:
    return any(isinstance(p.constraint, TimeOfDateConstraint) for p in listed(model))


def exact(model: ModelInfo) -> bool:
    """True when every price is a whole number of picodollars per token."""
    for priced in listed(model):
        for price in vars(priced.prices).values():
            values = [price]
            if isinstance(price, TieredPrices):
                values = [price.base, *(tier.price for tier in price.tiers)]
            if any(value * 10**6 % 1 for value in values):
                return False
    return True


def offers() -> Iterator[tuple[str, str, str, str, ModelInfo]]:
    """(provider, model, genai-prices provider, name there, what it finds) of what has one price."""
    for provider, table in TABLE.items():
        for model in table:
            for source in providers()[provider].genai:
                genai, _, suffix = source.partition(":")
                if suffix and not model.endswith(f":{suffix}"):
                    continue
                name = model.removesuffix(f":{suffix}")
                found = GENAI[genai].find_model(name)
                if found is not None:
                    yield provider, model, genai, name, found
                    break


OFFERS = list(offers())


def test_most_models_of_priced_providers_are_checked() -> None:
    assert sum(len(table) for table in TABLE.values()) >= 1_500
    assert len(OFFERS) >= 1_500


@pytest.mark.parametrize("usage", USAGES, ids=range(len(USAGES)))
def test_costs_equal_genai_prices(usage: Usage) -> None:
    for provider, model, genai, name, found in OFFERS:
        if by_hour(found):
            continue
        for at in DAYS if isinstance(found.prices, list) else [NOW]:
            ours = cost(usage, TABLE[provider][model], at)
            slack = 0 if exact(found) else (usage.total_input + usage.total_output) / 2
            want = theirs(usage, genai, name, at)
            assert abs(ours - want) <= slack, (provider, model, at)


def test_every_hour_has_its_price() -> None:
    checked = 0
    for provider, model, genai, name, found in OFFERS:
        if not by_hour(found):
            continue
        checked += 1
        for usage in USAGES[:3]:
            hours = [NOW.replace(hour=hour, minute=31) for hour in range(24)]
            day = [theirs(usage, genai, name, at) for at in hours]
            assert [cost(usage, TABLE[provider][model], at) for at in hours] == day
            assert max(day) > min(day), model
    assert checked >= 3


@pytest.mark.parametrize("service", [name for name in CONTEXTS if name])
def test_service_tiers_cost_what_genai_prices_says(service: str) -> None:
    checked = 0
    usage = replace(USAGES[4], extras=Extras(service=service))
    for provider, model, genai, name, found in OFFERS:
        if len(providers()[provider].genai) > 1 or not found.price_variants:
            continue
        for at in (NOW, datetime(2027, 2, 1, 13, tzinfo=UTC)):
            ours = cost(usage, TABLE[provider][model], at)
            want = theirs(usage, genai, name, at, CONTEXTS[service])
            assert abs(ours - want) <= (usage.total_input + usage.total_output) / 2, (model, at)
            checked += want != theirs(usage, genai, name, at)
    assert checked >= 10


def test_where_a_router_chooses_the_dearest_host_is_taken() -> None:
    table = TABLE["huggingface"]
    hosts = [name for name in table if ":" in name]
    assert len(hosts) > 100
    for name in hosts:
        stem = name.partition(":")[0]
        usage = USAGES[0]
        assert cost(usage, table[stem], NOW) >= cost(usage, table[name], NOW)
    alone = [n for n in hosts if sum(o.startswith(n.partition(":")[0] + ":") for o in hosts) == 1]
    assert alone
    assert all(table[name] == table[name.partition(":")[0]] for name in alone)


def test_every_table_covers_all_time_in_order() -> None:
    for provider, table in TABLE.items():
        for model, periods in table.items():
            where = f"{provider}/{model}"
            assert periods[-1].until == 0, where
            for period, following in pairwise(periods):
                assert period.until == following.since > period.since, where
            for period in periods:
                starts = [start for start, _ in period.tiers]
                assert starts == sorted(set(starts)), where
                assert starts[0] == -1, where
                for _, rate in period.tiers:
                    assert min(getattr(rate, name) for name in Rate.__struct_fields__) >= 0, where


def test_a_dated_name_has_its_models_price() -> None:
    assert TABLE["openai"]["gpt-4o-2024-08-06"] == TABLE["openai"]["gpt-4o"]
    assert (
        prices.lookup("anthropic", "claude-sonnet-4-5-20990101")
        == (TABLE["anthropic"]["claude-sonnet-4-5"])
    )
    assert prices.lookup("openai", "GPT-4O") == TABLE["openai"]["gpt-4o"]


def test_known_prices() -> None:
    price = TABLE["openai"]["gpt-4o-mini"][-1]
    ((start, rate),) = price.tiers
    assert (start, rate.input, rate.cache_read, rate.output) == (-1, 150_000, 75_000, 600_000)
    assert rate.reasoning == rate.output
    sonnet = TABLE["anthropic"]["claude-sonnet-4-5"][-1].tiers[0][1]
    assert (sonnet.cache_write, sonnet.cache_write_1h) == (3_750_000, 6_000_000)


def test_fees_per_call_are_kept() -> None:
    assert prices.lookup("perplexity", "sonar-pro")[-1].tiers[0][1].request == 14_000_000_000


def test_what_costs_nothing_is_priced_and_what_is_unknown_is_not() -> None:
    free = [name for name in TABLE["openrouter"] if name.endswith(":free")]
    assert free
    assert cost(USAGES[2], TABLE["openrouter"][free[0]], NOW) == 0
    for provider, model in (
        ("openai", "no-such-model"),
        ("no-such-provider", "gpt-4o"),
        ("ollama", "llama3"),
        ("mistral", "mistral-ocr-latest"),  # by the page
        ("huggingface", "meta-llama/Llama-3.3-70B-Instruct:no-such-host"),
    ):
        assert prices.lookup(provider, model) == ()


def test_tables_hold_the_catalogues_own_names() -> None:
    for provider, table in TABLE.items():
        assert table.keys() <= models()[provider].keys()
    assert TABLE["moonshot-cn"] == TABLE["moonshot"] != {}


def test_importing_the_catalogue_does_not_import_genai_prices() -> None:
    code = (
        "import sys, ferryman.catalog.prices, ferryman.catalog.quirks, ferryman.catalog.load as c\n"
        "c.providers(), c.models(), c.bare_names()\n"
        "sys.exit('genai_prices' in sys.modules or 'pydantic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
