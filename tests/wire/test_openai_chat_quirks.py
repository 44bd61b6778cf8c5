"""Chat requests for providers that differ: what quirks change, what is refused, and the receipt."""

import json
from typing import Any

import pytest
from msgspec import Raw

from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.receipt import Receipt
from ferryman.ir.request import (
    Block,
    CacheMark,
    HostedTool,
    Media,
    MediaKind,
    Message,
    Opaque,
    OutputFormat,
    OutputKind,
    Reasoning,
    Request,
    Role,
    Signature,
    Source,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolMode,
    ToolResult,
)
from ferryman.wire.format import Aim
from ferryman.wire.openai_chat.encode import encode_request

F, G = Tool(name="f"), Tool(name="g")
SCHEMA = OutputFormat(kind=OutputKind.SCHEMA, schema=Raw(b'{"type":"object"}'))
OWN, FOREIGN = Signature("v1|S", "openai_chat"), Signature("S", "anthropic_messages")


def sent(
    *blocks: Block,
    quirks: tuple[str, ...] = (),
    role: Role = Role.USER,
    abilities: tuple[str, ...] = (),
    **more: Any,
) -> tuple[dict[str, Any], Receipt]:
    receipt = Receipt()
    message = Message(role=role, blocks=blocks or (Text(text="hi"),))
    request = Request(model="x", messages=(message,), **more)
    aim = Aim(model="m", quirks=quirks, abilities=abilities)
    return json.loads(encode_request(request, aim, receipt)), receipt


def function(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


MEMBERS: list[tuple[dict[str, Any], tuple[str, ...], dict[str, Any], list[str]]] = [
    # the request's fields, quirks, members of the body, the receipt
    ({"max_output": 5}, (), {"max_tokens": 5}, []),
    ({"max_output": 5}, ("max_completion_tokens",), {"max_completion_tokens": 5}, []),
    ({"top_k": 5}, (), {}, ["top_k"]),
    ({"top_k": 5}, ("top_k",), {"top_k": 5}, []),
    ({"seed": 5}, ("no_seed",), {}, ["seed"]),
    ({"stream": True}, (), {"stream": True, "stream_options": {"include_usage": True}}, []),
    ({"stream": True}, ("no_stream_options",), {"stream": True}, []),
    ({"user": "u"}, ("safety_identifier",), {"safety_identifier": "u"}, []),
    ({"metadata": (("a", "b"),)}, (), {}, ["metadata"]),
    ({"metadata": (("a", "b"),), "store": True}, (), {"metadata": {"a": "b"}, "store": True}, []),
    ({"metadata": (("a", "b"),)}, ("metadata",), {"metadata": {"a": "b"}}, []),
    ({"service_tier": "reserved"}, (), {}, ["service_tier"]),
    ({"audio": Raw(b"1"), "modalities": ("audio",)}, (), {}, ["modalities", "audio"]),
    ({"modalities": ("text", "image")}, (), {"modalities": ["text", "image"]}, []),
    ({"extra": (("weird", Raw(b"1")),), "origin": "gemini_generate"}, (), {}, ["weird"]),
    ({"extra": (("weird", Raw(b"1")),), "origin": "openai_chat"}, (), {"weird": 1}, []),
    ({"reasoning": Reasoning(effort="low")}, (), {"reasoning_effort": "low"}, []),
    ({"reasoning": Reasoning(effort="low", budget=9)}, (), {"reasoning_effort": "low"},
     ["reasoning.budget"]),
    ({"reasoning": Reasoning(budget=0)}, (), {"reasoning_effort": "none"}, []),
    ({"reasoning": Reasoning(budget=1000)}, (), {"reasoning_effort": "low"},
     ["reasoning.budget=effort low"]),
    ({"reasoning": Reasoning(adaptive=True)}, (), {}, ["reasoning=the model's own default"]),
    ({"reasoning": Reasoning(effort="low", summary="auto", encrypted=True)}, (),
     {"reasoning_effort": "low"}, ["reasoning.encrypted", "reasoning.summary"]),
    ({"reasoning": Reasoning(budget=0)}, ("thinking_object",), {"thinking": {"type": "disabled"}},
     []),
    ({"reasoning": Reasoning(effort="low")}, ("thinking_object",),
     {"thinking": {"type": "enabled"}}, ["reasoning=on, without saying how much"]),
    ({"reasoning": Reasoning(budget=9, summary="none")}, ("reasoning_object",),
     {"reasoning": {"max_tokens": 9, "exclude": True}}, []),
    ({"reasoning": Reasoning(budget=0, summary="auto")}, ("reasoning_object",),
     {"reasoning": {"enabled": False, "summary": "auto"}}, []),
    ({"output": SCHEMA}, (), {"response_format": {"type": "json_schema", "json_schema": {
        "name": "response", "schema": {"type": "object"}}}}, []),
    ({"output": SCHEMA}, ("no_json_schema",), {
        "tools": [{"type": "function", "function": {
            "name": "structured_output", "parameters": {"type": "object"},
            "description": "Give the final answer with this tool."}}],
        "tool_choice": function("structured_output")}, ["response_format=forced tool"]),
    ({"tools": (F, G), "tool_choice": ToolChoice(mode=ToolMode.REQUIRED, allowed=("g",))}, (),
     {"tools": [function("f"), function("g")], "tool_choice": function("g")}, []),
    ({"tools": (F, G), "tool_choice": ToolChoice(mode=ToolMode.AUTO, allowed=("g",))}, (),
     {"tools": [function("g")], "tool_choice": "auto"},
     ["tool_choice=only the allowed tools are sent"]),
    ({"tools": (F, G), "tool_choice": ToolChoice(mode=ToolMode.AUTO, allowed=("g",))},
     ("allowed_tools",),
     {"tools": [function("f"), function("g")], "tool_choice": {
         "type": "allowed_tools",
         "allowed_tools": {"mode": "auto", "tools": [function("g")]}}}, []),
    ({"tools": (F,), "parallel_tools": True}, ("no_parallel_tools",), {"tools": [function("f")]},
     ["parallel_tool_calls"]),
    ({"tools": (Tool(name="f", cache=CacheMark(ttl=300)),)}, (), {"tools": [function("f")]},
     ["tools[0].cache_control"]),
    ({"tools": (Tool(name="f", cache=CacheMark(ttl=300)),)}, ("cache_control",),
     {"tools": [{**function("f"), "cache_control": {"type": "ephemeral", "ttl": "5m"}}]}, []),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "quirks", "members", "receipt"), MEMBERS)
