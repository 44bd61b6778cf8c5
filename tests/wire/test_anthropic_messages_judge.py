"""The vendor's own SDK judges what goes out in the Messages format, and asks in it."""

import importlib
import json
import sys
import typing
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.events import Begin, Choice, Finish, FinishReason, Reply
from ferryman.ir.fold import fold, unfold
from ferryman.ir.receipt import Receipt
from ferryman.ir.request import (
    CacheMark,
    Citation,
    Media,
    MediaKind,
    Message,
    OutputFormat,
    OutputKind,
    Reasoning,
    Refusal,
    Request,
    Role,
    Signature,
    Source,
    Text,
    Thinking,
    ToolCall,
    ToolChoice,
    ToolMode,
    ToolResult,
)
from ferryman.ir.usage import Usage
from ferryman.wire.anthropic_messages.encode import encode_request
from ferryman.wire.anthropic_messages.encoder import MessagesEncoder
from ferryman.wire.anthropic_messages.errors import error_body, error_event
from ferryman.wire.anthropic_messages.reply import encode_reply
from ferryman.wire.anthropic_messages.request import decode_request, encode_count
from ferryman.wire.format import Aim, ReplyContext
from tests.wire.messages import ANSWERS, ASKED, decode
from tests.wire.messages_asking import CLOSED, SIGNED, F, call, result
from tests.wire.test_anthropic_messages_requests import BLOCKS, PNG, TOP, asked, compact
from tests.wire.turns import model, user

anthropic = pytest.importorskip("anthropic")
httpx2 = pytest.importorskip("httpx2")
pydantic = pytest.importorskip("pydantic")

HTTP = Callable[[Any], Any]


@pytest.fixture(scope="module")
def params() -> Any:
    """The SDK's type of a request, made to refuse what it doesn't list.

    Its types say Iterable, which pydantic takes a string for, and checks only when it is read: the
    fixture loads a copy of them that says List.
    """
    loaded = {name: sys.modules.pop(name) for name in list(sys.modules) if _is_sdk(name)}
    iterable = typing.Iterable
    try:
        typing.Iterable = list  # type: ignore[misc, assignment]
        kinds = importlib.import_module("anthropic.types.message_create_params")
        for name in [name for name in sys.modules if name.startswith("anthropic.types.")]:
            _forbid_more(sys.modules[name])
        return pydantic.TypeAdapter(
            kinds.MessageCreateParamsStreaming | kinds.MessageCreateParamsNonStreaming
        )
    finally:
        typing.Iterable = iterable  # type: ignore[misc]
        for name in [name for name in sys.modules if _is_sdk(name)]:
            del sys.modules[name]
        sys.modules.update(loaded)


def _forbid_more(module: Any) -> None:
    for each in vars(module).values():
        if isinstance(each, type) and hasattr(each, "__total__"):
            config = getattr(each, "__pydantic_config__", {})
            if config.get("extra") != "allow":
                each.__pydantic_config__ = {**config, "extra": "forbid"}


def _is_sdk(name: str) -> bool:
    return name == "anthropic" or name.startswith("anthropic.")


def judged(params: Any, body: bytes) -> None:
    """Fails unless the SDK's types know all of the body."""
    known(params.validate_json(body))


