"""What providers of the Responses API are sent, for callers of other formats."""

import json
from typing import Any

import pytest
from msgspec import Raw

from ferryman.ir.errors import ErrorKind, GatewayError
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
    Request,
    Role,
    Signature,
    Source,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)
from tests.wire.responses_api import Wire, sent
from tests.wire.turns import model, user

PNG = "iVBORw0KGgo="


def ask(*messages: Message, origin: str = "openai_chat", **fields: Any) -> Request:
    said = messages or (Message(role=Role.USER, blocks=(Text(text="hi"),)),)
    return Request(model="here", messages=said, origin=origin, **fields)


def test_nothing_is_left_with_the_provider_unless_asked() -> None:
    for store, wanted in ((None, False), (False, False), (True, True)):
        body, receipt = sent(ask(store=store))
        assert body["store"] is wanted and receipt.dropped == ()


@pytest.mark.parametrize(
    ("reasoning", "abilities", "wanted", "encrypted", "altered", "dropped"),
    [
        (None, (), None, False, (), ()),
        (None, ("tools", "reasoning"), None, True, (), ()),
        (Reasoning(effort="high"), (), {"effort": "high"}, True, (), ()),
        (Reasoning(effort="none"), (), {"effort": "none"}, False, (), ()),
        (Reasoning(effort="high"), ("tools",), None, False, (), ("reasoning",)),
        (Reasoning(effort="none"), ("tools",), None, False, (), ()),
        (Reasoning(budget=8192, summary="auto"), (), {"effort": "medium", "summary": "auto"},
         True, ("reasoning.budget=effort medium",), ()),
        (Reasoning(budget=0), (), {"effort": "none"}, False, (), ()),
        (Reasoning(adaptive=True), (), None, False, (), ()),
    ],
)  # fmt: skip
def test_how_much_to_think(
    reasoning: Reasoning | None,
    abilities: tuple[str, ...],
    wanted: Wire | None,
    encrypted: bool,
    altered: tuple[str, ...],
    dropped: tuple[str, ...],
) -> None:
    body, receipt = sent(ask(reasoning=reasoning), abilities=abilities)
    assert body.get("reasoning") == wanted
    assert ("reasoning.encrypted_content" in body.get("include", [])) is encrypted
    assert (receipt.altered, receipt.dropped) == (altered, dropped)


def test_efforts_that_a_provider_doesnt_know() -> None:
    body, receipt = sent(
        ask(reasoning=Reasoning(effort="minimal")), quirks=("efforts_low_to_high",)
    )
    assert body["reasoning"] == {"effort": "low"}
    assert receipt.altered == ("reasoning.effort=low",)


def test_what_this_api_doesnt_offer_is_reported() -> None:
    _, receipt = sent(
        ask(
            top_k=3, stop=("x",), seed=1, presence_penalty=0.5, frequency_penalty=0.5, choices=2,
            modalities=("text", "audio"), audio=Raw(b"{}"), extra=(("logit_bias", Raw(b"{}")),),
            unknown=("messages[0].glow",),
        )
    )  # fmt: skip
    assert set(receipt.dropped) == {
        "top_k", "stop", "seed", "presence_penalty", "frequency_penalty", "modalities.audio",
        "audio", "n", "logit_bias", "messages[0].glow",
    }  # fmt: skip
    assert receipt.altered == ()


def test_limits_below_the_least() -> None:
    body, receipt = sent(ask(max_output=1))
    assert body["max_output_tokens"] == 16 and receipt.altered
    body, receipt = sent(ask(max_output=1), quirks=("any_output_limit",))
    assert body["max_output_tokens"] == 1 and not receipt.altered


def test_functions_of_other_formats_are_not_strict_unless_they_say_so() -> None:
    tools = (Tool(name="f"), Tool(name="g", strict=True, parameters=Raw(b'{"type":"object"}')))
    body, _ = sent(ask(tools=tools))
    assert [tool["strict"] for tool in body["tools"]] == [False, True]
    assert body["tools"][0]["parameters"] == {"type": "object", "properties": {}}


def test_the_chat_formats_grammar_is_laid_flat() -> None:
    inner = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: x"}}
    tool = Tool(name="p", free=True, grammar=Raw(json.dumps(inner).encode()))
    body, _ = sent(ask(tools=(tool,)))
    assert body["tools"][0]["format"] == {
        "type": "grammar",
        "syntax": "lark",
        "definition": "start: x",
    }


def test_tools_that_other_providers_run_are_refused_by_name() -> None:
    tool = HostedTool(origin="anthropic_messages", kind="web_search_20250305", raw=b"{}")
    with pytest.raises(GatewayError) as caught:
        sent(ask(tools=(tool,)))
    error = caught.value
    assert (error.kind, error.param) == (ErrorKind.UNSUPPORTED, "tools[0]")
    assert "web_search_20250305" in error.message