def test_members(
    fields: dict[str, Any], quirks: tuple[str, ...], members: dict[str, Any], receipt: list[str]
) -> None:
    body, found = sent(quirks=quirks, **fields)
    assert body.pop("model") == "m"
    assert body.pop("messages") == [{"role": "user", "content": "hi"}]
    assert body == members
    assert [*found.dropped, *found.altered] == receipt


def test_structured_output_by_tool_beside_other_tools() -> None:
    body, receipt = sent(quirks=("no_json_schema",), output=SCHEMA, tools=(F,))
    assert body["tool_choice"] == "required"
    assert [tool["function"]["name"] for tool in body["tools"]] == ["f", receipt.output_tool]
    body, receipt = sent(
        quirks=("no_json_schema",), output=SCHEMA, tools=(F,),
        tool_choice=ToolChoice(mode=ToolMode.NONE),
    )  # fmt: skip
    assert body["tool_choice"] == function(receipt.output_tool)


def test_thinking_is_not_asked_of_a_model_that_is_known_not_to_think() -> None:
    wanted = Reasoning(effort="high")
    body, receipt = sent(reasoning=wanted, abilities=("tools",))
    assert ("reasoning_effort" in body, receipt.dropped) == (False, ("reasoning",))
    body, receipt = sent(reasoning=Reasoning(effort="none"), abilities=("tools",))
    assert ("reasoning_effort" in body, receipt.dropped) == (False, ())
    body, _ = sent(reasoning=wanted, abilities=("tools", "reasoning"))
    assert body["reasoning_effort"] == "high"


def image(url: str = "https://e.x/a") -> Media:
    return Media(kind=MediaKind.IMAGE, source=Source(url=url))


