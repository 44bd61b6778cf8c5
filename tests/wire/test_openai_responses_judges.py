"""The official SDK's own types and stream accumulator as judges of what this codec writes."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from openai import OpenAI
from openai.types.responses import Response, ResponseInputItem, ResponseStreamEvent, Tool
from openai.types.responses.response import ToolChoice
from openai.types.responses.response_create_params import (
    ResponseCreateParamsBase,
    ResponseCreateParamsStreaming,
)
from openai.types.responses.response_text_config import ResponseTextConfig
from openai.types.shared import Reasoning
from pydantic import BaseModel, TypeAdapter

from ferryman.ir.events import Begin, Choice, Finish, FinishReason, Reply
from ferryman.ir.fold import unfold
from ferryman.ir.receipt import Receipt
from ferryman.ir.request import (
    Citation,
    Media,
    MediaKind,
    Refusal,
    Signature,
    Source,
    Text,
    Thinking,
    ToolCall,
)
from ferryman.ir.usage import Usage
from ferryman.wire.format import Aim, ReplyContext
from ferryman.wire.openai_responses.encode import encode_request
from ferryman.wire.openai_responses.format import FORMAT
from ferryman.wire.openai_responses.request import decode_request
from tests.wire.responses_api import ANSWERS, Wire
from tests.wire.test_openai_responses_requests import CODEX, ITEMS, SETTINGS

assert FORMAT.client is not None and FORMAT.provider is not None
CLIENT, PROVIDER = FORMAT.client, FORMAT.provider

ITEM: TypeAdapter[Any] = TypeAdapter(ResponseInputItem)
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
TOOL: TypeAdapter[Any] = TypeAdapter(Tool)
CHOICE: TypeAdapter[Any] = TypeAdapter(ToolChoice)
OURS = {
    "Response.store",  # the API repeats it
    "ResponseCustomToolCall.status",  # Codex reads it
    "Logprob.bytes",  # of deltas: the types know it of whole texts only
    "LogprobTopLogprob.bytes",
}
"""Members that the types don't know."""

BLOCKS = (
    Thinking(text="hm", signature=Signature("s", "anthropic_messages"), id="th_1"),
    Thinking(signature=Signature("s", "anthropic_messages"), encrypted=True),
    Text(text="See", citations=(Citation(url="https://a.example", title="A"),)),
    Text(text="there", signature=Signature("g", "gemini_generate")),
    ToolCall(id="1", name="get_weather", arguments='{"city":"Rome"}'),
    ToolCall(id="2", name="apply_patch", arguments='{"input":"*** Begin"}'),
    Refusal(text="no more"),
    Media(kind=MediaKind.IMAGE, source=Source(media_type="image/png", data="iVBO")),
)
FOREIGN = Reply(
    begin=Begin(id="msg_01", model="claude-x", service_tier="standard"),
    choices=(Choice(blocks=BLOCKS, finish=Finish(reason=FinishReason.TOOL_CALLS)),),
    usage=Usage(10, 5, 3, 2, 0, 7, 0),
)


def strangers(value: Any) -> Iterator[str]:
    """Members that the SDK's types don't know, wherever they are."""
    if isinstance(value, BaseModel):
        kind = type(value)
        yield from (f"{kind.__name__}.{name}" for name in value.model_extra or ())
        for name in kind.model_fields:
            yield from strangers(getattr(value, name))
    elif isinstance(value, list):
        for one in value:
            yield from strangers(one)


def judge(adapter: TypeAdapter[Any], value: Any) -> None:
    """Fail unless the SDK's types take ``value``: no wrong type, no unknown member."""
    said = adapter.validate_json(json.dumps(value), strict=True)
    assert set(strangers(said)) <= OURS


def context() -> ReplyContext:
    request = decode_request(json.dumps({**CODEX, "truncation": "auto"}).encode(), "", False)
    return ReplyContext(request=request, receipt=Receipt(), request_id="r", now=1700000000)


