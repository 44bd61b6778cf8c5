"""Requests in Bedrock's Converse format, each judged by botocore."""

import base64
import json
import re
from typing import Any

import pytest
from msgspec import Raw

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
from ferryman.wire.bedrock_converse.request import encode_request
from ferryman.wire.format import Aim
from tests.wire.judges_bedrock_converse import judge_request

OWN = "bedrock_converse"
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n0000").decode()
PDF = base64.b64encode(b"%PDF-1.7").decode()
CLAUDE = Aim(model="eu.anthropic.claude-sonnet-4-5-20250929-v1:0", quirks=("claude_fields",))
ADAPTIVE = Aim(model="anthropic.claude-opus-4-6-v1", quirks=("claude_fields", "adaptive_thinking"))
NATIVE = Aim(model="anthropic.claude-x", abilities=("tools", "json_schema", "prompt_cache"))
NOVA = Aim(model="amazon.nova-pro-v1:0", abilities=("tools",), quirks=("claude_fields",))


def user(*blocks: Block | str) -> Message:
    return _message(Role.USER, blocks)


def model(*blocks: Block | str) -> Message:
    return _message(Role.ASSISTANT, blocks)


def system(*blocks: Block | str) -> Message:
    return _message(Role.SYSTEM, blocks)


def _message(role: Role, blocks: tuple[Block | str, ...]) -> Message:
    said = tuple(Text(text=b) if isinstance(b, str) else b for b in blocks)
    return Message(role=role, blocks=said)


def call(name: str = "look", arguments: str = "{}", call_id: str = "c1") -> ToolCall:
    return ToolCall(id=call_id, name=name, arguments=arguments)


def result(
    *blocks: Text | Media | Opaque | str, call_id: str = "c1", error: bool = False
) -> ToolResult:
    said = tuple(Text(text=b) if isinstance(b, str) else b for b in blocks)
    return ToolResult(call_id=call_id, blocks=said, error=error)


def media(kind: str, **source: str) -> Media:
    return Media(kind=MediaKind(kind), source=Source(**source))


def encode(*messages: Message, aim: Aim = CLAUDE, **more: Any) -> tuple[dict[str, Any], list[str]]:
    """The judged body, and the receipt: what was dropped, then what was altered."""
    receipt = Receipt()
    request = Request(model="m", messages=messages, origin="openai_chat", **more)
    wire = judge_request(encode_request(request, aim, receipt))
    return wire, [*receipt.dropped, *receipt.altered]


TOOL = Tool(name="look", description="Looks.", parameters=Raw(b'{"type":"object","a":1}'))
SPEC = {"toolSpec": {"name": "look", "description": "Looks.",
                     "inputSchema": {"json": {"type": "object", "a": 1}}}}  # fmt: skip
SAID_SPEC = {"toolSpec": {"name": "look", "inputSchema": {"json": {"type": "object"}}}}
ADDED = "tools=look added, since an earlier turn calls it"

JSON_RESULT = Opaque(origin=OWN, kind="json", raw=b'{"json":{"a":1}}')
GUARDED = Opaque(origin=OWN, kind="guardContent", raw=b'{"guardContent":{"text":{"text":"x"}}}')

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
                {"cachePoint": {"type": "default", "ttl": "5m"}}]},
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
        _message(Role.SYSTEM, (Text(text="s", cache=CacheMark()),)),
        user(Text(text="a", cache=CacheMark())),
    ]
    wire, said = encode(*messages, aim=NOVA, tools=(marked,))
    assert "cachePoint" not in json.dumps(wire)
    assert said == ["messages[0].cache", "messages[1].cache", "tools[0].cache"]
    wire, said = encode(*messages, aim=NATIVE, tools=(marked,))
    assert json.dumps(wire).count("cachePoint") == 3
    assert not said


# --- tools --------------------------------------------------------------------------------------

OTHER = Tool(name="other", strict=True)
OTHER_SPEC = {
    "toolSpec": {"name": "other", "inputSchema": {"json": {"type": "object", "properties": {}}}}
}
HISTORY = [user("q"), model(call()), user(result("r"))]


