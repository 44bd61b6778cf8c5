"""Requests in the Cohere format, each judged by the official SDK's types."""

import base64
from typing import Any

import pytest
from msgspec import Raw

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
from ferryman.wire.cohere_chat.request import encode_request
from ferryman.wire.format import Aim
from tests.wire.judges_cohere_chat import judge_request
from tests.wire.turns import media, model, say, texts, user

OWN = "cohere_chat"
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n0000").decode()
UNKNOWN = Aim(model="command-x")
PLAIN = Aim(model="command-r-08-2024", abilities=("tools",))
THINKER = Aim(model="command-a-reasoning", abilities=("tools", "reasoning"))


def call(call_id: str = "c1", arguments: str = '{"x": 1}') -> ToolCall:
    return ToolCall(id=call_id, name="look", arguments=arguments)


def result(*blocks: Text | Media | Opaque | str, call_id: str = "c1") -> ToolResult:
    return ToolResult(call_id=call_id, blocks=texts(blocks))


def encode(
    *messages: Message, aim: Aim = UNKNOWN, origin: str = "openai_chat", **more: Any
) -> tuple[dict[str, Any], list[str]]:
    """The judged body, and the receipt: what was dropped, then what was altered."""
    receipt = Receipt()
    request = Request(model="m", messages=messages, origin=origin, **more)
    wire = judge_request(encode_request(request, aim, receipt))
    return wire, [*receipt.dropped, *receipt.altered]


def wire_call(call_id: str = "c1", arguments: str = '{"x": 1}') -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": "look", "arguments": arguments}}


CITATION = Raw(b'{"start":0,"end":1,"text":"a","content_index":7,"type":"TEXT_CONTENT"}')
MESSAGES: list[tuple[str, list[Message], list[dict[str, Any]], list[str]]] = [
    ("text", [say(Role.SYSTEM, "s"), say(Role.DEVELOPER, "d"), user("hi"), model("yes"),
              say(Role.SYSTEM, "late")],
     [{"role": "system", "content": "s"}, {"role": "system", "content": "d"},
      {"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"},
      {"role": "system", "content": "late"}], []),
    ("several texts", [user("a", "b"), user("c")],
     [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
      {"role": "user", "content": "c"}], []),
    ("names, marks, signatures, nothing",
     [say(Role.USER, Text(text="a", cache=CacheMark(), signature=Signature("s", "o")), "",
           name="Bo"), user(""), model("")],
     [{"role": "user", "content": "a"}],
     ["messages[0].name", "messages[0].cache_control", "messages[0].signature"]),
    ("images",
     [user("see", media("image", data=PNG), media("image", media_type="image/webp", data="AAAA"),
           Media(kind=MediaKind.IMAGE, source=Source(url="https://x.example/a.png"), detail="low",
                 context="c"))],
     [{"role": "user", "content": [
         {"type": "text", "text": "see"},
         {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
         {"type": "image_url", "image_url": {"url": "data:image/webp;base64,AAAA"}},
         {"type": "image_url", "image_url": {"url": "https://x.example/a.png", "detail": "low"}},
     ]}],
     ["messages[0].image.context"]),
    ("calls in several messages, results, and more",
     [user("go"), model("on it", call()), model(call("c2", "")),
      user("so?", result("done", call_id="c2")),
      user(ToolResult(call_id="c1", error=True, cache=CacheMark()))],
     [{"role": "user", "content": "go"},
      {"role": "assistant", "content": "on it", "tool_calls": [wire_call(), wire_call("c2", "{}")]},
      {"role": "tool", "tool_call_id": "c2", "content": "done"},
      {"role": "tool", "tool_call_id": "c1", "content": ""},
      {"role": "user", "content": "so?"}],
     ["messages[4].cache_control", "messages[4].tool_result.error"]),
    ("results of all kinds",
     [model(call()),
      user(result("a", Media(kind=MediaKind.DOCUMENT, name="n", source=Source(text="t")),
                  media("image", data=PNG), Opaque(origin="other", kind="odd", raw=b"{}"),
                  Opaque(origin=OWN, kind="document",
                         raw=b'{"type":"document","document":{"data":{"k":1}}}')))],
     [{"role": "assistant", "tool_calls": [wire_call()]},
      {"role": "tool", "tool_call_id": "c1", "content": [
          {"type": "text", "text": "a"},
          {"type": "document", "document": {"data": {"title": "n", "text": "t"}}},
          {"type": "document", "document": {"data": {"k": 1}}}]}],
     ["messages[1].tool_result.image", "messages[1].tool_result.odd"]),
    ("thoughts",
     [model(Thinking(text="plan, "), Thinking(text="go"), call()), user(result("r")),
      model(Thinking(text="hm"), Thinking(text="x", signature=Signature("s", "gemini_generate")),
            Thinking(encrypted=True), Thinking(), "so"), user("?")],
     [{"role": "assistant", "tool_plan": "plan, go", "tool_calls": [wire_call()]},
      {"role": "tool", "tool_call_id": "c1", "content": "r"},
      {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"},
                                        {"type": "text", "text": "so"}]},
      {"role": "user", "content": "?"}],
     ["messages[2].thinking"]),
    ("citations",
     [model(Thinking(text="t"),
            Text(text="a", citations=(Citation(origin=OWN, raw=bytes(CITATION)),
                                      Citation(origin=OWN), Citation(url="https://x.example"),
                                      Citation(origin=OWN, raw=b"{")))), user("?")],
     [{"role": "assistant",
       "content": [{"type": "thinking", "thinking": "t"}, {"type": "text", "text": "a"}],
       "citations": [{"start": 0, "end": 1, "text": "a", "content_index": 1,
                      "type": "TEXT_CONTENT"}]},
      {"role": "user", "content": "?"}],
     ["messages[0].citations"]),
    ("what only other formats have",
     [user("q", Opaque(origin="anthropic_messages", kind="search_result", raw=b"{}")),
      model(Refusal(text="no"), media("image", data=PNG),
            ToolCall(id="f", name="look", arguments="a\nb", free=True)),
      say(Role.SYSTEM, media("image", data=PNG), "s")],
     [{"role": "user", "content": "q"},
      {"role": "assistant", "content": "no",
       "tool_calls": [wire_call("f", '{"input":"a\\nb"}')]},
      {"role": "system", "content": "s"}],
     ["messages[0].search_result", "messages[1].image", "messages[2].image",
      "messages[1].refusal=text", "messages[1].look=JSON with one member input"]),
]  # fmt: skip