def replies() -> dict[str, Reply]:
    read = {key: PROVIDER.decode_reply(json.dumps(a).encode()) for key, a in ANSWERS.items()}
    for odd in ("unknown item", "unknown part"):
        del read[odd]  # for its type, the SDK would be right to complain
    return {**read, "foreign": FOREIGN}


@pytest.mark.parametrize("key", sorted(replies()))
def test_the_types_take_every_reply_and_event(key: str) -> None:
    reply = replies()[key]
    body = CLIENT.encode_reply(reply, context())
    said = Response.model_validate_json(body, strict=True)
    assert set(strangers(said)) <= OURS
    encoder = CLIENT.stream_encoder(context())
    stream = b"".join(encoder.encode(event) for event in unfold(reply)).decode()
    for block in stream.removesuffix("\n\n").split("\n\n"):
        judge(EVENT, json.loads(block.partition("data: ")[2]))


class Wires(httpx.BaseTransport):
    """A server's answer, without the server: the SDK's own HTTP client reads it."""

    def __init__(self, body: bytes, kind: str) -> None:
        self.body = body
        self.kind = kind

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=self.body, headers={"content-type": self.kind})


def sdk(body: bytes, kind: str = "application/json") -> OpenAI:
    client = httpx.Client(transport=Wires(body, kind))
    return OpenAI(api_key="x", http_client=client, max_retries=0, base_url="http://local/v1")


@pytest.mark.parametrize("key", sorted(replies()))
def test_the_sdks_accumulator_makes_the_whole_reply_of_the_stream(key: str) -> None:
    reply = replies()[key]
    whole = sdk(CLIENT.encode_reply(reply, context())).responses.create(model="m", input="x")
    encoder = CLIENT.stream_encoder(context())
    data = b"".join(encoder.encode(event) for event in unfold(reply))
    with sdk(data, "text/event-stream").responses.stream(model="m", input="x") as stream:
        events = list(stream)
    last = events[-1]
    assert last.type in ("response.completed", "response.incomplete")
    assert last.response.output_text == whole.output_text
    assert [item.type for item in last.response.output] == [item.type for item in whole.output]
    assert last.response.usage == whole.usage
    words = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert words == whole.output_text


def requests() -> list[Wire]:
    bodies = [{"model": "m", "input": given} for given, _ in ITEMS]
    bodies += [{"model": "m", "input": "hi", **given} for given, _ in SETTINGS]
    return [*bodies, CODEX]


@pytest.mark.parametrize("given", requests())
def test_the_types_take_every_request(given: Wire) -> None:
    request = decode_request(json.dumps(given).encode(), "", False)
    body = json.loads(encode_request(request, Aim(model="m"), Receipt()))
    known = {
        **ResponseCreateParamsBase.__annotations__,
        **ResponseCreateParamsStreaming.__annotations__,
    }
    assert set(body) - {"client_metadata"} <= set(known)
    for item in body["input"]:
        if item.get("type") == "reasoning":
            item.setdefault("id", "rs_1")  # the API does without, as Codex knows
        shown = item.get("content") or item.get("output")
        for part in shown if isinstance(shown, list) else ():
            if part["type"] == "input_image":
                part.setdefault("detail", "auto")  # for the types, not for the API
        if any(isinstance(p, dict) and p["type"] == "input_audio" for p in item.get("content", ())):
            continue  # not in the types of messages
        if item.get("role") == "assistant" and isinstance(item["content"], list):
            item.update(id="msg_1", status="completed")
            for part in item["content"]:
                if part["type"] == "output_text":
                    part.setdefault("annotations", [])
        judge(ITEM, item)
    for tool in body.get("tools", ()):
        judge(TOOL, tool)
    if "tool_choice" in body:
        judge(CHOICE, body["tool_choice"])
    if "text" in body:
        judge(TypeAdapter(ResponseTextConfig), body["text"])
    if "reasoning" in body:
        judge(TypeAdapter(Reasoning), body["reasoning"])