def choice(mode: str, *allowed: str) -> ToolChoice:
    return ToolChoice(mode=ToolMode(mode), allowed=allowed)


TOOLS: list[tuple[str, list[Message], ToolChoice | None, dict[str, Any] | None, list[str]]] = [
    ("all", [], None, {"tools": [SPEC, OTHER_SPEC]}, ["tools[1].strict"]),
    ("auto", [], choice("auto"), {"tools": [SPEC, OTHER_SPEC]}, ["tools[1].strict"]),
    ("any", [], choice("required"), {"tools": [SPEC, OTHER_SPEC], "toolChoice": {"any": {}}},
     ["tools[1].strict"]),
    ("one", [], choice("required", "look"),
     {"tools": [SPEC], "toolChoice": {"tool": {"name": "look"}}},
     ["tools[1]=left out, since it may not be called"]),
    ("some", [], choice("auto", "other"), {"tools": [OTHER_SPEC]},
     ["tools[1].strict", "tools[0]=left out, since it may not be called"]),
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
    wire, said = encode(*history, aim=NATIVE, tools=(OTHER, free))
    assert wire["toolConfig"]["tools"][0]["toolSpec"]["strict"] is True
    schema = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
    assert wire["toolConfig"]["tools"][1]["toolSpec"]["inputSchema"]["json"] == schema
    assert wire["messages"][1]["content"][0]["toolUse"]["input"] == {"input": "a\nb"}
    assert said == [
        "tools[1].grammar", "tools[1].strict", "messages[1].patch=free text as member input",
        "tools[1]=free text as member input",
    ]  # fmt: skip


# --- structured output --------------------------------------------------------------------------

SCHEMA = Raw(b'{"type": "object", "properties": {"a": {"type": "integer"}}}')
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


# --- settings -----------------------------------------------------------------------------------


def test_settings_that_the_format_has() -> None:
    wire, said = encode(
        user("q"), aim=NOVA, max_output=10, temperature=1.5, top_p=0.9, stop=("a", "", "b"),
        service_tier="priority", metadata=(("task", "sum up"), ("b\u00e4d", "x"), ("", "y")),
    )  # fmt: skip
    assert wire["inferenceConfig"] == {
        "maxTokens": 10, "temperature": 1, "topP": 0.9, "stopSequences": ["a", "b"],
    }  # fmt: skip
    assert wire["serviceTier"] == {"type": "priority"}
    assert wire["requestMetadata"] == {"task": "sum up"}
    assert said == ["metadata.b?d", "metadata.", "temperature=1, the most that the format allows"]


def test_settings_that_the_format_lacks() -> None:
    _, said = encode(
        user("q"), aim=NOVA, top_k=4, seed=1, presence_penalty=0.1, frequency_penalty=0.1,
        choices=2, logprobs=True, parallel_tools=False, verbosity="low", audio=Raw(b"{}"),
        modalities=("text", "audio"), user="u", store=True, cache_key="k", cache_seconds=9,
        cached_content="c", service_tier="odd", unknown=("messages[0].x",),
        extra=(("extra_one", Raw(b"1")),), reasoning=Reasoning(effort="low"),
        metadata=tuple((f"k{n}", "v") for n in range(17)),
    )  # fmt: skip
    assert said == [
        "messages[0].x", "extra_one", "top_k", "reasoning", "service_tier", "metadata.k16", "n",
        "seed", "presence_penalty", "frequency_penalty", "logprobs", "parallel_tool_calls",
        "verbosity", "modalities", "audio", "user", "store", "prompt_cache_key",
        "prompt_cache_retention", "cached_content",
    ]  # fmt: skip


def test_settings_that_say_nothing_are_not_reported() -> None:
    wire, said = encode(
        user("q"), presence_penalty=0.0, parallel_tools=True, store=False, modalities=("text",),
        service_tier="auto", reasoning=Reasoning(summary="auto"), temperature=0.0,
    )  # fmt: skip
    assert (wire.keys(), said) == ({"messages", "inferenceConfig"}, [])


def test_members_of_its_own_go_through() -> None:
    receipt = Receipt()
    config = Raw(b'{"guardrailIdentifier":"abc","guardrailVersion":"1"}')
    request = Request(
        model="m", messages=(user("q"),), origin=OWN,
        extra=(("guardrailConfig", config), ("odd", Raw(b"1")),
               ("performanceConfig", Raw(b'{"latency":"optimized"}'))),
    )  # fmt: skip
    wire = judge_request(encode_request(request, CLAUDE, receipt))
    assert wire["guardrailConfig"]["guardrailIdentifier"] == "abc"
    assert wire["performanceConfig"] == {"latency": "optimized"}
    assert receipt.dropped == ("odd",)


THOUGHT = Thinking(text="t", signature=Signature("s", OWN))
THINKING: list[tuple[str, Aim, dict[str, Any], dict[str, Any], list[str]]] = [
    ("budget", CLAUDE, {"reasoning": Reasoning(budget=2000)},
     {"thinking": {"type": "enabled", "budget_tokens": 2000}}, []),
    ("small budget", CLAUDE, {"reasoning": Reasoning(budget=5)},
     {"thinking": {"type": "enabled", "budget_tokens": 1024}}, ["reasoning.budget=1024"]),
    ("effort", CLAUDE, {"reasoning": Reasoning(effort="high")},
     {"thinking": {"type": "enabled", "budget_tokens": 24576}},
     ["reasoning.effort=budget of 24576 tokens"]),
    ("unknown effort", CLAUDE, {"reasoning": Reasoning(effort="odd")},
     {"thinking": {"type": "enabled", "budget_tokens": 8192}},
     ["reasoning.effort=budget of 8192 tokens"]),
    ("budget over the limit", CLAUDE, {"reasoning": Reasoning(budget=3000), "max_output": 2000},
     {"thinking": {"type": "enabled", "budget_tokens": 1999}}, ["reasoning.budget=1999"]),
    ("no room to think", CLAUDE, {"reasoning": Reasoning(budget=3000), "max_output": 1000}, {},
     ["reasoning"]),
    ("off", CLAUDE, {"reasoning": Reasoning(effort="none"), "top_k": 3}, {"top_k": 3}, []),
    ("off by budget", ADAPTIVE, {"reasoning": Reasoning(budget=0)}, {}, []),
    ("adaptive", ADAPTIVE, {"reasoning": Reasoning(adaptive=True)},
     {"thinking": {"type": "adaptive"}}, []),
    ("adaptive from effort", ADAPTIVE, {"reasoning": Reasoning(effort="max")},
     {"thinking": {"type": "adaptive"}}, []),
    ("adaptive from least", ADAPTIVE, {"reasoning": Reasoning(effort="minimal")},
     {"thinking": {"type": "adaptive"}}, ["reasoning.effort=low"]),
    ("adaptive from budget", ADAPTIVE, {"reasoning": Reasoning(budget=8000)},
     {"thinking": {"type": "adaptive"}}, ["reasoning.budget=effort medium"]),
    ("sampling gives way", CLAUDE,
     {"reasoning": Reasoning(budget=2000), "temperature": 0.5, "top_p": 0.5, "top_k": 3},
     {"thinking": {"type": "enabled", "budget_tokens": 2000}}, ["temperature", "top_p", "top_k"]),
    ("forced tools weigh more", CLAUDE,
     {"reasoning": Reasoning(budget=2000), "tools": (TOOL,), "tool_choice": choice("required")},
     {}, ["reasoning"]),
]  # fmt: skip


@pytest.mark.parametrize("case", THINKING, ids=[case[0] for case in THINKING])
def test_thinking(case: tuple[str, Aim, dict[str, Any], dict[str, Any], list[str]]) -> None:
    _, aim, more, fields, receipt = case
    wire, said = encode(user("q"), aim=aim, **more)
    assert wire.get("additionalModelRequestFields", {}) == fields
    assert said == receipt
    efforts = {"adaptive from effort": "max", "adaptive from least": "low",
               "adaptive from budget": "medium"}  # fmt: skip
    assert wire.get("outputConfig", {}).get("effort") == efforts.get(case[0])


def test_a_turn_without_thoughts_goes_on_without() -> None:
    wire, said = encode(*HISTORY, reasoning=Reasoning(budget=2000))
    assert "additionalModelRequestFields" not in wire
    assert said[-1] == "reasoning=off, since the calls being answered came without thoughts"
    with_thoughts = [user("q"), model(THOUGHT, call()), user(result("r"))]
    for messages, aim in ((with_thoughts, CLAUDE), (HISTORY, ADAPTIVE)):
        wire, _ = encode(*messages, aim=aim, reasoning=Reasoning(budget=2000))
        assert "thinking" in wire["additionalModelRequestFields"]


@pytest.mark.parametrize(
    ("name", "heeded"),
    [
        ("us.anthropic.claude-opus-4-1-v1:0", True),
        ("arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc", True),
        ("arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0", False),
        ("amazon.nova-pro-v1:0", False),
    ],
)
def test_fields_of_claude_go_only_where_it_may_be(name: str, heeded: bool) -> None:
    aim = Aim(model=name, quirks=("claude_fields",))
    wire, said = encode(user("q"), aim=aim, top_k=3, stop=("x",))
    assert ("additionalModelRequestFields" in wire) is heeded
    assert ("additionalModelResponseFieldPaths" in wire) is heeded
    assert said == ([] if heeded else ["top_k"])


# --- what is refused ----------------------------------------------------------------------------

REFUSED: list[tuple[list[Message], dict[str, Any], str, str]] = [
    ([], {}, "messages", "holds nothing"),
    ([user("", " ")], {}, "messages", "holds nothing"),
    ([user(media("image", url="https://x.example/a.png"))], {}, "messages[0].image", "URL"),
    ([user(media("image", media_type="image/tiff", data=PNG))], {}, "messages[0].image",
     "image/tiff; the model takes gif, jpeg, png, webp"),
    ([user(media("image", data="AAAA"))], {}, "messages[0].image", "doesn't say its type"),
    ([user(media("image", media_type="image/png"))], {}, "messages[0].image", "empty"),
    ([user(media("document", media_type="application/zip", data=PNG))], {}, "messages[0].document",
     "application/zip"),
    ([user(media("document", media_type="application/pdf", file_id="f", origin="openai_chat"))],
     {}, "messages[0].document", "stored at another provider"),
    ([user("a"), model(call(arguments="[1]"))], {}, "messages[1]", "not a JSON object"),
    ([user("a"), model(call(arguments='{"a":'))], {}, "messages[1]", "not a JSON object"),
    ([user("a"), model(call(name="a.b"))], {}, "messages[1]", "'a.b'"),
    ([user("a")], {"tools": (Tool(name="a" * 65),)}, "tools[0].name", "1 to 64"),
    ([user("a")], {"tools": (HostedTool(origin="o", kind="web_search", raw=b"{}"),)}, "tools[0]",
     "web_search"),
]  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_say_what_and_where(
    case: tuple[list[Message], dict[str, Any], str, str],
) -> None:
    messages, more, param, words = case
    with pytest.raises(GatewayError) as caught:
        encode(*messages, **more)
    assert (caught.value.status, caught.value.kind) == (400, ErrorKind.INVALID_REQUEST)
    assert caught.value.param == param
    assert re.search(re.escape(words), caught.value.message)


def test_a_tool_of_its_own_goes_through() -> None:
    hosted = HostedTool(origin=OWN, kind="systemTool", raw=b'{"systemTool":{"name":"ground"}}')
    wire, said = encode(user("a"), tools=(hosted,))
    assert wire["toolConfig"] == {"tools": [{"systemTool": {"name": "ground"}}]}
    assert not said
