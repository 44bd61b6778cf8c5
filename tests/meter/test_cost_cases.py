"""What vendors' price pages and usage payloads come to, read as calls are read, exactly."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import pytest

from ferryman.catalog import prices
from ferryman.ir.fold import fold
from ferryman.ir.price import PICO
from ferryman.ir.usage import Usage
from ferryman.meter.cost import cost
from ferryman.meter.lines import lines
from ferryman.wire.formats import provider_of, relay_of
from tests.meter import vendor_prices as page
from tests.meter.vendor_prices import Bill, Body

NOW: Final = datetime(2026, 11, 22, 12, tzinfo=UTC)
HALF: Final = Decimal("0.5")
SEARCH: Final = "0.010"
"""USD: "$10 per 1,000 searches", on OpenAI's and on Anthropic's page."""


class Case(NamedTuple):
    """A call, and what the vendor bills it at."""

    provider: str
    model: str
    endpoint: str
    usage: Body
    bill: Bill
    amounts: dict[str, str]
    """USD per million tokens, or for one search."""
    name: str
    reply: Mapping[str, Any] = MappingProxyType({})
    """What stands beside the usage."""
    factor: Decimal = Decimal(1)
    """Of the tokens' costs."""
    at: datetime = NOW


def billed(case: Case) -> Decimal:
    """Picodollars, as the vendor works it out."""
    total = Decimal(0)
    for count, word in case.bill:
        if word == "search":
            total += count * Decimal(case.amounts.get("search", SEARCH)) * PICO
        else:
            total += count * Decimal(case.amounts[word]) * 10**6 * case.factor
    return total


def event(body: Body, name: str = "") -> bytes:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(body)}\n\n".encode()


def chat(case: Case) -> tuple[Body, bytes]:
    base = {"id": "c", "object": "chat.completion", "created": 1, "model": case.model, **case.reply}
    said = {"role": "assistant", "content": "Hi"}
    choice = {"index": 0, "message": said, "finish_reason": "stop"}
    part = {"index": 0, "delta": said, "finish_reason": "stop"}
    base_chunk = {**base, "object": "chat.completion.chunk"}
    stream = (
        event({**base_chunk, "choices": [part], "usage": None})
        + event({**base_chunk, "choices": [], "usage": case.usage})
        + b"data: [DONE]\n\n"
    )
    return {**base, "choices": [choice], "usage": case.usage}, stream


def responses(case: Case) -> tuple[Body, bytes]:
    part = {"type": "output_text", "text": "Hi", "annotations": []}
    message = {"type": "message", "id": "m", "role": "assistant", "status": "completed",
               "content": [part]}  # fmt: skip
    reply = dict(case.reply)
    output = [*reply.pop("output", []), message]
    whole = {"id": "r", "object": "response", "created_at": 1, "status": "completed",
             "model": case.model, "output": output, "usage": case.usage, **reply}  # fmt: skip
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    stream = event({"type": "response.created", "response": begun})
    stream += event({"type": "response.completed", "response": whole})
    return whole, stream


def messages(case: Case) -> tuple[Body, bytes]:
    base = {"id": "m", "type": "message", "role": "assistant", "model": case.model,
            "content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn"}  # fmt: skip
    usage = {**case.usage, **case.reply}
    first = {**usage, "output_tokens": 1}
    first.pop("server_tool_use", None)
    last = {n: usage[n] for n in ("output_tokens", "output_tokens_details", "server_tool_use")
            if n in usage}  # fmt: skip
    start = {**base, "content": [], "stop_reason": None, "usage": first}
    stop = {"stop_reason": "end_turn", "stop_sequence": None}
    events: list[Body] = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0,
         "delta": {"type": "text_delta", "text": "Hi"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": stop, "usage": last},
        {"type": "message_stop"},
    ]  # fmt: skip
    return {**base, "usage": usage}, b"".join(event(each, each["type"]) for each in events)


