"""Requests of other formats, as providers of the generateContent format get them."""

import json
from typing import Any

import pytest
from msgspec import Raw
from msgspec.structs import replace

from ferryman.ir.errors import GatewayError
from ferryman.ir.receipt import Receipt
from ferryman.ir.request import (
    CacheMark,
    Citation,
    HostedTool,
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
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolMode,
)
from ferryman.wire.gemini_generate.prompt import NO_VALIDATION
from tests.wire.generate import AIM, PROVIDER, ask, sent
from tests.wire.generate_requests import IMAGE, OWN, PNG, SCHEMA, call, foreign, media, result
from tests.wire.turns import model, user


def test_what_the_format_cannot_say_is_in_the_receipt() -> None:
    mark = CacheMark()
    body, receipt = sent(
        foreign(
            Message(role=Role.SYSTEM, blocks=(Text(text="be", cache=mark), IMAGE)),
            Message(role=Role.USER, name="ann", blocks=(Text(text="hi"),)),
            model(
                Thinking(text="hm", signature=Signature("s", "anthropic_messages")),
                Thinking(text="hm"),
                Text(text="so", citations=(Citation(url="u"),), signature=Signature("s", "x")),
                Refusal(text="no"),
                Opaque(origin="x", kind="web_search_call", raw=b"{}"),
            ),
            Message(role=Role.DEVELOPER, blocks=(Text(text="later"),)),
            tools=(Tool(name="f", strict=True, cache=mark),),
            tool_choice=ToolChoice(mode=ToolMode.AUTO, allowed=("f",)),
            parallel_tools=False,
            stop=tuple("abcdef"),
            user="u",
            verbosity="low",
            metadata=(("a", "b"),),
            service_tier="scale",
            store=True,
            cache_key="k",
            cache_seconds=5,
            cached_content="c",
            audio=Raw(b"{}"),
            extra=(("logit_bias", Raw(b"{}")),),
            unknown=("messages[0].audio",),
            output=OutputFormat(kind=OutputKind.SCHEMA, schema=SCHEMA, description="d"),
        )
    )
    assert [[p.get("text") for p in c["parts"]] for c in body["contents"]] == [
        ["hi"], ["so", "no"], ["later"],
    ]  # fmt: skip
    assert receipt.dropped == (
        "messages[0].audio", "logit_bias", "messages[0].cache", "messages[0].media",
        "messages[1].name", "messages[2].thinking", "messages[2].citations",
        "messages[2].signature", "messages[2].web_search_call", "audio",
        "response_format.description", "tools[0].strict", "tools[0].cache",
        "parallel_tool_calls", "cached_content", "metadata", "service_tier", "store", "user",
        "verbosity", "prompt_cache_key", "prompt_cache_retention",
    )  # fmt: skip
    assert receipt.altered == (
        "messages[2].refusal=text",
        "messages[3].role=user",
        "stop=the first 5 of 6",
        "tool_choice=validated, to allow the named ones only",
    )
    assert body["toolConfig"]["functionCallingConfig"] == {
        "mode": "VALIDATED", "allowedFunctionNames": ["f"],
    }  # fmt: skip


def test_a_system_text_alone_becomes_the_question() -> None:
    body, receipt = sent(foreign(Message(role=Role.SYSTEM, blocks=(Text(text="say hi"),))))
    assert body == {"contents": [{"parts": [{"text": "say hi"}], "role": "user"}]}
    assert receipt.altered == ("messages[0].role=user",)