@pytest.mark.parametrize("case", MESSAGES, ids=[case[0] for case in MESSAGES])
def test_messages(case: tuple[str, list[Message], list[dict[str, Any]], list[str]]) -> None:
    _, messages, wanted, receipt = case
    wire, reported = encode(*messages)
    assert wire == {"model": "command-x", "messages": wanted, "stream": False}
    assert reported == receipt


def test_documents_become_the_requests_own() -> None:
    text = base64.b64encode("t\u00e9xt".encode()).decode()
    wire, reported = encode(
        user("q", Media(kind=MediaKind.DOCUMENT, name="n", context="c", source=Source(text="one"))),
        user(media("document", media_type="text/csv", data=text)),
        stream=True,
    )
    assert wire["documents"] == [
        {"id": "doc_0", "data": {"title": "n", "context": "c", "text": "one"}},
        {"id": "doc_1", "data": {"text": "t\u00e9xt"}},
    ]
    assert wire["messages"] == [{"role": "user", "content": "q"}]
    assert wire["stream"] is True
    assert reported == [
        "messages[0].document=one of the request's documents",
        "messages[1].document=one of the request's documents",
    ]


# --- tools and output ---------------------------------------------------------------------------

LOOK = Tool(name="look", description="Looks.", parameters=Raw(b'{"type":"object","a":1}'))
OTHER = Tool(name="other", strict=True, cache=CacheMark())
LOOK_SPEC = {"type": "function", "function": {
    "name": "look", "description": "Looks.", "parameters": {"type": "object", "a": 1}}}  # fmt: skip
OTHER_SPEC = {"type": "function", "function": {
    "name": "other", "parameters": {"type": "object", "properties": {}}}}  # fmt: skip
LOST = ["tools[1].cache_control", "tools[1].strict"]


def choice(mode: str, *allowed: str) -> ToolChoice:
    return ToolChoice(mode=ToolMode(mode), allowed=allowed)


@pytest.mark.parametrize(
    ("said_choice", "config", "receipt"),
    [
        (None, {"tools": [LOOK_SPEC, OTHER_SPEC]}, LOST),
        (choice("auto"), {"tools": [LOOK_SPEC, OTHER_SPEC]}, LOST),
        (choice("none"), {"tools": [LOOK_SPEC, OTHER_SPEC], "tool_choice": "NONE"}, LOST),
        (choice("required"), {"tools": [LOOK_SPEC, OTHER_SPEC], "tool_choice": "REQUIRED"}, LOST),
        (choice("required", "look"), {"tools": [LOOK_SPEC], "tool_choice": "REQUIRED"},
         ["tools=only those that may be called"]),
        (choice("auto", "other"), {"tools": [OTHER_SPEC], "strict_tools": True},
         ["tools[1].cache_control", "tools=only those that may be called"]),
    ],
)  # fmt: skip
def test_tools(said_choice: ToolChoice | None, config: dict[str, Any], receipt: list[str]) -> None:
    wire, reported = encode(user("q"), tools=(LOOK, OTHER), tool_choice=said_choice)
    assert {k: v for k, v in wire.items() if "tool" in k} == config
    assert reported == receipt