def generate(case: Case) -> tuple[Body, bytes]:
    def reply(**more: Any) -> Body:
        content = {"role": "model", "parts": [{"text": "Hi"}]}
        return {"candidates": [{"index": 0, "content": content, **more}], "modelVersion": "g"}

    usage = {**case.usage, **case.reply}
    early = {"promptTokenCount": usage["promptTokenCount"], "candidatesTokenCount": 1}
    whole = {**reply(finishReason="STOP"), "usageMetadata": usage}
    return whole, event({**reply(), "usageMetadata": early}) + event(whole)


def cohere(case: Case) -> tuple[Body, bytes]:
    message = {"role": "assistant", "content": [{"type": "text", "text": "Hi"}]}
    return {"id": "c", "finish_reason": "COMPLETE", "message": message, "usage": case.usage}, b""


def converse(case: Case) -> tuple[Body, bytes]:
    message = {"role": "assistant", "content": [{"text": "Hi"}]}
    whole = {"output": {"message": message}, "stopReason": "end_turn", "usage": case.usage}
    return {**whole, **case.reply}, b""


WRITTEN: Final = {
    "chat.completions": ("openai_chat", chat),
    "responses": ("openai_responses", responses),
    "messages": ("anthropic_messages", messages),
    "generate_content": ("gemini_generate", generate),
    "chat": ("cohere_chat", cohere),
    "converse": ("bedrock_converse", converse),
}


def readings(case: Case) -> Iterator[Usage | None]:
    """The usage as it is read: whole and streamed, relayed and translated."""
    name, write = WRITTEN[case.endpoint]
    body, stream = write(case)
    whole = json.dumps(body).encode()
    side = provider_of(name)
    yield side.decode_reply(whole).usage
    if stream:
        decoder = side.stream_decoder()
        yield fold([*decoder.feed(stream), *decoder.close()]).usage
        relay = relay_of(case.endpoint)
        kind, usage = relay.read_whole(whole, ())
        assert kind is None
        yield usage
        tap = relay.tap(hide_usage=False, quirks=())
        tap.feed(stream)
        tap.close()
        yield tap.usage


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
    usage, bill = page.DEEPSEEK_USAGE
    for model in page.DEEPSEEK:
        for hour, minute in ((0, 29), (0, 30), (8, 0), (16, 29), (16, 30), (23, 59)):
            table = page.DEEPSEEK if 30 <= hour * 60 + minute < 990 else page.DEEPSEEK_NIGHT
            yield Case("deepseek", model, "chat.completions", usage, bill, table[model],
                       f"{hour:02d}:{minute:02d}",
                       at=NOW.replace(hour=hour, minute=minute))  # fmt: skip
    for model, amounts in page.COHERE.items():
        for name, (usage, bill) in page.COHERE_USAGE.items():
            yield Case("cohere", model, "chat", usage, bill, amounts, name)
    for model, amounts in page.BEDROCK.items():
        for name, (usage, bill) in page.CONVERSE.items():
            yield Case("bedrock", f"{model}:0", "converse", usage, bill, amounts, name)


CASES: Final = [*openai(), *anthropic(), *google(), *others()]


def test_there_are_many_cases() -> None:
    assert len({(case.provider, case.model, case.endpoint, case.name) for case in CASES}) >= 300


@pytest.mark.parametrize(
    "cases",
    [[case for case in CASES if case.provider == name] for name in dict.fromkeys(
        case.provider for case in CASES)],
    ids=lambda cases: cases[0].provider,
)  # fmt: skip
def test_calls_cost_what_the_vendor_bills(cases: list[Case]) -> None:
    wrong = []
    for case in cases:
        at = int(case.at.timestamp())
        book = prices.lookup(case.provider, case.model)
        want = billed(case)
        for usage in readings(case):
            got = cost(usage, book, at)
            assert usage is not None, case
            assert sum(line.pico for line in lines(usage, book, at)) == got
            if got != want:
                wrong.append((case.model, case.endpoint, case.name, got, want))
    assert wrong == []