def test_media_of_other_formats() -> None:
    pdf = media(MediaKind.DOCUMENT, "application/pdf", data="JVBERi0=")
    body, receipt = sent(
        foreign(
            user(
                replace(pdf, name="a.pdf", context="mine", cite=True),
                media(MediaKind.DOCUMENT, "", text="plain é"),
                media(MediaKind.IMAGE, "", url="https://x.test/a.jpg?x=1"),
                media(MediaKind.IMAGE, "", data="/9j/4AAQ"),
                replace(IMAGE, detail="high"),
                replace(IMAGE, detail="auto"),
                media(MediaKind.VIDEO, "", url="https://www.youtube.com/watch?v=1"),
            )
        )
    )
    assert body["contents"][0]["parts"] == [
        {"text": "mine"},
        {"inlineData": {"mimeType": "application/pdf", "data": "JVBERi0="}},
        {"inlineData": {"mimeType": "text/plain", "data": "cGxhaW4gw6k="}},
        {"fileData": {"fileUri": "https://x.test/a.jpg?x=1", "mimeType": "image/jpeg"}},
        {"inlineData": {"mimeType": "image/jpeg", "data": "/9j/4AAQ"}},
        {"inlineData": {"mimeType": "image/png", "data": PNG}},
        {"inlineData": {"mimeType": "image/png", "data": PNG}},
        {"fileData": {"fileUri": "https://www.youtube.com/watch?v=1"}},
    ]
    name = "messages[0].document"
    assert receipt.dropped == (f"{name}.citations", f"{name}.name", "messages[0].image.detail")
    assert receipt.altered == (f"{name}.context=text before it",)
    finer, _ = sent(foreign(user(replace(IMAGE, detail="high"))), "part_resolution")
    assert finer["contents"][0]["parts"][0]["mediaResolution"] == {"level": "MEDIA_RESOLUTION_HIGH"}


@pytest.mark.parametrize("quirks", [(), ("media_in_results",)])
def test_media_of_results_stand_within_or_beside(quirks: tuple[str, ...]) -> None:
    said = foreign(model(call("1")), user(result("1", IMAGE, Text(text="x"))))
    body, receipt = sent(said, *quirks)
    blob = {"inlineData": {"mimeType": "image/png", "data": PNG}}
    answer = {"id": "1", "name": "f", "response": {"output": "x"}}
    if quirks:
        assert body["contents"][1]["parts"] == [{"functionResponse": answer | {"parts": [blob]}}]
        assert receipt.altered == ("messages[1].tool_result=its texts before its media",)
    else:
        assert body["contents"][1]["parts"] == [{"functionResponse": answer}, blob]
        assert receipt.altered[1:] == ("messages[1].tool_result.image=a part of its own after it",)


def test_free_text_tools_take_an_object_with_the_text() -> None:
    tool = Tool(name="f", free=True, grammar=Raw(b"{}"))
    free = call("1", arguments="*** patch", free=True)
    body, receipt = sent(foreign(user("hi"), model(free), tools=(tool,)))
    assert body["contents"][1]["parts"][0]["functionCall"]["args"] == {"input": "*** patch"}
    (declared,) = body["tools"][0]["functionDeclarations"]
    assert declared["parametersJsonSchema"]["required"] == ["input"]
    assert receipt.dropped == ("tools[0].grammar",)


@pytest.mark.parametrize(
    ("reasoning", "quirks", "config", "receipt"),
    [
        (Reasoning(effort="low"), (), {"thinkingBudget": 1024}, "budget of 1024 tokens"),
        (Reasoning(effort="max"), (), {"thinkingBudget": 24576}, "budget of 24576 tokens"),
        (Reasoning(effort="none"), (), {"thinkingBudget": 0}, ""),
        (Reasoning(effort="none"), ("thinking_always",), {"thinkingBudget": 128},
         "budget of 128 tokens, the least"),
        (Reasoning(budget=5000), (), {"thinkingBudget": 5000}, ""),
        (Reasoning(adaptive=True), (), {"thinkingBudget": -1}, ""),
        (Reasoning(effort="low"), ("thinking_level",), {"thinkingLevel": "LOW"}, ""),
        (Reasoning(effort="max"), ("thinking_level",), {"thinkingLevel": "HIGH"}, "level high"),
        (Reasoning(effort="none"), ("thinking_level",), {"thinkingLevel": "MINIMAL"},
         "level minimal"),
        (Reasoning(budget=1000), ("thinking_level",), {"thinkingLevel": "LOW"}, "level low"),
        (Reasoning(adaptive=True), ("thinking_level",), None, ""),
        (Reasoning(effort="high"), ("no_thinking",), None, "dropped"),
        (Reasoning(summary="auto"), (), {"includeThoughts": True}, ""),
        (Reasoning(summary="none"), (), {"includeThoughts": False}, ""),
        (Reasoning(effort="low", summary="detailed"), ("thinking_level",),
         {"thinkingLevel": "LOW", "includeThoughts": True}, "auto"),
    ],
)  # fmt: skip
def test_thinking(reasoning: Reasoning, quirks: tuple[str, ...], config: Any, receipt: str) -> None:
    body, said = sent(foreign(reasoning=reasoning, origin="openai_responses"), *quirks)
    assert body.get("generationConfig", {}).get("thinkingConfig") == config
    assert [entry.partition("=")[2] for entry in said.altered] == (
        [receipt] if receipt not in ("", "dropped") else []
    )
    assert said.dropped == (("reasoning",) if receipt == "dropped" else ())