def test_the_judge_is_strict(params: Any) -> None:
    for wrong in (
        {"seed": 1}, {"tool_choice": {"type": "some"}}, {"system": [{"type": "text"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a", "x": 1}]}]},
    ):  # fmt: skip
        with pytest.raises((pydantic.ValidationError, AssertionError)):
            judged(params, compact({**asked(), **wrong}).encode())


PICTURE = Media(kind=MediaKind.IMAGE, source=Source(media_type="image/png", data="aGk="))
PAPER = Media(
    kind=MediaKind.DOCUMENT, name="T", cite=True, cache=CacheMark(3600),
    source=Source(media_type="application/pdf", data="aGk="),
)  # fmt: skip
CASES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "text": ({}, ()),
    "stream, user, stop": ({"stream": True, "user": "u", "stop": ("a",)}, ()),
    "media": ({"messages": (user("a", PICTURE, PAPER),)}, ()),
    "a loop with tools": (
        {"messages": (
            Message(role=Role.SYSTEM, blocks=(Text(text="S", cache=CacheMark()),)),
            user("go"), model(SIGNED, "ok", call("a"), call("b", arguments='{"x":{"y":[1]}}')),
            user(result("a", "1", PICTURE, error=True), result("b")),
            Message(role=Role.SYSTEM, blocks=(Text(text="note"),)),
        ), "tools": (F,), "parallel_tools": False}, ("system_messages",),
    ),
    "a forced tool": (
        {"tools": (F,), "tool_choice": ToolChoice(mode=ToolMode.REQUIRED, allowed=("f",))}, (),
    ),
    "a form": ({"output": OutputFormat(kind=OutputKind.SCHEMA, schema=CLOSED)}, ("json_schema",)),
    "a form by a tool": ({"output": OutputFormat(kind=OutputKind.JSON)}, ()),
    "a budget": ({"reasoning": Reasoning(effort="high", summary="auto")}, ("reasoning",)),
    "adaptive": (
        {"reasoning": Reasoning(effort="max", summary="detailed"), "service_tier": "default"},
        ("adaptive_thinking", "effort_max"),
    ),
    "no thinking": ({"reasoning": Reasoning(effort="none")}, ("adaptive_thinking",)),
}  # fmt: skip


@pytest.mark.parametrize(("more", "aim"), CASES.values(), ids=CASES)
def test_requests_of_others_fit_the_sdk_s_types(
    params: Any, more: dict[str, Any], aim: tuple[str, ...]
) -> None:
    said = {"model": "m", "messages": (user("Hi"),), "max_output": 9000, "origin": "openai_chat"}
    body = encode_request(Request(**{**said, **more}), Aim(model="m", abilities=aim), Receipt())
    judged(params, body)


@pytest.mark.parametrize("name", [name for name in BLOCKS if "new" not in name])
def test_blocks_of_own_callers_fit_too(params: Any, name: str) -> None:
    role, wire, _ = BLOCKS[name]
    body = compact(asked([{"role": role, "content": [wire]}])).encode()
    judged(params, body)
    judged(params, encode_request(decode_request(body), Aim(model="m"), Receipt()))


def talk(reply: bytes, status: int = 200, kind: str = "application/json") -> Any:
    """A client of the SDK whose server gives one reply, with what it was sent."""
    sent: list[Any] = []

    def answer(request: Any) -> Any:
        sent.append(request)
        headers = {"content-type": kind, "request-id": "req_1"}
        return httpx2.Response(status, content=reply, headers=headers)

    client = anthropic.Anthropic(
        api_key="k", max_retries=0,
        http_client=httpx2.Client(transport=httpx2.MockTransport(answer)),
    )  # fmt: skip
    return client, sent


def known(value: Any) -> None:
    """Fails for a member that the SDK's model doesn't list."""
    if isinstance(value, dict):
        for each in value.values():
            known(each)
    elif isinstance(value, pydantic.BaseModel):
        assert not value.model_extra, f"{type(value).__name__}: {value.model_extra}"
        for name in type(value).model_fields:
            known(getattr(value, name))
    elif isinstance(value, list):
        for each in value:
            known(each)


AWAY = Reply(
    begin=Begin(id="chatcmpl-1", model="gpt"),
    choices=(
        Choice(
            blocks=(
                Thinking(text="hm", signature=Signature("G", "gemini_generate")),
                Thinking(encrypted=True, signature=Signature("R", "openai_responses")),
                Text(
                    text="so",
                    citations=(
                        Citation(url="https://a.example", title="A", quote="q"),
                        Citation(document=0, unit="page", first=1, last=2, quote="q"),
                    ),
                ),
                ToolCall(id="call_1", name="f", arguments='{"a":[1,{"b":"ü"}]}'),
                ToolCall(id="call_2", name="f", arguments="",
                         signature=Signature("G", "gemini_generate")),
            ),
            finish=Finish(reason=FinishReason.TOOL_CALLS),
        ),
    ),
    usage=Usage(1, 2, 3, 4, 0, 5, 6),
)  # fmt: skip
REFUSED = Reply(
    begin=Begin(),
    choices=(
        Choice(
            blocks=(Refusal(text="I can't"),),
            finish=Finish(reason=FinishReason.CONTENT_FILTER, detail="SAFETY"),
        ),
    ),
)


def replies() -> Iterator[Any]:
    yield pytest.param(AWAY, id="away")
    yield pytest.param(REFUSED, id="refused")
    for name, answer in ANSWERS.items():
        if "new" in name or "own" in name:
            continue  # words and blocks that no SDK can know yet
        yield pytest.param(fold(decode([answer.stream])), id=name)


@pytest.mark.parametrize("reply", list(replies()))
def test_answers_are_what_the_sdk_expects(reply: Reply) -> None:
    context = ReplyContext(request=ASKED, receipt=Receipt(), request_id="r", input_estimate=3)
    body = encode_reply(reply, context)
    whole = anthropic.types.Message.model_validate(json.loads(body))
    known(whole)
    client, _ = talk(body)
    assert client.messages.create(**asked()).to_dict() == json.loads(body)

    encoder = MessagesEncoder(context)
    stream = b"".join([encoder.encode(event) for event in unfold(reply)])
    kind = pydantic.TypeAdapter(anthropic.types.RawMessageStreamEvent)
    for event in stream.decode().split("\n\n")[:-1]:
        known(kind.validate_json(event.partition("data: ")[2]))
    client, _ = talk(stream, kind="text/event-stream")
    with client.messages.stream(**asked()) as events:
        told = events.get_final_message()
    assert [each.to_dict() for each in told.content] == [each.to_dict() for each in whole.content]
    assert (told.stop_reason, told.stop_sequence) == (whole.stop_reason, whole.stop_sequence)
    assert told.stop_details == whole.stop_details
    assert (told.usage.output_tokens, told.usage.output_tokens_details) == (
        whole.usage.output_tokens, whole.usage.output_tokens_details
    )  # fmt: skip
    if reply.usage is not None:
        for name in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"):
            assert (getattr(told.usage, name) or 0) == (getattr(whole.usage, name) or 0)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "BadRequestError"), (401, "AuthenticationError"), (402, "PaymentRequiredError"),
     (403, "PermissionDeniedError"), (404, "NotFoundError"), (413, "ContentTooLargeError"),
     (429, "RateLimitError"), (500, "InternalServerError"), (529, "OverloadedError")],
)  # fmt: skip
def test_errors_reach_the_caller_as_the_sdk_s_own(status: int, kind: str) -> None:
    error = GatewayError(status, ErrorKind.CONTEXT_TOO_LONG, "Too long.")
    body = error_body(error, "req_1")
    client, _ = talk(body, status)
    with pytest.raises(anthropic.APIStatusError) as raised:
        client.messages.create(**asked())
    assert raised.value.api_message == "Too long."
    assert raised.value.status_code == status
    assert type(raised.value).__name__ in (kind, "APIStatusError", "RequestTooLargeError")
    if status != 413:  # which the API's edge answers, outside of the SDK's types
        anthropic.types.ErrorResponse.model_validate_json(body)
    stream = ANSWERS["text"].stream[:400] + error_event(error, "req_1")
    client, _ = talk(stream.split(b"\n\n", 1)[0] + b"\n\n" + error_event(error, "req_1"),
                     kind="text/event-stream")  # fmt: skip
    with pytest.raises(anthropic.APIStatusError, match="Too long"):
        list(client.messages.create(**asked(), stream=True))


