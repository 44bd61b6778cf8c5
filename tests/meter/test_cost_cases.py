"""What vendors' price pages and usage payloads come to, read as calls are read, exactly."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from tests.meter import vendor_prices as page
from tests.meter.cases import Case, by_provider, wrong

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