@pytest.mark.parametrize("origin", ["openai_chat", "anthropic_messages", "openai_responses"])
@pytest.mark.parametrize(
    ("reasoning", "wanted"),
    [
        (Reasoning(effort="low"), True),
        (Reasoning(budget=2000), True),
        (Reasoning(adaptive=True), True),
        (Reasoning(effort="none"), False),
        (Reasoning(budget=0), False),
        (Reasoning(encrypted=True), False),
    ],
)
def test_thoughts_are_asked_for_where_the_callers_format_shows_them_unasked(
    origin: str, reasoning: Reasoning, wanted: bool
) -> None:
    body, _ = sent(replace(foreign(reasoning=reasoning), origin=origin), "thinking_level")
    config = body.get("generationConfig", {}).get("thinkingConfig", {})
    shown = wanted and origin != "openai_responses"  # whose callers ask for a summary
    assert config.get("includeThoughts") is (True if shown else None)


def test_calls_of_the_current_turn_get_a_stand_in_for_their_signature() -> None:
    said = foreign(
        user("hi"),
        model(call("1")),
        user(result("1", Text(text="x"))),
        model(Text(text="so")),
        user("again"),
        model(call("2"), call("3")),
        user(result("2", Text(text="x")), result("3", Text(text="x"))),
        model(call("4", signature=OWN), call("5")),
        user(result("4", Text(text="x")), result("5", Text(text="x"))),
    )
    signed = {
        part["functionCall"]["id"]: part.get("thoughtSignature")
        for content in sent(said, "need_signature")[0]["contents"]
        for part in content["parts"]
        if "functionCall" in part
    }
    assert signed == {"1": None, "2": NO_VALIDATION, "3": None, "4": "c2ln", "5": None}
    _, receipt = sent(said, "need_signature")
    assert receipt.altered == (f"messages.tool_calls.signature={NO_VALIDATION}",)
    assert sent(said)[1].altered == ()


def test_structured_output_by_a_tool_where_there_is_no_other_way() -> None:
    wanted = OutputFormat(kind=OutputKind.SCHEMA, name="answer", schema=SCHEMA)
    said = foreign(output=wanted)
    body, receipt = sent(said)
    assert body["generationConfig"] == {
        "responseMimeType": "application/json", "responseJsonSchema": json.loads(bytes(SCHEMA)),
    }  # fmt: skip
    assert (receipt.altered, receipt.output_tool) == ((), "")
    for options in ({"quirks": ("output_by_tool",)}, {"abilities": ("tools", "vision")}):
        body, receipt = sent(
            said, *options.get("quirks", ()), abilities=options.get("abilities", ())
        )
        assert "generationConfig" not in body
        assert receipt.output_tool == "structured_output"
        assert receipt.altered == ("response_format=forced tool",)
        assert body["toolConfig"]["functionCallingConfig"] == {
            "mode": "ANY", "allowedFunctionNames": ["structured_output"],
        }  # fmt: skip
    body, receipt = sent(replace(said, tools=(Tool(name="f"),)), "no_output_with_tools")
    assert [t["name"] for t in body["tools"][0]["functionDeclarations"]] == [
        "f", "structured_output",
    ]  # fmt: skip
    assert body["toolConfig"]["functionCallingConfig"] == {"mode": "ANY"}
    assert "responseMimeType" in sent(said, "no_output_with_tools")[0]["generationConfig"]


