"""Requests in Bedrock's Converse format, each judged by botocore."""

import base64
import json
from typing import Any

import pytest
from msgspec import Raw

from ferryman.ir.receipt import Receipt
from ferryman.ir.request import (
    CacheMark,
    Citation,
    Media,
    MediaKind,
    Message,
    Opaque,
    OutputFormat,
    OutputKind,
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
    ToolResult,
)
from ferryman.wire.bedrock_converse.request import encode_request
from ferryman.wire.format import Aim
from tests.wire.converse import (
    ADDED,
    CLAUDE,
    GUARDED,
    HISTORY,
    JSON_RESULT,
    NATIVE,
    NOVA,
    OWN,
    PDF,
    PNG,
    SAID_SPEC,
    SPEC,
    TOOL,
    call,
    choice,
    encode,
    result,
)
from tests.wire.judges_bedrock_converse import judge_request
from tests.wire.turns import media, model, system, user

MESSAGES: list[tuple[str, list[Message], list[dict[str, Any]], list[str]]] = [
    ("text", [user("hi")], [{"role": "user", "content": [{"text": "hi"}]}], []),
    (
        "neighbours merge",
        [user("a"), user("b"), model("c"), model("d"), user("e")],
        [
            {"role": "user", "content": [{"text": "a"}, {"text": "b"}]},
            {"role": "assistant", "content": [{"text": "c"}, {"text": "d"}]},
            {"role": "user", "content": [{"text": "e"}]},
        ],
        [],
    ),
    (
        "blank text is left out, and what it kept apart merges",
        [user("a"), model("", "  "), user("b", "\n")],
        [{"role": "user", "content": [{"text": "a"}, {"text": "b"}]}],
        ["messages[1].text", "messages[2].text"],
    ),
    (
        "late system text becomes the user's",
        [user("a"), system("be brief")],
        [{"role": "user", "content": [{"text": "a"}, {"text": "be brief"}]}],
        ["messages[1].role=user"],
    ),
    (
        "names are lost, refusals become text",
        [Message(role=Role.USER, blocks=(Text(text="a"),), name="Bo"), model(Refusal(text="no"))],
        [
            {"role": "user", "content": [{"text": "a"}]},
            {"role": "assistant", "content": [{"text": "no"}]},
        ],
        ["messages[0].name", "messages[1].refusal=text"],
    ),
    (
        "images",
        [user(media("image", media_type="image/jpg", data=PNG), media("image", data=PNG),
              media("image", media_type="image/webp", url="s3://bucket/key"))],
        [{"role": "user", "content": [
            {"image": {"format": "jpeg", "source": {"bytes": PNG}}},
            {"image": {"format": "png", "source": {"bytes": PNG}}},
            {"image": {"format": "webp", "source": {"s3Location": {"uri": "s3://bucket/key"}}}},
        ]}],
        [],
    ),
    (
        "sound and film",
        [user(media("audio", media_type="audio/mpeg", data="AAAA"),
              media("video", media_type="video/3gpp", data="AAAA"), "what?")],
        [{"role": "user", "content": [
            {"audio": {"format": "mp3", "source": {"bytes": "AAAA"}}},
            {"video": {"format": "three_gp", "source": {"bytes": "AAAA"}}},
            {"text": "what?"},
        ]}],
        [],
    ),
    (
        "documents",
        [user(
            Media(kind=MediaKind.DOCUMENT, name="a_b.v2  (x).pdf", context="c", cite=True,
                  source=Source(media_type="application/pdf", data=PDF)),
            Media(kind=MediaKind.DOCUMENT, name="a-b-v2 (x)-pdf", cite=True,
                  source=Source(text="t\u00e9xt")),
            Media(kind=MediaKind.DOCUMENT, name="\u8ad6.md", source=Source(data="AAAA")),
            Media(kind=MediaKind.DOCUMENT, source=Source(text="plain")),
            Media(kind=MediaKind.DOCUMENT, source=Source(data=PDF)),
        )],
        [{"role": "user", "content": [
            {"document": {"format": "pdf", "name": "a-b-v2 (x)-pdf", "context": "c",
                          "citations": {"enabled": True}, "source": {"bytes": PDF}}},
            {"document": {"format": "txt", "name": "a-b-v2 (x)-pdf (2)",
                          "citations": {"enabled": True}, "source": {"text": "t\u00e9xt"}}},
            {"document": {"format": "md", "name": "md", "source": {"bytes": "AAAA"}}},
            {"document": {"format": "txt", "name": "document",
                          "source": {"bytes": base64.b64encode(b"plain").decode()}}},
            {"document": {"format": "pdf", "name": "document (2)", "source": {"bytes": PDF}}},
            {"text": "(See the document.)"},
        ]}],
        ["messages[0].document.name=a-b-v2 (x)-pdf",
         "messages[0].document.name=a-b-v2 (x)-pdf (2)",
         "messages[0].document.name=md", "messages=text added beside a document"],
    ),
    (
        "calls and their results",
        [user("go"),
         model("on it", call(arguments='{"x": 1, "x": 2}'), call(call_id="odd id!")),
         user(result("done")), user("so?", result(call_id="odd id!"))],
        [
            {"role": "user", "content": [{"text": "go"}]},
            {"role": "assistant", "content": [
                {"text": "on it"},
                {"toolUse": {"toolUseId": "c1", "name": "look", "input": {"x": 2}}},
                {"toolUse": {"toolUseId": "call_1bf2dd100f691b6693436203", "name": "look",
                             "input": {}}},
            ]},
            {"role": "user", "content": [
                {"toolResult": {"toolUseId": "c1", "content": [{"text": "done"}]}},
                {"toolResult": {"toolUseId": "call_1bf2dd100f691b6693436203", "content": []}},
                {"text": "so?"},
            ]},
        ],
        [ADDED],
    ),
    (
        "results of all kinds",
        [user("go"), model(call(arguments=" ")),
         user(result("", media("image", data=PNG), media("audio", data="AAAA"),
                     media("document", data=PDF), JSON_RESULT,
                     Opaque(origin="other", kind="odd", raw=b"{}"), error=True),
              result(call_id="c2", error=True))],
        [
            {"role": "user", "content": [{"text": "go"}]},
            {"role": "assistant", "content": [
                {"toolUse": {"toolUseId": "c1", "name": "look", "input": {}}}]},
            {"role": "user", "content": [
                {"toolResult": {"toolUseId": "c1", "status": "error", "content": [
                    {"text": ""}, {"image": {"format": "png", "source": {"bytes": PNG}}},
                    {"document": {"format": "pdf", "name": "document", "source": {"bytes": PDF}}},
                    {"json": {"a": 1}}]}},
                {"toolResult": {"toolUseId": "c2", "status": "error",
                                "content": [{"text": "The tool failed."}]}},
            ]},
        ],
        ["messages[2].audio", "messages[2].odd", "messages[2]=text added to an empty error", ADDED],
    ),
    (
        "thoughts of this and the kindred format return, others don't",
        [user("q"),
         model(Thinking(text="a", signature=Signature("s1", OWN)),
               Thinking(text="", signature=Signature("s2", "anthropic_messages")),
               Thinking(encrypted=True, signature=Signature("AAAA", OWN)),
               Thinking(encrypted=True, signature=Signature("AAAA", "anthropic_messages")),
               Thinking(text="x", signature=Signature("s3", "gemini_generate")),
               Thinking(text="unsigned"), "answer")],
        [
            {"role": "user", "content": [{"text": "q"}]},
            {"role": "assistant", "content": [
                {"reasoningContent": {"reasoningText": {"text": "a", "signature": "s1"}}},
                {"reasoningContent": {"reasoningText": {"text": "", "signature": "s2"}}},
                {"reasoningContent": {"redactedContent": "AAAA"}},
                {"text": "answer"},
            ]},
        ],
        ["messages[1].thinking"],
    ),
    (
        "citations of its own return",
        [user("q"),
         model(Text(text="a", citations=(Citation(origin=OWN, raw=b'{"title":"t"}'),)),
               Text(text="b", citations=(Citation(url="https://x.example"),)),
               Text(text="c", signature=Signature("s", "gemini_generate")))],
        [
            {"role": "user", "content": [{"text": "q"}]},
            {"role": "assistant", "content": [
                {"citationsContent": {"content": [{"text": "a"}], "citations": [{"title": "t"}]}},
                {"text": "b"}, {"text": "c"},
            ]},
        ],
        ["messages[1].citations", "messages[1].signature"],
    ),
    (
        "what only other formats have is lost",
        [user("q", Opaque(origin="anthropic_messages", kind="search_result", raw=b"{}")),
         model(media("image", data=PNG), "see"),
         user(Media(kind=MediaKind.IMAGE, detail="high", context="c", source=Source(data=PNG)),
              GUARDED)],
        [
            {"role": "user", "content": [{"text": "q"}]},
            {"role": "assistant", "content": [{"text": "see"}]},
            {"role": "user", "content": [
                {"image": {"format": "png", "source": {"bytes": PNG}}},
                {"guardContent": {"text": {"text": "x"}}}]},
        ],
        ["messages[0].search_result", "messages[1].image", "messages[2].image.context",
         "messages[2].image.detail"],
    ),
    (
        "cache marks",
        [user(Text(text="a", cache=CacheMark()), Text(text=" ", cache=CacheMark(300))),
         model(ToolCall(id="c1", name="look", arguments="{}", cache=CacheMark(3600))),
         user(ToolResult(call_id="c1", blocks=(Text(text="x", cache=CacheMark()),)),
              ToolResult(call_id="c2", cache=CacheMark()), "so?")],
        [
            {"role": "user", "content": [
                {"text": "a"}, {"cachePoint": {"type": "default"}},
                {"cachePoint": {"type": "default"}}]},
            {"role": "assistant", "content": [
                {"toolUse": {"toolUseId": "c1", "name": "look", "input": {}}},
                {"cachePoint": {"type": "default", "ttl": "1h"}}]},
            {"role": "user", "content": [
                {"toolResult": {"toolUseId": "c1", "content": [{"text": "x"}]}},
                {"cachePoint": {"type": "default"}},
                {"toolResult": {"toolUseId": "c2", "content": []}},
                {"cachePoint": {"type": "default"}}, {"text": "so?"}]},
        ],
        ["messages[0].text", ADDED],
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", MESSAGES, ids=[case[0] for case in MESSAGES])
def test_messages(case: tuple[str, list[Message], list[dict[str, Any]], list[str]]) -> None:
    _, messages, wanted, receipt = case
    wire, said = encode(*messages)
    assert wire.pop("messages") == wanted
    assert said == receipt
    tools = wire.pop("toolConfig", None)
    assert tools in (None, {"tools": [SAID_SPEC]})
    assert not wire


def test_duplicate_keys_of_arguments_stay_as_they_are() -> None:
    arguments = '{"x": 1, "x":  2}'
    request = Request(model="m", messages=(user("a"), model(call(arguments=arguments))))
    assert f'"input":{arguments}'.encode() in encode_request(request, CLAUDE, Receipt())


def test_leading_system_text_stands_apart() -> None:
    first = Message(role=Role.DEVELOPER, blocks=(Text(text="two", cache=CacheMark(3600)),))
    guard = Opaque(origin=OWN, kind="guardContent", raw=b'{"guardContent":{"text":{"text":"g"}}}')
    wire, said = encode(
        system("one", " ", guard, media("image", data=PNG)), first, user("hi"), system("late")
    )
    assert wire["system"] == [
        {"text": "one"}, {"guardContent": {"text": {"text": "g"}}}, {"text": "two"},
        {"cachePoint": {"type": "default", "ttl": "1h"}},
    ]  # fmt: skip
    assert said == ["messages[0].text", "messages[0].image", "messages[3].role=user"]


def test_cache_marks_go_only_to_models_that_take_them() -> None:
    marked = Tool(name="look", parameters=Raw(b'{"type":"object"}'), cache=CacheMark())
    messages = [
        Message(role=Role.SYSTEM, blocks=(Text(text="s", cache=CacheMark()),)),
        user(Text(text="a", cache=CacheMark(3600))),
    ]
    wire, said = encode(*messages, aim=NOVA, tools=(marked,))
    assert "cachePoint" not in json.dumps(wire)
    assert said == [
        "messages[0].cache_control", "messages[1].cache_control", "tools[0].cache_control",
    ]  # fmt: skip
    caching = Aim(model="amazon.nova-pro-v1:0", abilities=("tools", "prompt_cache"))
    wire, said = encode(*messages, aim=caching, tools=(marked,))
    assert json.dumps(wire).count("cachePoint") == 2
    assert "ttl" not in json.dumps(wire)
    assert said == ["tools[0].cache_control", "messages[1].cache_control=5 minutes"]
    arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc"
    for aim in (NATIVE, Aim(model=arn)):
        wire, said = encode(*messages, aim=aim, tools=(marked,))
        assert json.dumps(wire).count("cachePoint") == 3
        assert json.dumps(wire).count('"ttl": "1h"') == 1
        assert not said


# --- tools --------------------------------------------------------------------------------------

OTHER = Tool(name="other", strict=True)
OTHER_SPEC = {
    "toolSpec": {"name": "other", "inputSchema": {"json": {"type": "object", "properties": {}}}}
}


TOOLS: list[tuple[str, list[Message], ToolChoice | None, dict[str, Any] | None, list[str]]] = [
    ("all", [], None, {"tools": [SPEC, OTHER_SPEC]}, ["tools[1].strict"]),
    ("auto", [], choice("auto"), {"tools": [SPEC, OTHER_SPEC]}, ["tools[1].strict"]),
    ("any", [], choice("required"), {"tools": [SPEC, OTHER_SPEC], "toolChoice": {"any": {}}},
     ["tools[1].strict"]),
    ("one", [], choice("required", "look"),
     {"tools": [SPEC], "toolChoice": {"tool": {"name": "look"}}},
     ["tools=only those that may be called"]),
    ("some", [], choice("auto", "other"), {"tools": [OTHER_SPEC]},
     ["tools[1].strict", "tools=only those that may be called"]),
    ("some that history calls too", HISTORY, choice("required", "other", "another"),
     {"tools": [SPEC, OTHER_SPEC], "toolChoice": {"any": {}}},
     ["tools[1].strict", "tool_choice=required without the named subset"]),
    ("none", [], choice("none"), None, ["tools=left out, since none may be called"]),
    ("none, with calls in the history", HISTORY, choice("none"), {"tools": [SPEC, OTHER_SPEC]},
     ["tools[1].strict", "tool_choice=auto instead of none"]),
]  # fmt: skip


@pytest.mark.parametrize("case", TOOLS, ids=[case[0] for case in TOOLS])
def test_tools(
    case: tuple[str, list[Message], ToolChoice | None, dict[str, Any] | None, list[str]],
) -> None:
    _, history, said_choice, config, receipt = case
    wire, said = encode(*(history or [user("q")]), tools=(TOOL, OTHER), tool_choice=said_choice)
    assert wire.get("toolConfig") == config
    assert said == receipt


def test_strict_tools_and_free_ones() -> None:
    free = Tool(name="patch", free=True, grammar=Raw(b"{}"), strict=True)
    history = [user("q"), model(ToolCall(id="c", name="patch", arguments="a\nb", free=True))]
    closed = Raw(b'{"type":"object","properties":{},"additionalProperties":false}')
    strict = Tool(name="strict", strict=True, parameters=closed)
    wire, said = encode(*history, aim=NATIVE, tools=(strict, free, OTHER))
    assert wire["toolConfig"]["tools"][0]["toolSpec"]["strict"] is True
    schema = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
    assert wire["toolConfig"]["tools"][1]["toolSpec"]["inputSchema"]["json"] == schema
    assert wire["messages"][1]["content"][0]["toolUse"]["input"] == {"input": "a\nb"}
    assert said == [
        "tools[1].grammar", "tools[1].strict", "tools[2].strict",
        "messages[1].patch=JSON with one member input",
        "tools[1]=JSON with one member input",
    ]  # fmt: skip


# --- structured output --------------------------------------------------------------------------

SCHEMA = Raw(
    b'{"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": false}'
)
WANTED = OutputFormat(kind=OutputKind.SCHEMA, name="n", description="d", schema=SCHEMA, strict=True)
OUTPUT_SPEC = {"toolSpec": {"name": "structured_output", "description": "d",
                            "inputSchema": {"json": json.loads(bytes(SCHEMA))}}}  # fmt: skip


def test_native_structured_output() -> None:
    wire, said = encode(user("q"), aim=NATIVE, output=WANTED)
    definition = {"schema": bytes(SCHEMA).decode(), "name": "n", "description": "d"}
    assert wire["outputConfig"] == {
        "textFormat": {"type": "json_schema", "structure": {"jsonSchema": definition}}
    }
    assert not said


@pytest.mark.parametrize(
    ("more", "names", "forced"),
    [
        ({}, ["structured_output"], {"tool": {"name": "structured_output"}}),
        ({"tools": (TOOL,)}, ["look", "structured_output"], {"any": {}}),
        ({"tools": (TOOL,), "tool_choice": choice("none")}, ["structured_output"],
         {"tool": {"name": "structured_output"}}),
        ({"tools": (Tool(name="structured_output"),)}, ["structured_output", "structured_output_"],
         {"any": {}}),
    ],
)  # fmt: skip
def test_structured_output_by_a_forced_tool(
    more: dict[str, Any], names: list[str], forced: dict[str, Any]
) -> None:
    receipt = Receipt()
    request = Request(model="m", messages=(user("q"),), output=WANTED, **more)
    wire = judge_request(encode_request(request, CLAUDE, receipt))
    config = wire["toolConfig"]
    assert [tool["toolSpec"]["name"] for tool in config["tools"]] == names
    assert config["tools"][-1]["toolSpec"]["inputSchema"] == OUTPUT_SPEC["toolSpec"]["inputSchema"]
    assert config["toolChoice"] == forced
    assert receipt.output_tool == names[-1]
    assert "response_format=forced tool" in receipt.altered


@pytest.mark.parametrize("kind", ["json_schema", "json_object"])
def test_what_the_models_own_form_cannot_say_is_forced(kind: str) -> None:
    open_schema = Raw(b'{"type":"object"}')
    output = OutputFormat(kind=OutputKind(kind), schema=open_schema)
    wire, said = encode(user("q"), aim=NATIVE, output=output)
    assert "outputConfig" not in wire
    assert wire["toolConfig"]["toolChoice"] == {"tool": {"name": "structured_output"}}
    assert said == ["response_format=forced tool"]


def test_only_history_has_tools_beside_the_output_tool() -> None:
    wire, said = encode(*HISTORY, output=OutputFormat(kind=OutputKind.JSON))
    assert wire["toolConfig"]["toolChoice"] == {"tool": {"name": "structured_output"}}
    assert said == [ADDED, "response_format=forced tool"]


def test_output_that_cannot_be_forced_is_reported() -> None:
    for schema in (b'{"type":"array"}', b"[1]", b'{"type":["object","null"]}'):
        output = OutputFormat(kind=OutputKind.SCHEMA, schema=Raw(schema))
        wire, said = encode(user("q"), output=output)
        assert ("toolConfig" not in wire, said) == (True, ["response_format"])
    wire, said = encode(user("q"), output=WANTED, tools=(TOOL,), tool_choice=choice("required"))
    assert wire["toolConfig"] == {"tools": [SPEC], "toolChoice": {"any": {}}}
    assert said == ["response_format"]
    wire, said = encode(user("q"), output=OutputFormat(kind=OutputKind.TEXT))
    assert ("toolConfig" in wire, said) == (False, [])


def test_results_come_first_whatever_stood_between() -> None:
    wire, _ = encode(
        user("q"), model(call()), user("and"), system("Be brief."), user(result("r"), "so")
    )
    kinds = [next(iter(block)) for block in wire["messages"][2]["content"]]
    assert kinds == ["toolResult", "text", "text", "text"]
