"""What vendors' price pages and usage payloads come to, read as calls are read, exactly."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

import msgspec
import pytest

from ferryman.catalog import prices
from ferryman.config.model import ProviderConfig
from ferryman.config.pricing import own_price, part, priced, prices_in
from ferryman.ir.usage import Usage
from ferryman.meter.cost import cost
from ferryman.meter.lines import lines
from tests.meter import vendor_prices as page
from tests.meter.cases import NOW, Case, by_provider, wrong

HALF: Final = Decimal("0.5")

# --- the cases ------------------------------------------------------------------------------------


def openai() -> Iterator[Case]:
    searching = {
        "output": [
            {"type": "web_search_call", "id": "w1", "status": "completed",
             "action": {"type": "search", "query": "q"}},
            {"type": "web_search_call", "id": "w2", "status": "completed",
             "action": {"type": "open_page", "url": "https://a.example"}},
            {"type": "web_search_call", "id": "w3", "status": "completed",
             "action": {"type": "search", "query": "r"}},
        ]
    }  # fmt: skip
    for model, amounts in page.OPENAI.items():
        for name, (usage, bill) in page.CHAT.items():
            for tier in ("", "default"):
                reply = {"service_tier": tier} if tier else {}
                yield Case("openai", model, "chat.completions", usage, bill, amounts,
                           f"{name} {tier}", reply)  # fmt: skip
        for name, (usage, bill) in page.RESPONSES.items():
            yield Case("openai", model, "responses", usage, bill, amounts, name,
                       {"service_tier": "default"})  # fmt: skip
    for model in ("gpt-4.1", "gpt-5", "gpt-5-mini"):
        usage, bill = page.RESPONSES["response"]
        yield Case("openai", model, "responses", usage, [*bill, (2, "search")],
                   page.OPENAI[model], "searched", searching)  # fmt: skip
    for model, amounts in page.OPENAI_BATCH.items():
        for name in ("short", "reasoning", "nothing said"):
            usage, bill = page.CHAT[name]
            yield Case("openai", model, "chat.completions", usage, bill, amounts,
                       f"{name} batch", {"service_tier": "batch"})  # fmt: skip
        usage, bill = page.RESPONSES["response"]
        yield Case("openai", model, "responses", usage, bill, amounts, "batch",
                   {"service_tier": "batch"})  # fmt: skip
    for model, amounts in page.OPENAI_LEGACY.items():
        for name in ("short", "nothing said"):
            usage, bill = page.CHAT[name]
            yield Case("openai", model, "completions", usage, bill, amounts, name)
            if model != "gpt-3.5-turbo-instruct":  # not to be had in batches
                yield Case("openai", model, "completions", usage, bill, amounts, f"{name} batch",
                           {"service_tier": "batch"}, HALF)  # fmt: skip
    for model, amounts in page.OPENAI_EMBEDDINGS.items():
        usage, bill = page.EMBEDDED
        for batch, factor in (({}, Decimal(1)), ({"service_tier": "batch"}, HALF)):
            yield Case("openai", model, "embeddings", usage, bill, amounts, f"embedded {batch}",
                       batch, factor)  # fmt: skip
    for tier, table in (("priority", page.OPENAI_PRIORITY), ("flex", page.OPENAI_FLEX)):
        for model, amounts in table.items():
            for name, (usage, bill) in page.CHAT.items():
                yield Case("openai", model, "chat.completions", usage, bill, amounts,
                           f"{name} {tier}", {"service_tier": tier})  # fmt: skip
            for name, (usage, bill) in page.RESPONSES.items():
                yield Case("openai", model, "responses", usage, bill, amounts,
                           f"{name} {tier}", {"service_tier": tier})  # fmt: skip


def anthropic() -> Iterator[Case]:
    for model, amounts in page.ANTHROPIC.items():
        for name, (usage, bill) in page.MESSAGES.items():
            yield Case("anthropic", model, "messages", usage, bill, amounts, name)
            yield Case("anthropic", model, "messages", usage, bill, amounts, f"{name}, us",
                       {"inference_geo": "us"}, Decimal("1.1"))  # fmt: skip
            yield Case("anthropic", model, "messages", usage, bill, amounts, f"{name}, global",
                       {"inference_geo": "global"})  # fmt: skip
    for model in ("claude-opus-4-5", "claude-sonnet-4-5", "claude-haiku-4-5"):
        for name, (usage, bill) in page.MESSAGES.items():
            yield Case("anthropic", model, "messages", usage, bill, page.ANTHROPIC[model],
                       f"{name}, batch", {"service_tier": "batch"}, HALF)  # fmt: skip


def google() -> Iterator[Case]:
    for model, amounts in page.GEMINI.items():
        for name, (usage, bill) in (page.GENERATE | page.SOUND).items():
            yield Case("gemini", model, "generate_content", usage, bill, amounts, name)
    for model, amounts in page.GEMINI_BATCH.items():
        for name in ("short", "thought", "heard"):
            usage, bill = (page.GENERATE | page.SOUND)[name]
            yield Case("gemini", model, "generate_content", usage, bill, amounts, f"{name}, batch",
                       {"serviceTier": "batch"})  # fmt: skip
    for model, amounts in page.GEMINI_PRO.items():
        for name, (usage, bill) in page.GENERATE.items():
            yield Case("gemini", model, "generate_content", usage, bill, amounts, name)
        usage, bill = page.JUST_NOT_LONG
        yield Case("gemini", model, "generate_content", usage, bill, amounts, "200,000")
        usage, bill = page.LONG
        long = page.GEMINI_PRO_LONG[model]
        yield Case("gemini", model, "generate_content", usage, bill, long, "200,001")


def others() -> Iterator[Case]:
    for provider, table in page.HOSTS.items():
        for model, amounts in table.items():
            for name, (usage, bill) in page.CHAT.items():
                if "cached" in amounts or not any(word == "cached" for _, word in bill):
                    yield Case(provider, model, "chat.completions", usage, bill, amounts, name)
    for model, amounts in page.COHERE.items():
        for name, (usage, bill) in page.COHERE_USAGE.items():
            yield Case("cohere", model, "chat", usage, bill, amounts, name)
    for model, amounts in page.COHERE_EMBED.items():
        usage, bill = page.COHERE_EMBEDDED
        yield Case("cohere", model, "embed", usage, bill, amounts, "embedded")
    for model, amounts in page.BEDROCK.items():
        for name, (usage, bill) in page.CONVERSE.items():
            yield Case("bedrock", f"{model}:0", "converse", usage, bill, amounts, name)


def deepseek() -> Iterator[Case]:
    """By the hour, the day of the week, and the day on which prices changed."""
    usage, bill = page.DEEPSEEK_USAGE

    def case(model: str, at: datetime, amounts: dict[str, str]) -> Case:
        return Case("deepseek", model, "chat.completions", usage, bill, amounts, f"{at}", at=at)

    for day in range(22, 29):  # from a Sunday on
        peaks = page.DEEPSEEK_OFF if day in (22, 28) else page.DEEPSEEK_PEAK
        for hour, minute, table in (
            (0, 59, page.DEEPSEEK_OFF), (1, 0, peaks), (3, 59, peaks), (4, 0, page.DEEPSEEK_OFF),
            (6, 0, peaks), (9, 59, peaks), (10, 0, page.DEEPSEEK_OFF),
        ):  # fmt: skip
            for model, amounts in table.items():
                yield case(model, datetime(2026, 11, day, hour, minute, tzinfo=UTC), amounts)
    for hour, minute in ((0, 29), (0, 30), (8, 0), (16, 29), (16, 30), (23, 59)):
        table = page.DEEPSEEK_V3 if 30 <= hour * 60 + minute < 990 else page.DEEPSEEK_NIGHT
        for model in table:
            then = datetime(2025, 6, 4, hour, minute, tzinfo=UTC)
            yield case(model, then, table[model])
            yield case(model, then.replace(month=12), page.DEEPSEEK_V32[model])
    august = page.DEEPSEEK_AUGUST
    for text, word in (
        ("2026-08-14T02:00", "before"), ("2026-08-16T15:59", "before"), ("2026-08-16T16:00", "off"),
        ("2026-08-17T00:59", "off"), ("2026-08-17T01:00", "peak"), ("2026-08-22T01:00", "off"),
        ("2026-09-10T03:59", "peak"),
    ):  # fmt: skip
        yield case("deepseek-v4-flash", datetime.fromisoformat(text + "Z"), august[word])


CASES: Final = [*deepseek(), *openai(), *anthropic(), *google(), *others()]


def test_every_amount_names_its_page() -> None:
    assert all(case.amounts["page"].startswith("https://") for case in CASES)


def test_there_are_many_cases() -> None:
    assert len({(case.provider, case.model, case.endpoint, case.name) for case in CASES}) >= 300


@by_provider(CASES)
def test_calls_cost_what_the_vendor_bills(cases: list[Case]) -> None:
    assert wrong(cases) == []


# --- prices of one's own --------------------------------------------------------------------------

YEN: Final = {"EUR": Decimal("1.1"), "JPY": Decimal("0.00671137")}
USED: Final = Usage(input=1000, cache_read=200, output=300, reasoning=50)
"""Fresh, from the cache; said, thought."""
EUROS: Final = {
    "input": "2", "output": "5", "cache_read": "0.5", "request": "0.001", "currency": "EUR"
}  # fmt: skip
OWN: Final[list[tuple[dict[str, Any], str, int]]] = [
    # a period of prices; the discount of the key; picodollars: (input, cache, output, thoughts)
    ({"input": "2", "output": "5"}, "0",
     1000 * 2_000_000 + 200 * 2_000_000 + 350 * 5_000_000),
    ({"input": "2", "output": "5", "cache_read": "0.5", "reasoning": "7"}, "0",
     1000 * 2_000_000 + 200 * 500_000 + 300 * 5_000_000 + 50 * 7_000_000),
    (EUROS, "0",
     1000 * 2_200_000 + 200 * 550_000 + 350 * 5_500_000 + 1_100_000_000),
    (EUROS, "20",
     1000 * 1_760_000 + 200 * 440_000 + 350 * 4_400_000 + 880_000_000),
    # ¥3 is $0.02013411, and a token 20,134.11 picodollars: rounded to whole ones, and then with the
    # discount of 12.5 % to 17,617.25 and once more
    ({"input": "3", "output": "9", "currency": "JPY"}, "0",
     1200 * 20_134 + 350 * 60_402),
    ({"input": "3", "output": "9", "currency": "JPY"}, "12.5",
     1200 * 17_617 + 350 * 52_852),
    ({"input": "2", "output": "5", "above": {1199: {"input": "4", "output": "8"}}}, "0",
     1200 * 4_000_000 + 350 * 8_000_000),
    ({"input": "2", "output": "5", "above": {1200: {"input": "4", "output": "8"}}}, "10",
     1200 * 1_800_000 + 350 * 4_500_000),
    ({"input": "2", "output": "5", "request": "0.001", "hours": {"10:00-14:00": "50"}}, "0",
     1200 * 1_000_000 + 350 * 2_500_000 + 1_000_000_000),
    ({"input": "2", "output": "5", "services": {"batch": "50"}}, "0",
     1200 * 2_000_000 + 350 * 5_000_000),
]  # fmt: skip


@pytest.mark.parametrize(("period", "discount", "want"), OWN)
def test_prices_of_ones_own_in_any_currency_less_a_keys_discount(
    period: dict[str, Any], discount: str, want: int
) -> None:
    [read] = prices_in({"m": period})["m"]
    share = 1 - Fraction(discount) / 100
    book = (part(own_price(read, YEN), share),)
    at = int(NOW.timestamp())
    assert cost(USED, book, at) == want
    assert sum(line.pico for line in lines(USED, book, at)) == want


@pytest.mark.parametrize(
    ("given", "key", "rates"),
    [
        ({}, "0", (2_000_000, 500_000, 8_000_000)),
        ({"discount": "10"}, "0", (1_800_000, 450_000, 7_200_000)),
        ({"discount": "10", "discounts": {"gpt-4.1": "15"}}, "0", (1_700_000, 425_000, 6_800_000)),
        ({"surcharge": "10"}, "0", (2_200_000, 550_000, 8_800_000)),
        ({"discount": "10", "surcharge": "10"}, "20", (1_584_000, 396_000, 6_336_000)),
    ],
)
def test_discounts_and_surcharges_of_the_catalogues_prices(
    given: dict[str, Any], key: str, rates: tuple[int, int, int]
) -> None:
    of = msgspec.convert({"name": "openai", **given}, ProviderConfig)
    book = [
        part(price, 1 - Fraction(key) / 100)
        for price in priced(of, "gpt-4.1", prices.lookup("openai", "gpt-4.1"), {})
    ]
    fresh, cached, said = rates
    assert cost(USED, tuple(book), int(NOW.timestamp())) == 1000 * fresh + 200 * cached + 350 * said