@pytest.mark.parametrize("name", [name for name in TOP if "only the format" not in name])
def test_what_the_sdk_sends_is_understood(name: str) -> None:
    client, sent = talk(encode_reply(AWAY, ReplyContext(request=ASKED, receipt=Receipt(),
                                                        request_id="r")))  # fmt: skip
    wire = dict(TOP[name][0])
    body = {key: wire.pop(key) for key in ("temperature", "top_p", "top_k") if key in wire}
    stream = wire.pop("stream", False)
    client.messages.create(**asked(**wire), stream=stream, extra_body=body)
    request = decode_request(sent[0].content)
    assert not request.unknown
    assert not request.extra or name == "a cache to be filled"
    for attribute, value in TOP[name][1].items():
        assert getattr(request, attribute) == value


def test_an_answer_can_be_sent_back_as_the_sdk_has_it() -> None:
    """Signatures of others return with the blocks that they belong to."""
    context = ReplyContext(request=ASKED, receipt=Receipt(), request_id="r")
    client, sent = talk(encode_reply(AWAY, context))
    message = client.messages.create(**asked())
    image = {"type": "image", "source": PNG}
    results = [
        {"type": "tool_result", "tool_use_id": "call_1", "content": [image]},
        {"type": "tool_result", "tool_use_id": "call_2", "content": "x", "is_error": True},
    ]
    turns = [message.to_param(), {"role": "user", "content": results}]
    client.messages.create(**asked(turns))
    request = decode_request(sent[1].content)
    assert not request.unknown
    said = request.messages[0].blocks
    wanted = AWAY.choices[0].blocks
    assert said[:2] == wanted[:2]
    last = said[-1]
    assert isinstance(last, ToolCall)
    assert last.signature == Signature("G", "gemini_generate")
    assert [type(block) for block in said] == [type(block) for block in wanted]
    assert all(isinstance(block, ToolResult) for block in request.messages[1].blocks)


def test_counts() -> None:
    client, sent = talk(encode_count(12))
    assert client.messages.count_tokens(model="m", messages=[{"role": "user", "content": "a"}]) == (
        anthropic.types.MessageTokensCount(input_tokens=12)
    )
    assert decode_request(sent[0].content).model == "m"
