"""Requests in the Cohere format, on tables; its SDK's types judge every one."""

import base64
import json
from typing import Any

import pytest
from cohere.types import Document, ToolV2
from cohere.types.chat_message_v2 import ChatMessageV2
from msgspec import Raw
from pydantic import TypeAdapter

from ferryman.ir.errors import GatewayError
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
    Signature,
    Source,
    Text,
    Thinking,
    Tool,
    ToolChoice,
    ToolMode,
)
from ferryman.wire.cohere_chat.request import encode_request
from ferryman.wire.format import Aim
from tests.wire.converse import call, choice, media, model, result, system, user

OWN = "cohere_chat"
Json = dict[str, Any]
AIM = Aim(model="command-a-03-2025")
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n0000").decode()
TOOL = Tool(name="look", description="Looks.", parameters=Raw(b'{"type":"object","a":1}'))
SPEC: Json = {"type": "function", "function": {
    "name": "look", "description": "Looks.", "parameters": {"type": "object", "a": 1}}}  # fmt: skip
_messages: TypeAdapter[Any] = TypeAdapter(list[ChatMessageV2])


def encode(*messages: Message, aim: Aim = AIM, **more: Any) -> tuple[Json, list[str]]:
    """The judged body without what is always there, and the receipt."""
    receipt = Receipt()
    request = Request(model="m", messages=messages, **{"origin": "openai_chat", **more})
    wire: Json = json.loads(encode_request(request, aim, receipt))
    _messages.validate_python(wire["messages"])
    for tool in wire.get("tools", ()):
        ToolV2.model_validate(tool)
    for document in wire.get("documents", ()):
        Document.model_validate(document)
    assert wire.pop("model") == aim.model
    assert wire.pop("stream") is request.stream
    return wire, [*receipt.dropped, *receipt.altered]


def said(role: str, content: Any, **more: Any) -> Json:
    return {"role": role, "content": content, **more}


def used(ident: str = "c1", arguments: str = "{}") -> Json:
    function = {"name": "look", "arguments": arguments}
    return {"id": ident, "type": "function", "function": function}


CITATION = {"start": 0, "end": 1, "content_index": 7, "sources": []}
CITING = Text(text="a", citations=(
    Citation(origin=OWN, raw=json.dumps(CITATION).encode()), Citation(origin=OWN),
    Citation(origin="anthropic_messages", raw=b"{}")))  # fmt: skip
SIGNED = Thinking(text="t", signature=Signature("s", "gemini_generate"))
NOTE = base64.b64encode("n\u00f6te".encode()).decode()
FILE = Media(kind=MediaKind.DOCUMENT, name="N", context="C",
             source=Source(media_type="text/plain", data=NOTE))  # fmt: skip