def test_a_tool_of_free_text_becomes_a_function() -> None:
    free = Tool(name="patch", free=True, grammar=Raw(b"{}"))
    wire, reported = encode(user("q"), tools=(free,))
    schema = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
    assert wire["tools"][0]["function"]["parameters"] == schema
    assert reported == ["tools[0].grammar", "tools[0]=JSON with one member input"]


SCHEMA = Raw(b'{"type":"object","properties":{"a":{"type":"integer"}}}')
WANTED = OutputFormat(kind=OutputKind.SCHEMA, name="n", description="d", schema=SCHEMA)
OUTPUT_SPEC = {"type": "function", "function": {
    "name": "structured_output", "description": "d",
    "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}}}  # fmt: skip
FORM = {"type": "json_object",
        "json_schema": {"type": "object", "properties": {"a": {"type": "integer"}}}}  # fmt: skip
DOCUMENT = media("document", text="t")


@pytest.mark.parametrize(
    ("message", "more", "config", "receipt"),
    [
        (user("q"), {}, {"response_format": FORM}, ["response_format.description"]),
        (user("q"), {"output": OutputFormat(kind=OutputKind.JSON)},
         {"response_format": {"type": "json_object"}}, []),
        (user("q"), {"output": OutputFormat(kind=OutputKind.TEXT)}, {}, []),
        (user("q"), {"tools": (LOOK,)},
         {"tools": [LOOK_SPEC, OUTPUT_SPEC], "tool_choice": "REQUIRED"},
         ["response_format=forced tool"]),
        (user("q"), {"tools": (LOOK,), "tool_choice": choice("none")}, {"response_format": FORM},
         ["response_format.description", "tools=left out, since none may be called"]),
        (user("q", DOCUMENT), {"tools": (LOOK,), "tool_choice": choice("none")},
         {"tools": [OUTPUT_SPEC], "tool_choice": "REQUIRED"},
         ["messages[0].document=one of the request's documents", "response_format=forced tool"]),
        (user("q", DOCUMENT), {}, {"tools": [OUTPUT_SPEC], "tool_choice": "REQUIRED"},
         ["messages[0].document=one of the request's documents", "response_format=forced tool"]),
        (user("q"), {"tools": (LOOK,), "tool_choice": choice("required")},
         {"tools": [LOOK_SPEC], "tool_choice": "REQUIRED"}, ["response_format"]),
    ],
)  # fmt: skip
def test_structured_output(
    message: Message, more: dict[str, Any], config: dict[str, Any], receipt: list[str]
) -> None:
    wire, reported = encode(message, **({"output": WANTED} | more))
    found = {k: v for k, v in wire.items() if "tool" in k or k == "response_format"}
    assert found == config
    assert reported == receipt


def test_the_receipt_names_the_tool_that_stands_for_output() -> None:
    receipt = Receipt()
    tools = (Tool(name="structured_output"),)
    request = Request(model="m", messages=(user("q"),), output=WANTED, tools=tools)
    wire = judge_request(encode_request(request, UNKNOWN, receipt))
    assert receipt.output_tool == wire["tools"][-1]["function"]["name"] == "structured_output_"


# --- settings -----------------------------------------------------------------------------------


def test_settings_that_the_format_has() -> None:
    wire, reported = encode(
        user("q"), max_output=9, temperature=0.0, top_p=0.5, top_k=4, seed=1, logprobs=True,
        stop=("a", "b"), presence_penalty=0.5, frequency_penalty=0.0,
    )  # fmt: skip
    settings = {k: v for k, v in wire.items() if k not in ("model", "messages", "stream")}
    assert settings == {
        "max_tokens": 9, "temperature": 0.0, "p": 0.5, "k": 4, "seed": 1, "logprobs": True,
        "stop_sequences": ["a", "b"], "presence_penalty": 0.5, "frequency_penalty": 0.0,
    }  # fmt: skip
    assert not reported


def test_settings_beyond_the_formats_limits() -> None:
    wire, reported = encode(
        user("q"), top_p=1.0, top_k=900, stop=tuple("abcdef"), presence_penalty=-1.0,
        frequency_penalty=2.0,
    )  # fmt: skip
    assert (wire["p"], wire["k"], wire["presence_penalty"], wire["frequency_penalty"]) == (
        0.99, 500, 0, 1,
    )  # fmt: skip
    assert wire["stop_sequences"] == list("abcde")
    assert reported == [
        "stop=the first 5", "top_p=0.99, the nearest that the format allows",
        "top_k=500, the nearest that the format allows",
        "frequency_penalty=1, the nearest that the format allows",
        "presence_penalty=0, the nearest that the format allows",
    ]  # fmt: skip


def test_settings_that_the_format_lacks() -> None:
    wire, reported = encode(
        user("q"), choices=2, top_logprobs=3, parallel_tools=False, verbosity="low",
        modalities=("text", "audio"), audio=Raw(b"{}"), user="u", metadata=(("a", "b"),),
        service_tier="flex", store=True, cache_key="k", cache_seconds=9, unknown=("x.y",),
        extra=(("more", Raw(b"1")),),
    )  # fmt: skip
    assert set(wire) == {"model", "messages", "stream"}
    assert reported == [
        "x.y", "more", "n", "top_logprobs", "parallel_tool_calls", "verbosity", "modalities",
        "audio", "user", "metadata", "service_tier", "store", "prompt_cache_key",
        "prompt_cache_retention",
    ]  # fmt: skip


def test_members_of_its_own_go_through() -> None:
    extra = (("safety_mode", Raw(b'"OFF"')), ("citation_options", Raw(b'{"mode":"FAST"}')),
             ("odd", Raw(b"1")))  # fmt: skip
    wire, reported = encode(user("q"), origin=OWN, extra=extra)
    assert (wire["safety_mode"], wire["citation_options"]) == ("OFF", {"mode": "FAST"})
    assert reported == ["odd"]


@pytest.mark.parametrize(
    ("aim", "reasoning", "thinking", "receipt"),
    [
        (UNKNOWN, Reasoning(budget=300), {"type": "enabled", "token_budget": 300}, []),
        (THINKER, Reasoning(effort="none"), {"type": "disabled"}, []),
        (THINKER, Reasoning(budget=0), {"type": "disabled"}, []),
        (THINKER, Reasoning(adaptive=True), {"type": "enabled"}, []),
        (THINKER, Reasoning(effort="high"), {"type": "enabled", "token_budget": 24576},
         ["reasoning.effort=budget of 24576 tokens"]),
        (THINKER, Reasoning(effort="odd"), {"type": "enabled"}, ["reasoning.effort"]),
        (THINKER, Reasoning(summary="auto"), None, []),
        (PLAIN, Reasoning(effort="high"), None, ["reasoning"]),
        (PLAIN, Reasoning(effort="none"), None, []),
    ],
)  # fmt: skip
def test_thinking(
    aim: Aim, reasoning: Reasoning, thinking: dict[str, Any] | None, receipt: list[str]
) -> None:
    wire, reported = encode(user("q"), aim=aim, reasoning=reasoning)
    assert wire.get("thinking") == thinking
    assert reported == receipt


# --- what is refused ----------------------------------------------------------------------------

REFUSED: list[tuple[Message, dict[str, Any], str, str]] = [
    (user(media("audio", media_type="audio/wav", data="AAAA")), {}, "messages[0].audio", "audio"),
    (user(media("video", url="https://x.example/v")), {}, "messages[0].video", "video"),
    (user(media("image", media_type="image/tiff", data=PNG)), {}, "messages[0].image", "tiff"),
    (user(media("image", data="AAAA")), {}, "messages[0].image", "doesn't say its type"),
    (user(media("image", file_id="f")), {}, "messages[0].image", "stored at another provider"),
    (user(media("document", media_type="application/pdf", data="AAAA")), {},
     "messages[0].document", "as text only"),
    (user(media("document", media_type="text/plain", data="////")), {}, "messages[0].document",
     "not text in UTF-8"),
    (user(result(media("document", url="https://x.example/d"))), {},
     "messages[0].tool_result.document", "as text only"),
    (user("a"), {"tools": (HostedTool(origin="o", kind="web_search", raw=b"{}"),)}, "tools[0]",
     "web_search"),
    (user("a"), {"cached_content": "c"}, "cached_content", "its own provider"),
    (user("a"), {"modalities": ("audio",)}, "modalities", "in text"),
]  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_say_what_and_where(case: tuple[Message, dict[str, Any], str, str]) -> None:
    message, more, param, words = case
    with pytest.raises(GatewayError, match=words) as caught:
        encode(message, **more)
    assert (caught.value.status, caught.value.kind) == (400, ErrorKind.UNSUPPORTED)
    assert caught.value.param == param
