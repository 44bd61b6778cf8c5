"""Calls as vendors bill them: their payloads, whole and as streams, read as calls are read."""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import pytest

from ferryman.catalog import prices
from ferryman.config.pricing import there
from ferryman.ir.fold import fold
from ferryman.ir.price import PICO
from ferryman.ir.usage import Usage
from ferryman.meter.cost import cost
from ferryman.meter.lines import lines
from ferryman.simulator.frames import frame
from ferryman.wire.formats import provider_of, relay_of
from ferryman.wire.openai_chat.media_relay import SpeechTap
from ferryman.wire.paths import CALLERS
from tests.meter.vendor_prices import Bill, Body

NOW: Final = datetime(2026, 11, 22, 12, tzinfo=UTC)
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
    host: str = ""
    """Where the provider is asked, if it matters."""
    text: str = ""
    """What is to be said."""


ONES: Final = frozenset(
    ("search", "searched", "request", "file_search", "container", "code", "source", "image")
)
"""Words of pages whose amounts are for one; ``hour`` counts milliseconds, others millionths."""


def billed(case: Case) -> Decimal:
    """Picodollars, as the vendor works it out."""
    total = Decimal(0)
    for count, word in case.bill:
        amount = Decimal(case.amounts.get(word, SEARCH) if word == "search" else case.amounts[word])
        if word in ONES:
            total += count * amount * PICO
        elif word == "hour":
            total += (count * amount * PICO / 3_600_000).to_integral_value(ROUND_HALF_UP)
        elif word == "character":
            total += count * amount * 10**6
        else:
            total += count * amount * 10**6 * case.factor
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
    grounding = usage.pop("groundingMetadata", None)
    early = {"promptTokenCount": usage["promptTokenCount"], "candidatesTokenCount": 1}
    whole = {**reply(finishReason="STOP"), "usageMetadata": usage}
    stream = event({**reply(), "usageMetadata": early})
    if grounding is not None:  # it comes before the end, or with it
        if len(grounding["webSearchQueries"]) % 2:
            stream += event(reply(groundingMetadata=grounding))
            stream += event(whole)
            whole["candidates"][0]["groundingMetadata"] = grounding
            return whole, stream
        whole["candidates"][0]["groundingMetadata"] = grounding
    return whole, stream + event(whole)