MESSAGES: list[tuple[str, list[Message], list[Json], list[str]]] = [
    (
        "turns, texts in one or in several parts",
        [system("s"), user("a", "", "b"), model("c"), user("d")],
        [
            said("system", "s"),
            said("user", [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]),
            said("assistant", "c"),
            said("user", "d"),
        ],
        [],
    ),
    (
        "an image by its bytes and one by its address",
        [user("see", media("image", media_type="image/png", data=PNG),
              Media(kind=MediaKind.IMAGE, source=Source(url="https://i.example"), detail="low"))],
        [said("user", [
            {"type": "text", "text": "see"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
            {"type": "image_url", "image_url": {"url": "https://i.example", "detail": "low"}},
        ])],
        [],
    ),
    (
        "calls with their results before what the user says; thoughts are the plan",
        [user("q"),
         model(Thinking(text="I look."), call(), call(call_id="c2", arguments='{"x":1}')),
         user("also", result("r1"), result("r2", call_id="c2", error=True))],
        [
            said("user", "q"),
            {"role": "assistant", "tool_plan": "I look.",
             "tool_calls": [used(), used("c2", '{"x":1}')]},
            said("tool", "r1", tool_call_id="c1"),
            said("tool", "r2", tool_call_id="c2"),
            said("user", "also"),
        ],
        ["messages[2].tool_result.error"],
    ),
    (
        "thoughts of this provider's go back, signed ones of others do not",
        [user("q"), model(Thinking(text="hm"), "a"), user("r"), model(SIGNED, "b"), user("s")],
        [
            said("user", "q"),
            said("assistant", [{"type": "thinking", "thinking": "hm"},
                               {"type": "text", "text": "a"}]),
            said("user", "r"), said("assistant", "b"), said("user", "s"),
        ],
        ["messages[3].thinking"],
    ),
    (
        "a refusal is text",
        [user("q"), model(Refusal(text="No."))],
        [said("user", "q"), said("assistant", "No.")],
        ["messages[1].refusal=text"],
    ),
    (
        "its own citations come back, at the place of their text",
        [user("q"), model(CITING), user("r")],
        [said("user", "q"), said("assistant", "a", citations=[CITATION | {"content_index": 0}]),
         said("user", "r")],
        ["messages[1].citations"],
    ),
    (
        "a document within a result",
        [user("q"), model(call()), user(result(FILE))],
        [
            said("user", "q"), {"role": "assistant", "tool_calls": [used()]},
            said("tool", [{"type": "document", "document": {
                "data": {"title": "N", "context": "C", "text": "n\u00f6te"}}}], tool_call_id="c1"),
        ],
        [],
    ),
    (
        "what has no place",
        [Message(role=user("a").role, name="Ann", blocks=(Text(text="a", cache=CacheMark()),)),
         model(Opaque(origin="x", kind="search", raw=b"{}"))],
        [said("user", "a")],
        ["messages[0].name", "messages[0].cache_control", "messages[1].search"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("_name", "messages", "wanted", "receipt"), MESSAGES, ids=[name for name, *_ in MESSAGES]
)
def test_messages(
    _name: str, messages: list[Message], wanted: list[Json], receipt: list[str]
) -> None:
    assert encode(*messages) == ({"messages": wanted}, receipt)


def test_documents_of_users_are_the_requests_own() -> None:
    plain = Media(kind=MediaKind.DOCUMENT, source=Source(text="t"))
    wire, receipt = encode(user("q", FILE, plain))
    assert wire["messages"] == [said("user", "q")]
    assert wire["documents"] == [
        {"id": "doc_0", "data": {"title": "N", "context": "C", "text": "n\u00f6te"}},
        {"id": "doc_1", "data": {"text": "t"}},
    ]
    assert receipt == ["messages[0].document=one of the request's documents"]


PDF = media("document", media_type="application/pdf", data="JVBERg==")


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (PDF, "documents as text only"),
        (media("document", media_type="text/plain", data="/w=="), "not text in UTF-8"),
        (media("audio", media_type="audio/wav", data="UklG"), "takes no audio"),
        (media("image", media_type="image/tiff", data="AAAA"), "image/tiff"),
        (media("image", file_id="f"), "send its bytes"),
    ],
)
def test_media_that_it_cannot_take(block: Media, words: str) -> None:
    with pytest.raises(GatewayError, match=words) as caught:
        encode(user(block))
    assert caught.value.status == 400


SCHEMA = Raw(b'{"type":"object"}')
OUTPUT = OutputFormat(kind=OutputKind.SCHEMA, name="form", schema=SCHEMA)
FORM = {"type": "json_object", "json_schema": {"type": "object"}}
STRICT = Tool(name="look", description="Looks.", parameters=TOOL.parameters, strict=True)
OTHER = Tool(name="rest")
OTHER_SPEC: Json = {"type": "function", "function": {
    "name": "rest", "parameters": {"type": "object", "properties": {}}}}  # fmt: skip
NO_CHOICE = ToolChoice(mode=ToolMode.NONE)
LEFT_OUT = "tools=left out, since none may be called"

SETTINGS: list[tuple[Json, Json, list[str]]] = [
    ({"max_output": 9, "temperature": 0.5, "seed": 7, "logprobs": True},
     {"max_tokens": 9, "temperature": 0.5, "seed": 7, "logprobs": True}, []),
    ({"stop": tuple("abcdef")}, {"stop_sequences": list("abcde")}, ["stop=the first 5"]),
    ({"top_p": 1.0, "top_k": 9}, {"p": 0.99, "k": 9},
     ["top_p=0.99, the nearest that the format allows"]),
    ({"presence_penalty": -1.0, "frequency_penalty": 0.5},
     {"presence_penalty": 0, "frequency_penalty": 0.5},
     ["presence_penalty=0, the nearest that the format allows"]),
    ({"choices": 2, "user": "u", "parallel_tools": False, "cache_key": "k"}, {},
     ["n", "parallel_tool_calls", "user", "prompt_cache_key"]),
    ({"tools": (TOOL,)}, {"tools": [SPEC]}, []),
    ({"tools": (STRICT,)}, {"tools": [SPEC], "strict_tools": True}, []),
    ({"tools": (STRICT, OTHER)}, {"tools": [SPEC, OTHER_SPEC]}, ["tools[0].strict"]),
    ({"tools": (TOOL,), "tool_choice": choice("required")},
     {"tools": [SPEC], "tool_choice": "REQUIRED"}, []),
    ({"tools": (TOOL, OTHER), "tool_choice": choice("required", "look")},
     {"tools": [SPEC], "tool_choice": "REQUIRED"}, ["tools=only those that may be called"]),
    ({"tools": (TOOL,), "tool_choice": NO_CHOICE}, {"tools": [SPEC], "tool_choice": "NONE"}, []),
    ({"output": OUTPUT}, {"response_format": FORM}, []),
    ({"output": OutputFormat(kind=OutputKind.JSON)},
     {"response_format": {"type": "json_object"}}, []),
    ({"output": OUTPUT, "tools": (TOOL,), "tool_choice": NO_CHOICE}, {"response_format": FORM},
     [LEFT_OUT]),
    ({"output": OUTPUT, "tools": (TOOL,), "tool_choice": choice("required")},
     {"tools": [SPEC], "tool_choice": "REQUIRED"}, ["response_format"]),
    ({"reasoning": Reasoning(effort="low")},
     {"thinking": {"type": "enabled", "token_budget": 1024}},
     ["reasoning.effort=budget of 1024 tokens"]),
    ({"reasoning": Reasoning(effort="none")}, {"thinking": {"type": "disabled"}}, []),
    ({"reasoning": Reasoning(budget=0)}, {"thinking": {"type": "disabled"}}, []),
    ({"reasoning": Reasoning(budget=50)}, {"thinking": {"type": "enabled", "token_budget": 50}},
     []),
    ({"reasoning": Reasoning(adaptive=True)}, {"thinking": {"type": "enabled"}}, []),
    ({"reasoning": Reasoning(effort="low"), "aim": Aim(model="m", abilities=("tools",))}, {},
     ["reasoning"]),
    ({"origin": OWN, "extra": (("safety_mode", Raw(b'"OFF"')), ("colour", Raw(b"1")))},
     {"safety_mode": "OFF"}, ["colour"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "wanted", "receipt"), SETTINGS, ids=[str(s[0])[:60] for s in SETTINGS]
)
def test_settings(given: Json, wanted: Json, receipt: list[str]) -> None:
    wire, found = encode(user("q"), **given)
    del wire["messages"]
    assert (wire, found) == (wanted, receipt)


def test_structured_output_beside_tools_is_a_tool() -> None:
    wire, receipt = encode(user("q"), output=OUTPUT, tools=(TOOL,))
    [look, standing] = wire["tools"]
    assert look == SPEC
    assert standing["function"]["parameters"] == {"type": "object"}
    assert wire["tool_choice"] == "REQUIRED"
    assert receipt == ["response_format=forced tool"]


def test_tools_that_only_others_run_are_refused() -> None:
    hosted = HostedTool(origin="openai_responses", kind="web_search", raw=b"{}")
    with pytest.raises(GatewayError, match="web_search"):
        encode(user("q"), tools=(hosted,))


def test_free_text_becomes_a_member() -> None:
    free = Tool(name="look", free=True, grammar=Raw(b"{}"))
    wire, receipt = encode(user("q"), tools=(free,))
    assert wire["tools"][0]["function"]["parameters"]["required"] == ["input"]
    assert receipt == ["tools[0].grammar", "tools[0]=JSON with one member input"]