@pytest.mark.parametrize(
    ("output", "choice"),
    [
        (OutputFormat(kind=OutputKind.JSON), None),
        (OutputFormat(kind=OutputKind.SCHEMA, schema=Raw(b'{"type":"array"}')), None),
        (OutputFormat(kind=OutputKind.SCHEMA, schema=SCHEMA), ToolChoice(mode=ToolMode.REQUIRED)),
    ],
)
def test_output_that_no_tool_can_stand_for_is_not_asked_for(
    output: OutputFormat, choice: ToolChoice | None
) -> None:
    said = foreign(output=output, tools=(Tool(name="f"),), tool_choice=choice)
    body, receipt = sent(said, "no_output_with_tools")
    assert receipt.dropped == ("response_format",)
    assert "generationConfig" not in body and receipt.output_tool == ""


def test_functions_without_arguments_have_none_in_the_subset() -> None:
    empty = Raw(b'{"type":"object","properties":{}}')
    body, _ = sent(foreign(tools=(Tool(name="f", parameters=empty),)), "openapi_schema")
    assert body["tools"] == [{"functionDeclarations": [{"name": "f"}]}]


def test_sound_that_another_provider_keeps_is_its_transcript() -> None:
    spoken = replace(
        media(MediaKind.AUDIO, "", file_id="audio_1", origin="openai_chat"), transcript="hello"
    )
    body, receipt = sent(foreign(user("hi"), model(spoken)))
    assert body["contents"][1]["parts"] == [{"text": "hello"}]
    assert receipt.altered == ("messages[1].audio=its transcript",)


def test_schemas_for_targets_that_know_the_subset_only() -> None:
    schema = Raw(b'{"type":"object","properties":{"a":{"type":"string"}},'
                 b'"additionalProperties":false}')  # fmt: skip
    said = foreign(
        tools=(Tool(name="f", parameters=schema),),
        output=OutputFormat(kind=OutputKind.SCHEMA, schema=schema),
    )
    body, receipt = sent(said, "openapi_schema")
    subset = {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}
    assert body["tools"][0]["functionDeclarations"] == [{"name": "f", "parameters": subset}]
    assert body["generationConfig"]["responseSchema"] == subset
    assert receipt.dropped == (
        "response_format.schema.additionalProperties",
        "tools[0].parameters.additionalProperties",
    )
    body, receipt = sent(said, "no_additional_properties")
    (declared,) = body["tools"][0]["functionDeclarations"]
    assert "additionalProperties" not in declared["parametersJsonSchema"]
    assert "tools[0].parameters.additionalProperties" in receipt.dropped


@pytest.mark.parametrize(
    ("said", "quirks", "param"),
    [
        (foreign(model(call("1", arguments="{oops"))), (), "messages[0]"),
        (foreign(model(call("1", arguments="[1]"))), (), "messages[0]"),
        (foreign(user(result("1", name=""))), (), "messages[0].tool_result"),
        (foreign(user(media(MediaKind.IMAGE, "", url="https://x.test/a"))), ("no_urls",),
         "messages[0].image"),
        (foreign(user(media(MediaKind.DOCUMENT, "", file_id="file-1", origin="openai_chat"))), (),
         "messages[0].document"),
        (foreign(user(media(MediaKind.AUDIO, "", data="AAAA"))), (), "messages[0].audio"),
        (foreign(tools=(HostedTool(origin="x", kind="web_search", raw=b"{}"),)), (), "tools[0]"),
        (foreign(user(call("1"))), (), "messages[0]"),
    ],
)  # fmt: skip
def test_what_cannot_be_sent_at_all_is_refused(
    said: Request, quirks: tuple[str, ...], param: str
) -> None:
    with pytest.raises(GatewayError) as caught:
        sent(said, *quirks)
    assert (caught.value.status, caught.value.param) == (400, param)


def test_arguments_of_any_kind_and_size_go_through_untouched() -> None:
    for arguments in (
        '{"a":1,"a":2}',
        '{"n":1.50e+3,"s":"\\u00e9"}',
        '{"a":"%s"}' % ("x" * 5_000_000),
    ):
        body = b'{"contents":[{"role":"model","parts":[{"functionCall":{"name":"f","args":%b}}]}]}'
        said = ask(body % arguments.encode())
        (block,) = said.messages[0].blocks
        assert isinstance(block, ToolCall)
        assert block.arguments == arguments
    assert b'"args":{"a":1,"a":2}' in PROVIDER.encode_request(
        foreign(model(call("1", arguments='{"a":1,"a":2}'))), AIM, Receipt()
    )
