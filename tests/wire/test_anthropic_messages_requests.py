"""Requests of callers of the Messages format: what they mean, and that they survive the way."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.receipt import Receipt
from ferryman.ir.request import (
    Block,
    CacheMark,
    Citation,
    HostedTool,
    Media,
    MediaKind,
    Message,
    Opaque,
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
from ferryman.wire.anthropic_messages.encode import encode_request
from ferryman.wire.anthropic_messages.request import decode_count, decode_request, encode_count
from ferryman.wire.anthropic_messages.types import NAME
from ferryman.wire.format import Aim
from tests.wire.messages import compact

AIM = Aim(model="claude-aim")
PNG = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
HI = {"role": "user", "content": "Hi"}


def asked(messages: Any = (HI,), **more: Any) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 100, "messages": list(messages), **more}


def decoded(messages: Any = (HI,), **more: Any) -> Request:
    return decode_request(compact(asked(messages, **more)).encode())


def content(*blocks: dict[str, Any], role: str = "user") -> tuple[Block, ...]:
    (message,) = decoded([{"role": role, "content": list(blocks)}]).messages
    return message.blocks


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


SEARCH = {
    "type": "search_result", "source": "https://a.example/x", "title": "X",
    "content": [text("one"), text("two")], "citations": {"enabled": True},
}  # fmt: skip
PAGES = {"type": "content", "content": [text("one"), text("two")]}
WEB = {
    "type": "web_search_result_location", "cited_text": "c", "encrypted_index": "E",
    "title": "T", "url": "https://b.example",
}  # fmt: skip
SERVER = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}}
CALLED = {"type": "tool_use", "id": "t", "name": "f", "input": {},
          "caller": {"type": "code_execution_20260120", "tool_id": "s"}}  # fmt: skip

BLOCKS: dict[str, tuple[str, dict[str, Any], Block]] = {
    "text": ("user", text("a ü\n"), Text(text="a ü\n")),
    "text, marked": (
        "user", text("a", cache_control={"type": "ephemeral"}), Text(text="a", cache=CacheMark()),
    ),
    "text, marked for an hour": (
        "user", text("a", cache_control={"type": "ephemeral", "ttl": "1h"}),
        Text(text="a", cache=CacheMark(3600)),
    ),
    "text with citations": (
        "assistant", text("a", citations=[WEB]),
        Text(text="a", citations=(
            Citation(url="https://b.example", title="T", quote="c", origin=NAME,
                     raw=compact(WEB).encode()),
        )),
    ),
    "image": (
        "user", {"type": "image", "source": PNG},
        Media(kind=MediaKind.IMAGE, source=Source(media_type="image/png", data="iVBORw0KGgo=")),
    ),
    "image by URL": (
        "user", {"type": "image", "source": {"type": "url", "url": "https://a.example/i"}},
        Media(kind=MediaKind.IMAGE, source=Source(url="https://a.example/i")),
    ),
    "stored image": (
        "user", {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
        Media(kind=MediaKind.IMAGE, source=Source(file_id="file_1", origin=NAME)),
    ),
    "PDF": (
        "user",
        {"type": "document", "title": "T", "context": "C", "citations": {"enabled": True},
         "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}},
        Media(kind=MediaKind.DOCUMENT, name="T", context="C", cite=True,
              source=Source(media_type="application/pdf", data="JVBERi0=")),
    ),
    "PDF by URL": (
        "user", {"type": "document", "source": {"type": "url", "url": "https://a.example/p"}},
        Media(kind=MediaKind.DOCUMENT, source=Source(url="https://a.example/p")),
    ),
    "plain document": (
        "user",
        {"type": "document",
         "source": {"type": "text", "media_type": "text/plain", "data": "words"}},
        Media(kind=MediaKind.DOCUMENT, source=Source(media_type="text/plain", text="words")),
    ),
    "document in pieces": (
        "user", {"type": "document", "title": "T", "source": PAGES},
        Media(kind=MediaKind.DOCUMENT, name="T",
              source=Source(media_type="text/plain", text="one\n\ntwo"), origin=NAME,
              raw=compact({"type": "document", "title": "T", "source": PAGES}).encode()),
    ),
    "document with pictures within": (
        "user",
        {"type": "document", "source": {"type": "content",
                                        "content": [{"type": "image", "source": PNG}]}},
        Opaque(origin=NAME, kind="document", raw=compact(
            {"type": "document", "source": {"type": "content",
                                            "content": [{"type": "image", "source": PNG}]}}
        ).encode()),
    ),
    "search result": (
        "user", SEARCH,
        Media(kind=MediaKind.DOCUMENT, name="X", context="https://a.example/x", cite=True,
              source=Source(media_type="text/plain", text="one\n\ntwo"), origin=NAME,
              raw=compact(SEARCH).encode()),
    ),
    "thinking": (
        "assistant", {"type": "thinking", "thinking": "hm", "signature": "S="},
        Thinking(text="hm", signature=Signature("S=", NAME)),
    ),
    "hidden thinking": (
        "assistant", {"type": "redacted_thinking", "data": "D="},
        Thinking(encrypted=True, signature=Signature("D=", NAME)),
    ),
    "call": (
        "assistant", {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": [1, "ü"]}},
        ToolCall(id="toolu_1", name="f", arguments='{"a":[1,"ü"]}'),
    ),
    "call by code": (
        "assistant", CALLED, Opaque(origin=NAME, kind="tool_use", raw=compact(CALLED).encode()),
    ),
    "result": (
        "user", {"type": "tool_result", "tool_use_id": "toolu_1", "content": "ok"},
        ToolResult(call_id="toolu_1", blocks=(Text(text="ok"),)),
    ),
    "result with nothing": (
        "user", {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": True},
        ToolResult(call_id="toolu_1", error=True),
    ),
    "result with empty text": (
        "user", {"type": "tool_result", "tool_use_id": "toolu_1", "content": ""},
        ToolResult(call_id="toolu_1", blocks=(Text(text=""),)),
    ),
    "result with blocks": (
        "user",
        {"type": "tool_result", "tool_use_id": "x", "cache_control": {"type": "ephemeral"},
         "content": [text("a"), {"type": "image", "source": PNG}, SEARCH,
                     {"type": "tool_reference", "tool_name": "g"}]},
        ToolResult(call_id="x", cache=CacheMark(), blocks=(
            Text(text="a"),
            Media(kind=MediaKind.IMAGE,
                  source=Source(media_type="image/png", data="iVBORw0KGgo=")),
            Media(kind=MediaKind.DOCUMENT, name="X", context="https://a.example/x", cite=True,
                  source=Source(media_type="text/plain", text="one\n\ntwo"), origin=NAME,
                  raw=compact(SEARCH).encode()),
            Opaque(origin=NAME, kind="tool_reference",
                   raw=b'{"type":"tool_reference","tool_name":"g"}'),
        )),
    ),
    "a tool of the provider's": (
        "assistant", SERVER,
        Opaque(origin=NAME, kind="server_tool_use", raw=compact(SERVER).encode()),
    ),
    "a block that is new": (
        "user", {"type": "hologram", "rays": [1]},
        Opaque(origin=NAME, kind="hologram", raw=b'{"type":"hologram","rays":[1]}'),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("role", "wire", "block"), BLOCKS.values(), ids=BLOCKS)
def test_blocks_mean_what_the_table_says_and_survive(
    role: str, wire: dict[str, Any], block: Block
) -> None:
    request = decoded([{"role": role, "content": [wire]}])
    assert request.messages == (Message(role=Role(role), blocks=(block,)),)
    assert not request.unknown
    receipt = Receipt()
    body = encode_request(request, AIM, receipt)
    assert not receipt.dropped + receipt.altered
    again = decode_request(body)
    assert again.messages == request.messages
    wanted = wire["text"] if set(wire) == {"type", "text"} else [wire]
    assert json.loads(body)["messages"] == [{"role": role, "content": wanted}]


TOP: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "nothing more": ({}, {}),
    "sampling": (
        {"temperature": 0.5, "top_p": 0.9, "top_k": 5, "stop_sequences": ["a", "\n"]},
        {"temperature": 0.5, "top_p": 0.9, "top_k": 5, "stop": ("a", "\n")},
    ),
    "stream": ({"stream": True}, {"stream": True, "include_usage": True}),
    "user and tier": (
        {"metadata": {"user_id": "u"}, "service_tier": "standard_only"},
        {"user": "u", "service_tier": "standard_only"},
    ),
    "a budget": (
        {"thinking": {"type": "enabled", "budget_tokens": 2000}},
        {"reasoning": Reasoning(budget=2000)},
    ),
    "no thinking": (
        {"thinking": {"type": "disabled"}}, {"reasoning": Reasoning(budget=0)},
    ),
    "adaptive": (
        {"thinking": {"type": "adaptive", "display": "omitted"},
         "output_config": {"effort": "xhigh"}},
        {"reasoning": Reasoning(adaptive=True, summary="none", effort="xhigh")},
    ),
    "effort": ({"output_config": {"effort": "low"}}, {"reasoning": Reasoning(effort="low")}),
    "any tool": (
        {"tools": [{"name": "f", "input_schema": {"type": "object"}}],
         "tool_choice": {"type": "any"}},
        {"tool_choice": ToolChoice(mode=ToolMode.REQUIRED)},
    ),
    "one tool, one at a time": (
        {"tools": [{"name": "f", "input_schema": {"type": "object"}}],
         "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True}},
        {"tool_choice": ToolChoice(mode=ToolMode.REQUIRED, allowed=("f",)),
         "parallel_tools": False},
    ),
    "tools as it likes, several": (
        {"tools": [{"name": "f", "input_schema": {"type": "object"}}],
         "tool_choice": {"type": "auto", "disable_parallel_tool_use": False}},
        {"tool_choice": ToolChoice(mode=ToolMode.AUTO), "parallel_tools": True},
    ),
    "no tool": (
        {"tools": [{"name": "f", "input_schema": {"type": "object"}}],
         "tool_choice": {"type": "none"}},
        {"tool_choice": ToolChoice(mode=ToolMode.NONE)},
    ),
    "members that only the format has": (
        {"container": {"id": "c"}, "context_management": {"edits": []}, "mcp_servers": [],
         "inference_geo": "us", "speed": "fast", "cache_control": {"type": "ephemeral"},
         "thinking": {"type": "between_tools"}, "metadata": {"other": 1},
         "output_config": {"task_budget": {"type": "tokens", "total": 9}}},
        {},
    ),
    "a cache to be filled": ({"max_tokens": 0}, {"max_output": 1}),
    "a form": (
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}}, {},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("wire", "means"), TOP.values(), ids=TOP)
def test_members_mean_what_the_table_says_and_survive(
    wire: dict[str, Any], means: dict[str, Any]
) -> None:
    request = decoded(**wire)
    for name, value in {"model": "m", "max_output": 100, "origin": NAME, **means}.items():
        assert getattr(request, name) == value
    assert not request.unknown
    receipt = Receipt()
    body = json.loads(encode_request(request, AIM, receipt))
    assert not receipt.dropped + receipt.altered
    assert body == {**asked(**wire), "model": "claude-aim"}


def test_a_form_keeps_its_schema() -> None:
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    said = {"type": "json_schema", "schema": schema}
    for request in (decoded(output_config={"format": said}), decoded(output_format=said)):
        assert request.output is not None
        assert request.output.schema is not None
        assert bytes(request.output.schema) == compact(schema).encode()
        assert request.output.kind is OutputKind.SCHEMA


def test_tools_of_all_kinds() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    search = {"type": "web_search_20260318", "name": "web_search", "max_uses": 3}
    bash = {"type": "bash_20250124", "name": "bash"}
    tools = [
        {"name": "f", "description": "D", "input_schema": schema, "strict": True, "type": "custom",
         "cache_control": {"type": "ephemeral", "ttl": "5m"}},
        {"name": "g", "input_schema": schema, "type": None},
        search, bash,
    ]  # fmt: skip
    request = decoded(tools=tools)
    f, g, *hosted = request.tools
    assert isinstance(f, Tool) and isinstance(g, Tool)
    assert (f.name, f.description, f.strict, f.cache) == ("f", "D", True, CacheMark(300))
    assert f.parameters is not None and json.loads(bytes(f.parameters)) == schema
    assert (g.strict, g.cache, g.description) == (None, None, "")
    assert hosted == [
        HostedTool(origin=NAME, kind=each["type"], raw=compact(each).encode())
        for each in (search, bash)
    ]
    body = json.loads(encode_request(request, AIM, Receipt()))
    assert body["tools"] == [
        {name: value for name, value in tool.items() if name != "type" or value not in
         ("custom", None)} for tool in tools
    ]  # fmt: skip


def test_system_text_goes_first_and_stays_where_it_stands() -> None:
    marked = text("S", cache_control={"type": "ephemeral"})
    request = decoded([HI, {"role": "system", "content": "now"}, HI], system=[marked, text("T")])
    assert [message.role.value for message in request.messages] == [
        "system", "user", "system", "user"
    ]  # fmt: skip
    assert request.messages[0].blocks == (Text(text="S", cache=CacheMark()), Text(text="T"))
    body = json.loads(encode_request(request, AIM, Receipt()))
    assert body["system"] == [marked, text("T")]
    assert body["messages"] == [HI, {"role": "system", "content": "now"}, HI]
    assert json.loads(encode_request(decoded(system="S"), AIM, Receipt()))["system"] == "S"
    assert decoded(system=[]).messages == decoded().messages == decoded(system=None).messages


def test_unknown_members_are_noted_and_touch_nothing_else() -> None:
    body = (
        b'{"model":"m","max_tokens":1,"messages":[{"role":"user","id":"x","content":['
        b'{"type":"text","text":"a","new":{"b":1},"cache_control":{"type":"ephemeral","x":1}},'
        b'{"type":"tool_result","tool_use_id":"t","content":[{"type":"image","transformations":1,'
        b'"source":{"type":"url","url":"u"}}]}]},{"role":"assistant","content":[{"type":"tool_use",'
        b'"id":"t","name":"f","input":{"a":1,"a":1e400},"parsed_output":null,"more":2}]}],'
        b'"tools":[{"name":"f","defer_loading":true,"input_schema":{"type":"object"}}],'
        b'"thinking":{"type":"adaptive","depth":3}}'
    )
    request = decode_request(body)
    assert set(request.unknown) == {
        "messages[0].id",
        "messages[0].content[0].new",
        "messages[0].content[0].cache_control.x",
        "messages[0].content[1].content[0].transformations",
        "messages[1].content[0].more",
        "tools[0].defer_loading",
        "thinking.depth",
    }
    call = request.messages[1].blocks[0]
    assert isinstance(call, ToolCall)
    assert call.arguments == '{"a":1,"a":1e400}'
    receipt = Receipt()
    assert b'"input":{"a":1,"a":1e400}' in encode_request(request, AIM, receipt)
    assert set(receipt.dropped) == set(request.unknown)


def test_what_the_sdks_send_back_of_an_answer_is_not_unknown() -> None:
    back = [
        {"type": "text", "text": "a", "citations": None, "parsed_output": None},
        {"type": "tool_use", "id": "t", "name": "f", "input": {}, "caller": {"type": "direct"},
         "toolset_name": None},
    ]  # fmt: skip
    request = decoded([{"role": "assistant", "content": back}])
    assert not request.unknown
    assert request.messages[0].blocks == (
        Text(text="a"), ToolCall(id="t", name="f", arguments="{}")
    )  # fmt: skip


IMAGE = {"type": "image", "source": PNG}
BAD: list[tuple[Any, str]] = [
    ([], ""),
    ("x", ""),
    ({"max_tokens": 1, "messages": [HI]}, "model"),
    ({**asked(), "model": 1}, "model"),
    ({"model": "m", "max_tokens": 1}, "messages"),
    (asked([]), "messages"),
    ({**asked(), "messages": {}}, "messages"),
    ({**asked(), "messages": "Hi"}, "messages"),
    (asked(["Hi"]), "messages[0]"),
    (asked([{"content": "Hi"}]), "messages[0].role"),
    (asked([{"role": "user"}]), "messages[0].content"),
    (asked([{"role": "tool", "content": "Hi"}]), "messages[0].role"),
    (asked([HI, {"role": "user", "content": 1}]), "messages[1].content"),
    (asked([{"role": "user", "content": [1]}]), "messages[0].content[0]"),
    (asked([{"role": "user", "content": [{}]}]), "messages[0].content[0].type"),
    (asked([{"role": "user", "content": [{"type": "text"}]}]), "messages[0].content[0].text"),
    (asked([{"role": "user", "content": [text("a"), text("a", cache_control={"type": "x"})]}]),
     "messages[0].content[1].cache_control.type"),
    (asked([{"role": "user", "content": [text("a", citations=[1])]}]),
     "messages[0].content[0].citations[0]"),
    (asked([{"role": "user", "content": [{"type": "image", "source": "x"}]}]),
     "messages[0].content[0].source"),
    *(
        (asked([{"role": "user", "content": [{**IMAGE, "source": {**PNG, "data": data}}]}]),
         "messages[0].content[0].source.data")
        for data in ("", "abc", "ab-_", "a===", "=aaa", "ääää", "ab!=", None)
    ),
    (asked([{"role": "user", "content": [{**IMAGE, "source": {**PNG, "type": "s3"}}]}]),
     "messages[0].content[0].source.type"),
    (asked([{"role": "user", "content": [{**IMAGE, "source": {"type": "url"}}]}]),
     "messages[0].content[0].source.url"),
    (asked([{"role": "user", "content": [{"type": "document", "source": {"type": "content"}}]}]),
     "messages[0].content[0].source.content"),
    (asked([{"role": "user", "content": [{**SEARCH, "content": [IMAGE]}]}]),
     "messages[0].content[0].content"),
    (asked([{"role": "assistant",
             "content": [{"type": "tool_use", "id": "t", "name": "f", "input": []}]}]),
     "messages[0].content[0].input"),
    (asked([{"role": "user", "content": [{"type": "tool_result", "content": "x"}]}]),
     "messages[0].content[0].tool_use_id"),
    (asked([{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t",
             "content": [{"type": "tool_result", "tool_use_id": "t"}]}]}]),
     "messages[0].content[0].content"),
    (asked([{"role": "system", "content": [IMAGE]}]), "messages[0].content[0]"),
    (asked(system=1), "system"),
    (asked(system=[IMAGE]), "system[0]"),
    (asked(max_tokens=-1), "max_tokens"),
    (asked(max_tokens="9"), "max_tokens"),
    (asked(max_tokens=1.5), "max_tokens"),
    (asked(temperature="hot"), "temperature"),
    (asked(stream="yes"), "stream"),
    (asked(stop_sequences="x"), "stop_sequences"),
    (asked(stop_sequences=[1]), "stop_sequences"),
    (asked(metadata=[]), "metadata"),
    (asked(metadata={"user_id": 1}), "metadata.user_id"),
    (asked(tools={}), "tools"),
    (asked(tools=[1]), "tools[0]"),
    (asked(tools=[{"name": "f"}]), "tools[0].input_schema"),
    (asked(tools=[{"input_schema": {}}]), "tools[0].name"),
    (asked(tools=[{"name": "f", "input_schema": []}]), "tools[0].input_schema"),
    (asked(tool_choice="auto"), "tool_choice"),
    (asked(tool_choice={"type": "some"}), "tool_choice.type"),
    (asked(tool_choice={"type": "tool"}), "tool_choice.name"),
    (asked(thinking=True), "thinking"),
    (asked(thinking={"type": "enabled"}), "thinking.budget_tokens"),
    (asked(thinking={"type": "enabled", "budget_tokens": "x"}), "thinking.budget_tokens"),
    (asked(output_config=1), "output_config"),
    (asked(output_config={"effort": 1}), "output_config.effort"),
    (asked(output_config={"format": {"type": "xml"}}), "output_config.format.type"),
    (asked(output_config={"format": {"type": "json_schema"}}), "output_config.format.schema"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "path"), BAD)
def test_what_is_wrong_is_refused_and_named(body: Any, path: str) -> None:
    with pytest.raises(GatewayError) as refused:
        decode_request(compact(body).encode())
    error = refused.value
    assert (error.status, error.kind) == (400, ErrorKind.INVALID_REQUEST)
    assert error.param == (path or None)
    assert path in error.message
    assert error.message.endswith(".")


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[" * 200_000, b"nonsense", b'{"model":"m"', b'{"model":"\xff"}', b"\xff\xfe",
        b'{"model":"m","messages":' + b"[" * 200_000,
        b'{"model":"m","messages":[{"role":"user","content":[{"type":"tool_use","id":"a","name":'
        b'"f","input":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}]}]}",
        compact(asked()).encode().replace(b'"Hi"', b'"\\ud800"'),
        compact(asked()).encode().replace(b'"Hi"', b'[{"type":"text","text":"\\udc00x"}]'),
        compact(asked()).encode().replace(b'"Hi"', b"[NaN]"),
        b"\x00" * 50,
    ],
)  # fmt: skip
def test_bytes_that_are_no_request_are_refused(body: bytes) -> None:
    with pytest.raises(GatewayError) as refused:
        decode_request(body)
    assert refused.value.status == 400


def test_of_keys_that_come_twice_the_last_one_counts() -> None:
    body = b'{"model":"a","max_tokens":1,"model":"b","messages":[],"messages":[{"role":"user",' \
           b'"content":"x","content":"y"}]}'  # fmt: skip
    request = decode_request(body)
    assert request.model == "b"
    assert request.messages[0].blocks == (Text(text="y"),)


def test_large_arguments_pass_untouched() -> None:
    arguments = '{"a":"%s"}' % ("x" * 5_000_000)
    call = b'{"type":"tool_use","id":"t","name":"f","input":%b}' % arguments.encode()
    body = b'{"model":"m","max_tokens":1,"messages":[{"role":"assistant","content":[%b]}]}' % call
    request = decode_request(body)
    assert request.messages[0].blocks == (ToolCall(id="t", name="f", arguments=arguments),)
    assert arguments.encode() in encode_request(request, AIM, Receipt())


def test_the_url_says_the_model_where_the_body_does_not() -> None:
    body = {"messages": [HI], "max_tokens": 5, "anthropic_version": "bedrock-2023-05-31"}
    request = decode_request(compact(body).encode(), "claude-url", True)
    assert (request.model, request.stream) == ("claude-url", True)
    assert [name for name, _ in request.extra] == ["anthropic_version"]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner,
                                                                max_size=3),
    max_leaves=8,
)  # fmt: skip
_NAMES = st.sampled_from(
    ["model", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "metadata",
     "stream", "max_tokens", "stop_sequences", "extra", "temperature"]
)  # fmt: skip
_MEMBERS = st.sampled_from(
    ["text", "source", "data", "id", "name", "input", "content", "tool_use_id", "signature",
     "cache_control", "citations", "title", "thinking", "caller", "media_type"]
)  # fmt: skip
_KINDS = st.sampled_from(
    ["text", "image", "document", "search_result", "thinking", "redacted_thinking", "tool_use",
     "tool_result", "server_tool_use"]
)  # fmt: skip
_BLOCK = st.builds(
    lambda kind, members: {"type": kind, **members}, _KINDS, st.dictionaries(_MEMBERS, _JSON)
)


def survives(body: Any) -> None:
    """Nothing but a refusal comes of any body, and what is taken can be sent."""
    with contextlib.suppress(GatewayError):
        request = decode_request(json.dumps(body).encode())
        json.loads(encode_request(request, AIM, Receipt()))


@given(st.dictionaries(_NAMES, _JSON))
def test_no_top_level_crashes_the_decoder(members: dict[str, Any]) -> None:
    survives({**asked(), **members})


@given(st.lists(_BLOCK, max_size=4), st.sampled_from(["user", "assistant", "system"]))
def test_no_blocks_crash_the_decoder(blocks: list[Any], role: str) -> None:
    survives(asked([{"role": role, "content": blocks}]))
    survives(asked([{"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": "t", "content": blocks}]}]))  # fmt: skip


@given(st.binary(max_size=60))
def test_no_bytes_crash_the_decoder(data: bytes) -> None:
    with contextlib.suppress(GatewayError):
        decode_request(data)
    with contextlib.suppress(GatewayError):
        decode_request(b'{"model":"m","messages":[{"role":"user","content":' + data + b"}]}")


# --- counts -----------------------------------------------------------------------------------


def test_counting_takes_what_a_call_takes() -> None:
    body = compact({"model": "m", "messages": [HI], "tools": []}).encode()
    assert decode_count(body).messages == decoded().messages
    assert json.loads(encode_count(17)) == {"input_tokens": 17}


def test_unused_parts_of_the_common_language_are_at_their_defaults() -> None:
    request = decoded()
    assert request == Request(
        model="m", messages=(Message(role=Role.USER, blocks=(Text(text="Hi"),)),), max_output=100,
        origin=NAME,
    )  # fmt: skip