def cohere(case: Case) -> tuple[Body, bytes]:
    """https://docs.cohere.com/reference/chat-stream"""
    text = {"type": "text", "text": "Hi"}
    message = {"role": "assistant", "content": [text]}
    end = {"finish_reason": "COMPLETE", "usage": case.usage}
    start = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    events: list[Body] = [
        {"type": "message-start", "id": "c", "delta": {"message": start}},
        {"type": "content-start", "index": 0,
         "delta": {"message": {"content": {"type": "text", "text": ""}}}},
        {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Hi"}}}},
        {"type": "content-end", "index": 0},
        {"type": "message-end", "delta": end},
    ]  # fmt: skip
    stream = b"".join(event(each, each["type"]) for each in events)
    return {"id": "c", "message": message, **end}, stream


def completions(case: Case) -> tuple[Body, bytes]:
    base = {"id": "c", "object": "text_completion", "created": 1, "model": case.model, **case.reply}
    choice = {"index": 0, "text": "Hi", "logprobs": None, "finish_reason": "stop"}
    stream = event({**base, "choices": [choice]})
    stream += event({**base, "choices": [], "usage": case.usage}) + b"data: [DONE]\n\n"
    return {**base, "choices": [choice], "usage": case.usage}, stream


def embeddings(case: Case) -> tuple[Body, bytes]:
    data = [{"object": "embedding", "index": 0, "embedding": [0.5]}]
    base = {"object": "list", "data": data, "model": case.model}
    return {**base, **case.reply, "usage": case.usage}, b""


def embed(case: Case) -> tuple[Body, bytes]:
    found = {"id": "e", "embeddings": {"float": [[0.5]]}, "texts": ["Hi"]}
    return {**found, "meta": case.usage, "response_type": "embeddings_by_type"}, b""


def rerank(case: Case) -> tuple[Body, bytes]:
    results = [{"index": 0, "relevance_score": 0.5}]
    return {"id": "r", "results": results, "meta": case.usage}, b""


def transcript(case: Case) -> tuple[Body, bytes]:
    said = {"text": "Hi", **case.reply}
    return {**said, "usage": case.usage} if case.usage else said, b""


def images(case: Case) -> tuple[Body, bytes]:
    data = [{"b64_json": "QQ=="}] * int(case.reply.get("n", 1))
    whole = {"created": 1, "data": data}
    if not case.usage:
        return whole, b""
    last = {"type": "image_generation.completed", "b64_json": "QQ==", "usage": case.usage}
    return {**whole, "usage": case.usage}, event(
        last, "image_generation.completed"
    ) + b"data: [DONE]\n\n"


def converse(case: Case) -> tuple[Body, bytes]:
    """https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html"""
    message = {"role": "assistant", "content": [{"text": "Hi"}]}
    whole = {"output": {"message": message}, "stopReason": "end_turn", "usage": case.usage}
    events: list[tuple[str, Body]] = [
        ("messageStart", {"role": "assistant"}),
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hi"}}),
        ("contentBlockStop", {"contentBlockIndex": 0}),
        ("messageStop", {"stopReason": "end_turn"}),
        ("metadata", {"usage": case.usage, "metrics": {"latencyMs": 9}, **case.reply}),
    ]
    head = {":message-type": "event", ":content-type": "application/json"}
    stream = b"".join(
        frame({**head, ":event-type": name}, json.dumps(body).encode()) for name, body in events
    )
    return {**whole, **case.reply}, stream


WRITTEN: Final = {
    "chat.completions": ("openai_chat", chat),
    "responses": ("openai_responses", responses),
    "messages": ("anthropic_messages", messages),
    "generate_content": ("gemini_generate", generate),
    "completions": ("", completions),
    "embeddings": ("", embeddings),
    "embed": ("", embed),
    "chat": ("cohere_chat", cohere),
    "converse": ("bedrock_converse", converse),
    "rerank": ("", rerank),
    "audio.transcriptions": ("", transcript),
    "images.generations": ("", images),
}
"""Endpoint → the format, if replies can be translated from it, and what they look like."""


def readings(case: Case) -> Iterator[Usage | None]:
    """The usage as it is read: whole and streamed, relayed and translated."""
    if case.endpoint == "audio.speech":
        yield heard(case)
        return
    name, write = WRITTEN[case.endpoint]
    body, stream = write(case)
    whole = json.dumps(body).encode()
    if name:
        side = provider_of(name)
        yield side.decode_reply(whole).usage
        if not stream:
            return
        decoder = side.stream_decoder()
        yield fold([*decoder.feed(stream), *decoder.close()]).usage
        if name not in CALLERS.values():
            return  # nobody asks in it, so it is never relayed
    relay = relay_of(case.endpoint)
    kind, usage = relay.read_whole(whole, ())
    assert kind is None
    yield usage
    if stream:
        tap = relay.tap(hide_usage=False, quirks=())
        tap.feed(stream)
        tap.close()
        yield tap.usage


def heard(case: Case) -> Usage | None:
    """The usage of speech, which comes as bytes that say nothing of it."""
    tap = relay_of(case.endpoint).tap(hide_usage=False, quirks=())
    assert isinstance(tap, SpeechTap)
    tap.characters = len(case.text)
    assert tap.takes(b"audio/mpeg")
    tap.feed(b"ID3")
    tap.close()
    assert tap.done
    return tap.usage


def wrong(cases: Iterable[Case]) -> list[tuple[object, ...]]:
    """Those that cost something else than the vendor bills, or not the sum of their lines."""
    out: list[tuple[object, ...]] = []
    for case in cases:
        at = int(case.at.timestamp())
        book = prices.lookup(case.provider, case.model)
        book = there(case.provider, case.model, f"https://{case.host}/v1", book)
        want = billed(case)
        for usage in readings(case):
            got = cost(usage, book, at)
            assert usage is not None, case
            assert sum(line.pico for line in lines(usage, book, at)) == (got or 0), case
            if got != want:
                out.append((case.model, case.endpoint, case.name, got, want))
    return out


def by_provider(cases: list[Case]) -> pytest.MarkDecorator:
    """Gives a test the cases of one provider at a time, as ``cases``."""
    names = dict.fromkeys(case.provider for case in cases)
    of = [[case for case in cases if case.provider == name] for name in names]
    return pytest.mark.parametrize("cases", of, ids=list(names))