def test_structured_output_by_a_tool_where_there_is_nothing_else() -> None:
    schema = Raw(b'{"type":"object"}')
    output = OutputFormat(kind=OutputKind.SCHEMA, schema=schema)
    body, _ = sent(ask(output=output))
    assert body["text"]["format"] == {
        "type": "json_schema",
        "name": "response",
        "schema": {"type": "object"},
    }
    body, receipt = sent(ask(output=output, verbosity="low"), quirks=("no_json_schema",))
    assert body["text"] == {"verbosity": "low"}
    assert body["tool_choice"] == {"type": "function", "name": receipt.output_tool}
    body, receipt = sent(ask(output=output, tools=(Tool(name="f"),)), quirks=("no_json_schema",))
    assert body["tool_choice"] == "required" and len(body["tools"]) == 2


def test_members_that_a_provider_refuses() -> None:
    body, receipt = sent(ask(service_tier="flex"), quirks=("no_service_tier",))
    assert "service_tier" not in body and receipt.dropped == ("service_tier",)


def test_a_conversation_of_another_format() -> None:
    call = ToolCall(id="t1", name="f", arguments="", signature=Signature("x", "gemini_generate"))
    said = (
        Message(role=Role.SYSTEM, blocks=(Text(text="s", cache=CacheMark()),)),
        user(Text(text="look"), Media(kind=MediaKind.IMAGE, source=Source(data=PNG), name="n")),
        model(
            Thinking(text="t", signature=Signature("x", "anthropic_messages")),
            Thinking(text="u", signature=Signature("y", "anthropic_messages")),
            Text(text="a", citations=(Citation(url="https://x.example/"),)),
            call,
            Opaque(origin="anthropic_messages", kind="server_tool_use", raw=b"{}"),
        ),
        Message(role=Role.USER, name="Ann", blocks=(
            ToolResult(call_id="t1", blocks=(Text(text="oops"),), error=True),
            Media(kind=MediaKind.DOCUMENT, name="T", source=Source(text="words")),
        )),
    )  # fmt: skip
    body, receipt = sent(ask(*said, origin="anthropic_messages"))
    image = {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"}
    assert body["input"] == [
        {"type": "message", "role": "system", "content": "s"},
        {"type": "message", "role": "user",
         "content": [{"type": "input_text", "text": "look"}, image]},
        {"type": "message", "role": "assistant", "content": "a"},
        {"type": "function_call", "call_id": "t1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "t1", "output": "oops"},
        {"type": "message", "role": "user", "content": "T\n\nwords"},
    ]  # fmt: skip
    assert receipt.dropped == (
        "messages[0].blocks[0].cache",
        "messages[1].blocks[1].name",
        "messages[2].thinking",
        "messages[2].blocks[2].citations",
        "messages[2].blocks[3].signature",
        "messages[2].blocks[4].server_tool_use",
        "messages[3].name",
        "messages[3].blocks[0].error",
    )
    assert receipt.altered == ("messages[3].blocks[1].document=text",)


@pytest.mark.parametrize("form", [MediaKind.VIDEO, MediaKind.AUDIO])
def test_media_that_cant_be_sent_are_refused(form: MediaKind) -> None:
    medium = Media(kind=form, source=Source(media_type="audio/wav", data=PNG))
    with pytest.raises(GatewayError) as caught:
        sent(ask(user(medium)))
    assert (caught.value.kind, caught.value.param) == (
        ErrorKind.UNSUPPORTED,
        "messages[0].blocks[0]",
    )
    if form is MediaKind.AUDIO:
        body, _ = sent(ask(user(medium)), abilities=("audio",))
        assert body["input"][0]["content"][0]["input_audio"] == {"data": PNG, "format": "wav"}


def test_files_of_other_providers_are_refused() -> None:
    source = Source(file_id="f", origin="anthropic_messages")
    with pytest.raises(GatewayError, match="stored with another provider"):
        sent(ask(user(Media(kind=MediaKind.DOCUMENT, source=source))))


def test_cache_marks_where_the_provider_takes_them() -> None:
    marked = ask(user(Text(text="a", cache=CacheMark(3600)), Text(text="b", cache=CacheMark())))
    body, receipt = sent(marked, quirks=("cache_breakpoint",))
    assert [part["prompt_cache_breakpoint"] for part in body["input"][0]["content"]] == [
        {"mode": "explicit", "ttl": "12h"},
        {"mode": "explicit"},
    ]
    assert receipt.altered == ("messages[0].blocks[0].cache=12h",)


def test_thoughts_without_proof_go_back_where_servers_take_them() -> None:
    said = (user(Text(text="q")), model(Thinking(text="hm", id="rs_1"), Text(text="a")))
    body, receipt = sent(ask(*said))
    assert receipt.dropped == ("messages[1].thinking",)
    body, receipt = sent(ask(*said), quirks=("reasoning_content",))
    assert body["input"][1]["content"] == [{"type": "reasoning_text", "text": "hm"}]
    assert receipt.dropped == ()


def test_ids_of_calls_that_the_api_would_refuse_are_fitted() -> None:
    for ident in ("x" * 65, "call 1", "é"):
        said = (
            model(ToolCall(id=ident, name="f", arguments="{}")),
            user(ToolResult(call_id=ident)),
        )
        body, _ = sent(ask(*said))
        called, output = body["input"]
        assert called["call_id"] == output["call_id"] != ident and len(called["call_id"]) <= 64
    body, _ = sent(ask(model(ToolCall(id="toolu_01A09q", name="f", arguments="{}"))))
    assert body["input"][0]["call_id"] == "toolu_01A09q"
