"""What callers of the Responses API ask, and how it is sent on to providers of the same."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.receipt import Receipt
from ferryman.ir.request import (
    CacheMark,
    Citation,
    HostedTool,
    Media,
    MediaKind,
    Message,
    Opaque,
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
    Tool,
    ToolCall,
    ToolChoice,
    ToolMode,
    ToolResult,
)
from ferryman.wire.format import Aim
from ferryman.wire.openai_responses.encode import encode_request
from ferryman.wire.openai_responses.request import decode_request, needs_store
from tests.wire.responses_api import CITED, NAME, SEARCH, Wire, sent
from tests.wire.turns import model, user

PNG = "iVBORw0KGgo="
GRAMMAR = {"type": "grammar", "syntax": "lark", "definition": "start: begin_patch"}
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "Weather of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}
PATCH = {"type": "custom", "name": "apply_patch", "description": "Edit", "format": GRAMMAR}


def decode(body: Wire | bytes) -> Request:
    data = body if isinstance(body, bytes) else json.dumps({"model": "m", **body}).encode()
    return decode_request(data, "", False)


def items(*given: Wire) -> tuple[Message, ...]:
    """The messages of an input, all of whose members are known."""
    request = decode({"input": list(given)})
    assert request.unknown == ()
    return request.messages


ITEMS: list[tuple[list[Wire], tuple[Message, ...]]] = [
    ([{"role": "user", "content": "hi"}], (user(Text(text="hi")),)),
    (
        [
            {"type": "message", "role": "system", "content": "s"},
            {"type": "message", "role": "developer",
             "content": [{"type": "input_text", "text": "d"}]},
        ],
        (
            Message(role=Role.SYSTEM, blocks=(Text(text="s"),)),
            Message(role=Role.DEVELOPER, blocks=(Text(text="d"),)),
        ),
    ),
    (
        [{"role": "user", "content": [
            {"type": "input_text", "text": "look", "prompt_cache_breakpoint":
             {"mode": "explicit", "ttl": "12h"}},
            {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "high"},
            {"type": "input_image", "image_url": "https://a.example/b.png"},
            {"type": "input_image", "file_id": "file-1"},
            {"type": "input_file", "file_data": f"data:application/pdf;base64,{PNG}",
             "filename": "a.pdf"},
            {"type": "input_file", "file_url": "https://a.example/b.pdf", "filename": "b.pdf"},
            {"type": "input_file", "file_id": "file-2"},
            {"type": "input_audio", "input_audio": {"data": PNG, "format": "mp3"}},
        ]}],
        (
            user(
                Text(text="look", cache=CacheMark(43200)),
                Media(kind=MediaKind.IMAGE, detail="high",
                      source=Source(media_type="image/png", data=PNG)),
                Media(kind=MediaKind.IMAGE, source=Source(url="https://a.example/b.png")),
                Media(kind=MediaKind.IMAGE, source=Source(file_id="file-1", origin=NAME)),
                Media(kind=MediaKind.DOCUMENT, name="a.pdf",
                      source=Source(media_type="application/pdf", data=PNG)),
                Media(kind=MediaKind.DOCUMENT, name="b.pdf",
                      source=Source(url="https://a.example/b.pdf")),
                Media(kind=MediaKind.DOCUMENT, source=Source(file_id="file-2", origin=NAME)),
                Media(kind=MediaKind.AUDIO, source=Source(media_type="audio/mpeg", data=PNG)),
            ),
        ),
    ),
    (  # a turn of Codex: thoughts, words, calls of both kinds, a search, and what came of them
        [
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "t"}],
             "content": None, "encrypted_content": "gAAA"},
            {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed",
             "content": [{"type": "output_text", "text": "I look.", "annotations": []}]},
            {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "get_weather",
             "arguments": '{"city": "Paris", "city": "Rome"}', "status": "completed"},
            {"type": "custom_tool_call", "call_id": "c2", "name": "apply_patch",
             "input": "*** Begin", "status": "completed"},
            SEARCH,
            {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
            {"type": "custom_tool_call_output", "call_id": "c2", "output":
             [{"type": "input_text", "text": "Done"},
              {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"}]},
            {"type": "message", "role": "user", "content": "go on"},
        ],
        (
            model(
                Thinking(text="t", signature=Signature("gAAA", NAME), id="rs_1"),
                Text(text="I look."),
                ToolCall(id="c1", name="get_weather",
                         arguments='{"city": "Paris", "city": "Rome"}'),
                ToolCall(id="c2", name="apply_patch", arguments="*** Begin", free=True),
                Opaque(origin=NAME, kind="web_search_call", raw=json.dumps(SEARCH).encode()),
            ),
            user(
                ToolResult(call_id="c1", blocks=(Text(text="sunny"),)),
                ToolResult(call_id="c2", blocks=(
                    Text(text="Done"),
                    Media(kind=MediaKind.IMAGE, source=Source(media_type="image/png", data=PNG)),
                )),
            ),
            user(Text(text="go on")),
        ),
    ),
    (
        [{"type": "message", "role": "assistant", "content": [
            {"type": "refusal", "refusal": "no"},
            {"type": "output_text", "text": "See there for it", "annotations": [CITED]}]}],
        (
            model(
                Refusal(text="no"),
                Text(text="See there for it", citations=(
                    Citation(url="https://example.com/news", title="News", start=4, end=9,
                             origin=NAME, raw=json.dumps(CITED).encode()),
                )),
            ),
        ),
    ),
    (
        [{"type": "function_call_output", "call_id": "c", "output": ""},
         {"type": "function_call_output", "call_id": "d", "output": []}],
        (user(ToolResult(call_id="c"), ToolResult(call_id="d")),),
    ),
    (
        [{"type": "local_shell_call", "id": "l", "call_id": "c", "status": "completed",
          "action": {"type": "exec", "command": ["ls"], "env": {}}},
         {"type": "local_shell_call_output", "id": "c", "output": "{}"}],
        (
            model(Opaque(origin=NAME, kind="local_shell_call", raw=b"")),
            user(Opaque(origin=NAME, kind="local_shell_call_output", raw=b"")),
        ),
    ),
]  # fmt: skip


def without_raw(message: Message) -> Message:
    """Opaque blocks by their kind only."""
    blocks = [replace(b, raw=b"") if isinstance(b, Opaque) else b for b in message.blocks]
    return replace(message, blocks=tuple(blocks))


@pytest.mark.parametrize(("given", "wanted"), ITEMS)
def test_items_and_messages(given: list[Wire], wanted: tuple[Message, ...]) -> None:
    found = items(*given)
    assert [without_raw(one) for one in found] == [without_raw(one) for one in wanted]
    opaque = [b.raw for one in found for b in one.blocks if isinstance(b, Opaque)]
    assert [json.loads(raw) for raw in opaque] == [
        item for item in given if item["type"] in ("web_search_call", "local_shell_call",
                                                   "local_shell_call_output")
    ] if opaque else True  # fmt: skip


@pytest.mark.parametrize(("given", "wanted"), ITEMS)
def test_a_request_sent_on_and_read_again_is_the_same(
    given: list[Wire], wanted: tuple[Message, ...]
) -> None:
    request = decode({"input": given})
    receipt = Receipt()
    again = decode_request(encode_request(request, Aim(model="m"), receipt), "", False)
    assert again == request
    assert (receipt.dropped, receipt.altered) == ((), ())


CODEX: Wire = {
    "model": "m",
    "instructions": "You are Codex.",
    "input": [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "d"}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "fix it"}]},
        {"type": "reasoning", "summary": [], "encrypted_content": "gAAA"},
        {"type": "custom_tool_call", "status": "completed", "call_id": "c", "name": "apply_patch",
         "input": "*** Begin Patch"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "Done"},
    ],
    "tools": [WEATHER, PATCH, {"type": "local_shell"},
              {"type": "web_search", "external_web_access": False}],
    "tool_choice": "auto",
    "parallel_tool_calls": False,
    "reasoning": {"effort": "high", "summary": "auto"},
    "store": False,
    "stream": True,
    "include": ["reasoning.encrypted_content"],
    "prompt_cache_key": "0199",
    "text": {"verbosity": "low", "format": {"type": "json_schema", "strict": True,
             "schema": {"type": "object"}, "name": "codex_output_schema"}},
    "service_tier": "priority",
    "client_metadata": {"x": "y"},
}  # fmt: skip


def test_what_codex_asks() -> None:
    request = decode(json.dumps(CODEX).encode())
    assert request.messages[0] == Message(role=Role.SYSTEM, blocks=(Text(text="You are Codex."),))
    assert [tool.kind for tool in request.tools if isinstance(tool, HostedTool)] == [
        "local_shell",
        "web_search",
    ]
    patch = request.tools[1]
    assert isinstance(patch, Tool) and patch.free and patch.grammar is not None
    assert json.loads(bytes(patch.grammar)) == GRAMMAR
    assert request.reasoning == Reasoning(effort="high", summary="auto", encrypted=True)
    assert (request.stream, request.store, request.parallel_tools) == (True, False, False)
    assert (request.verbosity, request.cache_key, request.service_tier) == (
        "low",
        "0199",
        "priority",
    )
    assert request.output is not None and request.output.kind is OutputKind.SCHEMA
    assert [name for name, _ in request.extra] == ["client_metadata"]
    assert request.unknown == ()


def test_a_request_of_codex_sent_on_says_the_same() -> None:
    body, receipt = sent(decode(json.dumps(CODEX).encode()))
    assert (receipt.dropped, receipt.altered) == ((), ())
    for name in CODEX.keys() - {"model", "instructions", "input"}:
        assert body[name] == CODEX[name], name
    system = {"type": "message", "role": "system", "content": "You are Codex."}
    assert body["input"][0] == system and body["model"] == "there"


def test_tools_within_the_input_and_in_namespaces() -> None:
    group = {"type": "namespace", "name": "collab", "description": "", "tools": [
        {"type": "function", "name": "spawn", "parameters": {"type": "object"}, "strict": None},
        {"type": "custom", "name": "say"}]}  # fmt: skip
    request = decode(
        {
            "input": [
                {"type": "additional_tools", "role": "developer", "tools": [PATCH, group]},
                {"role": "user", "content": "hi"},
                {"type": "function_call", "call_id": "c", "namespace": "collab", "name": "spawn",
                 "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c", "output": "ok"},
            ]
        }
    )  # fmt: skip
    assert [t.name for t in request.tools if isinstance(t, Tool)] == [
        "apply_patch",
        "collab__spawn",
        "collab__say",
    ]
    call = request.messages[1].blocks[0]
    assert isinstance(call, ToolCall) and call.name == "collab__spawn"
    assert request.unknown == ()
    body, _ = sent(request)
    assert body["tools"] == [PATCH, group]
    assert (body["input"][1]["namespace"], body["input"][1]["name"]) == ("collab", "spawn")


SETTINGS: list[tuple[Wire, dict[str, Any]]] = [
    ({"max_output_tokens": 99}, {"max_output": 99}),
    ({"temperature": 1, "top_p": 0.5}, {"temperature": 1.0, "top_p": 0.5}),
    (
        {"include": ["message.output_text.logprobs"], "top_logprobs": 3},
        {"logprobs": True, "top_logprobs": 3},
    ),
    ({"tool_choice": "required"}, {"tool_choice": ToolChoice(mode=ToolMode.REQUIRED)}),
    (
        {"tool_choice": {"type": "function", "name": "f"}},
        {"tool_choice": ToolChoice(mode=ToolMode.REQUIRED, allowed=("f",))},
    ),
    (
        {"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [
            {"type": "function", "name": "f"}, {"type": "function", "name": "g"}]}},
        {"tool_choice": ToolChoice(mode=ToolMode.AUTO, allowed=("f", "g"))},
    ),
    ({"text": {"format": {"type": "json_object"}}}, {"output": OutputFormat(kind=OutputKind.JSON)}),
    ({"text": {"format": {"type": "text"}}}, {"output": OutputFormat(kind=OutputKind.TEXT)}),
    ({"metadata": {"a": "b"}, "user": "u"}, {"metadata": (("a", "b"),), "user": "u"}),
    ({"prompt_cache_retention": "24h"}, {"cache_seconds": 86400}),
    ({"prompt_cache_retention": "in_memory"}, {"cache_seconds": 300}),
    ({"store": True}, {"store": True}),
    ({"reasoning": {"effort": "none"}}, {"reasoning": Reasoning(effort="none")}),
    ({"truncation": "disabled", "background": False, "user": None}, {}),
    ({"stream_options": None}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("given", "wanted"), SETTINGS)
def test_settings(given: Wire, wanted: dict[str, Any]) -> None:
    request = decode({"input": "hi", **given})
    plain = decode({"input": "hi"})
    for name in plain.__struct_fields__:
        assert getattr(request, name) == wanted.get(name, getattr(plain, name)), name
    body, receipt = sent(request)
    gone = {name for name, value in given.items() if value in ("disabled", False, None)}
    assert {name: body[name] for name in given.keys() - gone} == {
        name: value for name, value in given.items() if name not in gone
    }
    assert (receipt.dropped, receipt.altered) == ((), ())


def test_what_only_this_api_has_goes_on_to_its_providers_only() -> None:
    only = {
        "previous_response_id": "resp_1", "truncation": "auto", "max_tool_calls": 3,
        "include": ["web_search_call.action.sources"], "background": True,
        "tool_choice": {"type": "web_search_preview"}, "safety_identifier": "s",
    }  # fmt: skip
    request = decode({"input": "hi", "user": "u", **only, "invented": {"deep": [1]}})
    assert {name for name, _ in request.extra} == {*only, "invented"}
    body, receipt = sent(request)
    assert {name: body[name] for name in only} == only and body["invented"] == {"deep": [1]}
    assert receipt.dropped == ()


@pytest.mark.parametrize(("wanted", "kept"), [(True, True), (False, False), (None, False)])
def test_obfuscation_is_what_isnt_done_here(wanted: bool | None, kept: bool) -> None:
    request = decode({"input": "hi", "stream_options": {"include_obfuscation": wanted}})
    assert bool(request.extra) is kept


def test_includes_are_one_list_again() -> None:
    both = ["web_search_call.action.sources", "message.output_text.logprobs"]
    body, _ = sent(decode({"input": "hi", "include": both}))
    assert body["include"] == both


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"input": "hi"}, ""),
        ({"input": "hi", "previous_response_id": None}, ""),
        ({"previous_response_id": "resp_1"}, "resp_1"),
        ({"conversation": "conv_1"}, "conv_1"),
        ({"conversation": {"id": "conv_2"}}, "conv_2"),
        ({"prompt": {"id": "pmpt_1", "version": "2"}}, "pmpt_1"),
        ({"input": [{"type": "item_reference", "id": "rs_1"}]}, "rs_1"),
        ({"input": [SEARCH, {"type": "item_reference", "id": "msg_1"}]}, "msg_1"),
        ({"input": [{"id": "msg_2"}, {"role": "user", "content": "go on"}]}, "msg_2"),
    ],
)
def test_what_lies_elsewhere(given: Wire, wanted: str) -> None:
    assert needs_store(decode(given)) == wanted


def test_unknown_members_are_named() -> None:
    request = decode(
        {
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "a", "glow": 1}]},
                {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}",
                 "caller": {"type": "direct"}, "async": None},
                {"type": "message", "role": "assistant", "content": "b", "phase": "commentary"},
            ],
            "tools": [{**WEATHER, "defer_loading": True}],
            "reasoning": {"effort": "low", "context": "all_turns"},
        }
    )  # fmt: skip
    assert request.unknown == (
        "input[0].content[0].glow",
        "input[1].caller",
        "input[2].phase",
        "tools[0].defer_loading",
        "reasoning.context",
    )
    _, receipt = sent(request)
    assert receipt.dropped == request.unknown


BAD: list[tuple[Wire | bytes, str | None, str]] = [
    (b"", None, "empty"),
    (b"[]", None, "object"),
    (b"{", None, "not valid JSON"),
    (b'{"model":"m","input":"\xff"}', None, "UTF-8"),
    (b'{"model":"m","input":' + b"[" * 200_000, None, "deep"),
    (b'{"model":"m","input":"\\ud800"}', None, "not valid JSON"),
    ({"input": "hi", "model": None}, "model", "missing"),
    ({"input": "hi", "model": ""}, "model", "missing"),
    ({}, "input", "missing"),
    ({"input": None}, "input", "missing"),
    ({"input": 5}, "input", "a string or an array"),
    ({"input": [5]}, "input[0]", "an object"),
    ({"input": [{"role": "critic", "content": "x"}]}, "input[0].role", "assistant, developer"),
    ({"input": [{"role": "user"}]}, "input[0].content", "missing"),
    ({"input": [{"type": "message", "role": "user", "content": [{"type": "odd"}]}]},
     "input[0].content[0].type", "input_text"),
    ({"input": [{"role": "user", "content": [{"type": "input_text", "text": None}]}]},
     "input[0].content[0].text", "a string"),
    ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
     "input[0].content[0]", "exactly one of image_url, file_id"),
    ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "file:///x"}]}]},
     "input[0].content[0].image_url", "https"),
    ({"input": [{"role": "user", "content": [
        {"type": "input_image", "image_url": "data:image/png;base64,a_b-"}]}]},
     "input[0].content[0].image_url", "base64"),
    ({"input": [{"role": "user", "content": [{"type": "input_file", "file_data": "x"}]}]},
     "input[0].content[0].file_data", "base64"),
    ({"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": {}}]},
     "input[0].arguments", "a string"),
    ({"input": [{"type": "function_call", "name": "f", "arguments": "{}"}]},
     "input[0].call_id", "missing"),
    ({"input": [{"type": "function_call_output", "call_id": "c",
                 "output": [{"type": "refusal", "refusal": "x"}]}]}, "input[0].output", "refusal"),
    ({"input": [{"type": "reasoning", "summary": [{"type": "input_image"}]}]}, "input[0]", "text"),
    ({"input": "hi", "tools": {}}, "tools", "an array"),
    ({"input": "hi", "tools": [{"name": "f"}]}, "tools[0].type", "missing"),
    ({"input": "hi", "tools": [{"type": "function"}]}, "tools[0].name", "missing"),
    ({"input": "hi", "tools": [{"type": "function", "name": "f", "parameters": []}]},
     "tools[0].parameters", "object"),
    ({"input": "hi", "tool_choice": "maybe"}, "tool_choice", "auto, none, required"),
    ({"input": "hi", "tool_choice": {"type": "function"}}, "tool_choice.name", "name the tool"),
    ({"input": "hi", "tool_choice": {"type": "allowed_tools"}}, "tool_choice", "a mode"),
    ({"input": "hi", "temperature": "hot"}, "temperature", "a number"),
    ({"input": "hi", "max_output_tokens": -1}, "max_output_tokens", "negative"),
    ({"input": "hi", "stream": 1}, "stream", "true or false"),
    ({"input": "hi", "metadata": {"a": 1}}, "metadata", "a string"),
    ({"input": "hi", "include": "x"}, "include", "an array"),
    ({"input": "hi", "text": {"format": {"type": "yaml"}}}, "text.format.type", "json_schema"),
    ({"input": "hi", "text": {"format": {"type": "json_schema", "name": "n"}}},
     "text.format.schema", "JSON Schema"),
    ({"input": "hi", "text": {"format": {"type": "json_schema", "schema": {}}}},
     "text.format.name", "missing"),
    ({"input": "hi", "reasoning": "high"}, "reasoning", "an object"),
    ({"input": "hi", "prompt_cache_retention": "1y"}, "prompt_cache_retention", "24h"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "path", "words"), BAD)
def test_bad_requests_are_told_where_and_what(
    given: Wire | bytes, path: str | None, words: str
) -> None:
    with pytest.raises(GatewayError) as caught:
        decode(given)
    error = caught.value
    assert (error.status, error.kind, error.param) == (400, ErrorKind.INVALID_REQUEST, path)
    assert words in error.message


def test_a_key_that_comes_twice_counts_once() -> None:
    request = decode(b'{"model":"a","model":"b","input":"x","input":"y"}')
    assert (request.model, request.messages[0].blocks) == ("b", (Text(text="y"),))


def test_five_megabytes_of_arguments_pass() -> None:
    arguments = '{"a":"' + "x" * (5 << 20) + '"}'
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": arguments}
    body, _ = sent(decode({"input": [call]}))
    assert body["input"][0]["arguments"] == arguments


# --- whatever comes -------------------------------------------------------------------------------

values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "role", "content", "text", "name", "output", "summary"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
MEMBERS = sorted({*CODEX, *(name for given, _ in SETTINGS for name in given), "prompt"})


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(MEMBERS), values, max_size=4), st.randoms())
def test_mangled_requests_are_refused_or_carried(changes: Wire, chance: Any) -> None:
    body = {**CODEX, **changes}
    if isinstance(body["input"], list) and body["input"] is CODEX["input"]:
        item = dict(chance.choice(CODEX["input"]))
        item[chance.choice(sorted(item))] = next(iter(changes.values()), None)
        body["input"] = [*CODEX["input"], item]
    try:
        request = decode(json.dumps(body).encode())
        needs_store(request)
        sent(request)
    except GatewayError as error:
        assert error.status == 400 and error.message


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_bytes_that_are_no_request(data: bytes) -> None:
    with pytest.raises(GatewayError):
        decode(data)