URL = {"type": "image_url", "image_url": {"url": "https://e.x/a"}}
CONTENTS: list[tuple[Block, tuple[str, ...], object, list[str]]] = [
    (Text(text="a", cache=CacheMark()), (), "a", ["messages[0].cache_control"]),
    (Text(text="a", cache=CacheMark(ttl=7200)), ("cache_breakpoint",),
     [{"type": "text", "text": "a",
       "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}}], []),
    (Opaque(origin="gemini_generate", kind="executable_code", raw=b"{}"), (), "",
     ["messages[0].executable_code"]),
    (Media(kind=MediaKind.DOCUMENT, source=Source(text="words"), context="c", cite=True), (),
     "c\n\nwords", ["messages[0].document.citations", "messages[0].document=text"]),
    (Media(kind=MediaKind.DOCUMENT, source=Source(data="QUJD", media_type="text/csv"),
           context="c"), (),
     [{"type": "file", "file": {"filename": "document.csv",
                                "file_data": "data:text/csv;base64,QUJD"}}],
     ["messages[0].document.context"]),
    (Media(kind=MediaKind.DOCUMENT, source=Source(file_id="f", origin="openai_responses")), (),
     [{"type": "file", "file": {"file_id": "f"}}], []),
    (Media(kind=MediaKind.AUDIO, source=Source(data="QUJD", media_type="audio/wave; x=1")), (),
     [{"type": "input_audio", "input_audio": {"data": "QUJD", "format": "wav"}}], []),
]  # fmt: skip


@pytest.mark.parametrize(("block", "quirks", "content", "receipt"), CONTENTS)
def test_content(
    block: Block, quirks: tuple[str, ...], content: object, receipt: list[str]
) -> None:
    body, found = sent(block, quirks=quirks)
    assert body["messages"] == [{"role": "user", "content": content}]
    assert [*found.dropped, *found.altered] == receipt


@pytest.mark.parametrize(
    ("block", "param"),
    [
        (Media(kind=MediaKind.IMAGE, source=Source(file_id="f", origin="openai_chat")), "image"),
        (Media(kind=MediaKind.DOCUMENT, source=Source(file_id="f", origin="x")), "document"),
        (Media(kind=MediaKind.DOCUMENT, source=Source(url="https://e.x/a.pdf")), "document"),
        (Media(kind=MediaKind.AUDIO, source=Source(url="https://e.x/a.wav")), "audio"),
        (Media(kind=MediaKind.AUDIO, source=Source(data="QQ==", media_type="audio/ogg")), "audio"),
        (Media(kind=MediaKind.VIDEO, source=Source(url="https://e.x/a.mp4")), "video"),
    ],
)
def test_media_that_the_target_cannot_take_are_refused(block: Media, param: str) -> None:
    with pytest.raises(GatewayError) as caught:
        sent(block)
    error = caught.value
    assert (error.status, error.kind) == (400, ErrorKind.UNSUPPORTED)
    assert error.param == f"messages[0].{param}"


def test_tools_and_prompts_that_only_another_provider_has_are_refused_by_name() -> None:
    hosted = HostedTool(origin="anthropic_messages", kind="web_search_20250305", raw=b"{}")
    with pytest.raises(GatewayError, match="web_search_20250305") as caught:
        sent(tools=(F, hosted))
    assert (caught.value.kind, caught.value.param) == (ErrorKind.UNSUPPORTED, "tools[1]")
    with pytest.raises(GatewayError, match="cachedContents/x"):
        sent(cached_content="cachedContents/x")


def test_pictures_of_a_tool_follow_in_a_message_of_the_user() -> None:
    results = (
        ToolResult(call_id="a", blocks=(Text(text="see"), image())),
        ToolResult(call_id="b", blocks=(image(),)),
        Text(text="well?"),
    )
    body, receipt = sent(*results)
    assert body["messages"] == [
        {"role": "tool", "tool_call_id": "a", "content": "see"},
        {"role": "tool", "tool_call_id": "b",
         "content": "(The result follows in the next message.)"},
        {"role": "user", "content": [URL, URL]},
        {"role": "user", "content": "well?"},
    ]  # fmt: skip
    assert receipt.altered == ("messages[0].tool_result=media follow in a user message",)
    body, _ = sent(*results, quirks=("tool_images",))
    assert body["messages"][1]["content"] == [URL]


THOUGHTS: list[tuple[tuple[str, ...], Thinking, dict[str, Any], list[str]]] = [
    ((), Thinking(text="t"), {}, ["messages[0].thinking"]),
    (("echo_reasoning_content",), Thinking(text="t"), {"reasoning_content": "t"}, []),
    (("echo_reasoning_content",), Thinking(text="t", signature=FOREIGN), {"reasoning_content": "t"},
     ["messages[0].thinking.signature"]),
    (("echo_reasoning_content",), Thinking(encrypted=True, signature=FOREIGN), {},
     ["messages[0].thinking"]),
    (("reasoning_details",), Thinking(text="t", signature=FOREIGN), {}, ["messages[0].thinking"]),
    (("reasoning_details",), Thinking(text="t", signature=OWN), {"reasoning_details": [
        {"type": "reasoning.text", "text": "t", "signature": "S", "format": "v1", "index": 0}]},
     []),
    (("reasoning_details",), Thinking(text="t", signature=Signature("v1||S", "openai_chat")),
     {"reasoning_details": [
         {"type": "reasoning.summary", "summary": "t", "format": "v1", "index": 0},
         {"type": "reasoning.encrypted", "data": "S", "format": "v1", "index": 0}]}, []),
    (("reasoning_details",), Thinking(text="t"), {"reasoning_details": [
        {"type": "reasoning.text", "text": "t", "index": 0}]}, []),
]  # fmt: skip


@pytest.mark.parametrize(("quirks", "block", "members", "receipt"), THOUGHTS)
def test_thoughts_go_back_where_they_came_from(
    quirks: tuple[str, ...], block: Thinking, members: dict[str, Any], receipt: list[str]
) -> None:
    body, found = sent(block, Text(text="x"), quirks=quirks, role=Role.ASSISTANT)
    assert body["messages"] == [{"role": "assistant", "content": "x", **members}]
    assert list(found.dropped) == receipt


def test_signatures_of_calls_and_texts_go_back_where_they_came_from() -> None:
    own = Signature("S", "openai_chat")
    blocks = (
        Text(text="x", signature=own),
        ToolCall(id="a", name="f", arguments="{}", signature=own),
        ToolCall(id="b", name="f", arguments="{}", signature=FOREIGN),
    )
    body, receipt = sent(*blocks, role=Role.ASSISTANT, quirks=("extra_content",))
    (message,) = body["messages"]
    extra = {"google": {"thought_signature": "S"}}
    assert message["extra_content"] == message["tool_calls"][0]["extra_content"] == extra
    assert "extra_content" not in message["tool_calls"][1]
    assert receipt.dropped == ("messages[0].tool_calls[1].signature",)
    _, receipt = sent(*blocks, role=Role.ASSISTANT)
    assert len(receipt.dropped) == 3


def test_ids_fit_the_provider_and_still_find_each_other() -> None:
    long = "toolu_" + "ü" * 50
    call, result = ToolCall(id=long, name="f", arguments="{}"), ToolResult(call_id=long)
    request = Request(
        model="x",
        messages=(
            Message(role=Role.ASSISTANT, blocks=(call,)),
            Message(role=Role.USER, blocks=(result,)),
        ),
    )
    for quirks, length in (((), 29), (("short_tool_ids",), 9)):
        body = json.loads(encode_request(request, Aim(model="m", quirks=quirks), Receipt()))
        said, given = body["messages"]
        assert said["tool_calls"][0]["id"] == given["tool_call_id"]
        assert len(given["tool_call_id"]) == length


def test_content_as_one_string_and_roles_that_a_server_knows() -> None:
    request = Request(
        model="x",
        messages=(
            Message(role=Role.DEVELOPER, blocks=(Text(text="a"), Text(text="b"))),
            Message(role=Role.USER, blocks=(Text(text="c", cache=CacheMark()), Text(text="d"))),
            Message(role=Role.ASSISTANT, blocks=(Text(text="e"), Text(text="f"))),
            Message(role=Role.ASSISTANT, blocks=(Thinking(text="t"),)),
            Message(role=Role.USER, blocks=()),
        ),
    )
    receipt = Receipt()
    aim = Aim(model="m", quirks=("flat_content", "system_role"))
    assert json.loads(encode_request(request, aim, receipt))["messages"] == [
        {"role": "system", "content": "a\n\nb"},
        {"role": "user", "content": "c\n\nd"},
        {"role": "assistant", "content": "ef"},
        {"role": "user", "content": ""},
    ]
    assert receipt.dropped == ("messages[1].cache_control", "messages[3].thinking")


THINKS = ("no_sampling_thinking", "thinks_unasked", "no_penalties")
SETTINGS = {"temperature": 0.5, "top_p": 0.9, "logprobs": True, "top_logprobs": 2}
REFUSED: list[tuple[tuple[str, ...], dict[str, Any], dict[str, Any], tuple[str, ...]]] = [
    (("no_sampling",), SETTINGS, {}, tuple(SETTINGS)),
    (("no_sampling",), {"temperature": 1.0, "top_p": 1.0}, {}, ()),
    (("no_sampling",), {"temperature": 0.0}, {}, ("temperature",)),
    (("no_penalties",), {"presence_penalty": 0.0, "frequency_penalty": 0.5}, {},
     ("frequency_penalty",)),
    (("no_stop",), {"stop": ("a",)}, {}, ("stop",)),
    (THINKS, SETTINGS, {}, tuple(SETTINGS)),
    (THINKS[:1], SETTINGS, SETTINGS, ()),
    (THINKS, SETTINGS | {"reasoning": Reasoning(effort="none")},
     SETTINGS | {"reasoning_effort": "none"}, ()),
    (THINKS[:1], SETTINGS | {"reasoning": Reasoning(effort="low")}, {"reasoning_effort": "low"},
     tuple(SETTINGS)),
]  # fmt: skip


@pytest.mark.parametrize(("quirks", "asked", "wanted", "dropped"), REFUSED)
def test_settings_that_a_model_refuses_are_left_out(
    quirks: tuple[str, ...], asked: dict[str, Any], wanted: dict[str, Any],
    dropped: tuple[str, ...],
) -> None:  # fmt: skip
    body, receipt = sent(quirks=quirks, **asked)
    assert {name: body[name] for name in body if name not in ("model", "messages")} == wanted
    assert receipt.dropped == dropped


EFFORTS: list[tuple[Reasoning, str, tuple[str, ...]]] = [
    (Reasoning(effort="max"), "xhigh", ("reasoning.effort=xhigh",)),
    (Reasoning(effort="minimal"), "low", ("reasoning.effort=low",)),
    (Reasoning(effort="none"), "low", ("reasoning.effort=low",)),
    (Reasoning(effort="high"), "high", ()),
    (Reasoning(budget=0), "low", ("reasoning.budget=effort low",)),
    (Reasoning(budget=60_000), "xhigh", ("reasoning.budget=effort xhigh",)),
]


@pytest.mark.parametrize(("reasoning", "effort", "altered"), EFFORTS)
def test_efforts_that_a_model_does_not_know(
    reasoning: Reasoning, effort: str, altered: tuple[str, ...]
) -> None:
    body, receipt = sent(quirks=("efforts_low_to_high", "effort_xhigh"), reasoning=reasoning)
    assert (body["reasoning_effort"], receipt.altered) == (effort, altered)


@pytest.mark.parametrize(
    ("reasoning", "more", "effort", "told"),
    [
        (Reasoning(effort="high"), (), "none", True),
        (None, ("thinks_unasked",), "none", True),
        (Reasoning(effort="none"), ("thinks_unasked",), "none", False),
        (None, (), None, False),
    ],
)
def test_thinking_is_off_where_it_excludes_tools(
    reasoning: Reasoning | None, more: tuple[str, ...], effort: str | None, told: bool
) -> None:
    quirks = ("tools_by_responses", "efforts_low_to_high", "effort_none", *more)
    body, receipt = sent(quirks=quirks, tools=(F,), reasoning=reasoning)
    assert body.get("reasoning_effort") == effort
    assert receipt.altered == (("reasoning=off: the request has tools",) if told else ())
    body, _ = sent(quirks=quirks, reasoning=Reasoning(effort="high"))
    assert body["reasoning_effort"] == "high"


OBJECT, EFFORT = ("thinking_object",), ("thinking_object", "thinking_effort")
ALWAYS, SWITCH = ("thinking_effort", "thinking_always"), ("enable_thinking",)
ON, OFF = {"thinking": {"type": "enabled"}}, {"thinking": {"type": "disabled"}}
SWITCHES: list[tuple[tuple[str, ...], Reasoning, dict[str, Any], tuple[str, ...]]] = [
    (OBJECT, Reasoning(effort="high"), ON, ("reasoning=on, without saying how much",)),
    (OBJECT, Reasoning(adaptive=True), ON, ()),
    (OBJECT, Reasoning(effort="none"), OFF, ()),
    (EFFORT, Reasoning(effort="high"), ON | {"reasoning_effort": "high"}, ()),
    (EFFORT, Reasoning(budget=9000), ON | {"reasoning_effort": "medium"},
     ("reasoning.budget=effort medium",)),
    (EFFORT, Reasoning(budget=0), OFF, ()),
    (ALWAYS, Reasoning(effort="low"), {"reasoning_effort": "low"}, ()),
    (ALWAYS, Reasoning(effort="none"), {}, ("reasoning=on: this model always thinks",)),
    (SWITCH, Reasoning(effort="none"), {"enable_thinking": False}, ()),
    (SWITCH, Reasoning(budget=500), {"enable_thinking": True, "thinking_budget": 500}, ()),
    (SWITCH, Reasoning(effort="low"), {"enable_thinking": True, "thinking_budget": 1024},
     ("reasoning.effort=budget of 1024 tokens",)),
    (SWITCH, Reasoning(adaptive=True), {"enable_thinking": True}, ()),
]  # fmt: skip


@pytest.mark.parametrize(("quirks", "reasoning", "members", "altered"), SWITCHES)
def test_thinking_is_switched_as_the_vendor_wants_it(
    quirks: tuple[str, ...], reasoning: Reasoning, members: dict[str, Any],
    altered: tuple[str, ...],
) -> None:  # fmt: skip
    body, receipt = sent(quirks=quirks, reasoning=reasoning)
    assert {name: body[name] for name in body if name not in ("model", "messages")} == members
    assert receipt.altered == altered
