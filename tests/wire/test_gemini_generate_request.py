"""Requests of the generateContent format: read, written, and read again."""

import json
from typing import Any

import pytest
from msgspec import Raw
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
from ferryman.wire.gemini_generate.counting import decode_count, encode_count
from ferryman.wire.gemini_generate.prompt import NO_VALIDATION
from ferryman.wire.gemini_generate.types import NAME
from tests.wire.generate import AIM, PROVIDER, ask, plain, sent, user

PNG = "iVBORw0KGgo="
OWN = Signature("c2ln", NAME)
SCHEMA = Raw(b'{"type":"object","properties":{"a":{"type":"string"}},"required":["a"]}')


def model(*blocks: Any) -> Message:
    return Message(role=Role.ASSISTANT, blocks=blocks)


def given(*blocks: Any) -> Message:
    return Message(role=Role.USER, blocks=blocks)


def call(call_id: str, name: str = "f", arguments: str = '{"a":1}', **more: Any) -> ToolCall:
    return ToolCall(id=call_id, name=name, arguments=arguments, **more)


def result(call_id: str, *blocks: Any, name: str = "f", **more: Any) -> ToolResult:
    return ToolResult(call_id=call_id, name=name, blocks=blocks, **more)


def request(*messages: Message, **more: Any) -> Request:
    """A request as one of this format is read."""
    facts: dict[str, Any] = {"model": "gemini-2.5-flash", "origin": NAME, "include_usage": True}
    return Request(messages=messages or (user("hi"),), **facts | more)


def foreign(*messages: Message, **more: Any) -> Request:
    """A request of another format."""
    return request(*messages, **{"origin": "openai_chat"} | more)


def media(kind: MediaKind, media_type: str, **more: Any) -> Media:
    return Media(kind=kind, source=Source(media_type=media_type, **more))


IMAGE = media(MediaKind.IMAGE, "image/png", data=PNG)

BOTH_WAYS: list[tuple[str, dict[str, Any], Request]] = [
    ("text", {"contents": [{"parts": [{"text": "hi"}], "role": "user"}]}, request()),
    (
        "system",
        {
            "contents": [{"parts": [{"text": "hi"}], "role": "user"}],
            "systemInstruction": {"parts": [{"text": "be"}, {"text": "brief"}]},
        },
        request(
            Message(role=Role.SYSTEM, blocks=(Text(text="be"), Text(text="brief"))), user("hi")
        ),
    ),
    (
        "media",
        {
            "contents": [
                {
                    "parts": [
                        {"inlineData": {"mimeType": "image/png", "data": PNG}},
                        {"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}},
                        {"inlineData": {"mimeType": "video/mp4", "data": "AAAA"}},
                        {
                            "inlineData": {
                                "mimeType": "application/pdf", "data": "AAAA",
                                "displayName": "a.pdf",
                            }
                        },
                        {"fileData": {"fileUri": "gs://b/x.png", "mimeType": "image/png"}},
                        {"fileData": {"fileUri": "https://x.test/y.pdf",
                                      "mimeType": "application/pdf"}},
                        {
                            "inlineData": {"mimeType": "image/png", "data": PNG},
                            "mediaResolution": {"level": "MEDIA_RESOLUTION_LOW"},
                        },
                    ],
                    "role": "user",
                }
            ]
        },
        request(
            given(
                IMAGE,
                media(MediaKind.AUDIO, "audio/wav", data="AAAA"),
                media(MediaKind.VIDEO, "video/mp4", data="AAAA"),
                replace(media(MediaKind.DOCUMENT, "application/pdf", data="AAAA"), name="a.pdf"),
                media(MediaKind.IMAGE, "image/png", file_id="gs://b/x.png", origin=NAME),
                media(MediaKind.DOCUMENT, "application/pdf", url="https://x.test/y.pdf"),
                replace(IMAGE, detail="low"),
            )
        ),
    ),
    (
        "a tool loop with thoughts and signatures",
        {
            "contents": [
                {"parts": [{"text": "hi"}], "role": "user"},
                {
                    "parts": [
                        {"text": "hm", "thought": True, "thoughtSignature": "c2ln"},
                        {"text": "I look."},
                        {
                            "functionCall": {"id": "1", "name": "f", "args": {"a": 1}},
                            "thoughtSignature": "c2ln",
                        },
                        {"functionCall": {"id": "2", "name": "f", "args": {}}},
                    ],
                    "role": "model",
                },
                {
                    "parts": [
                        {"functionResponse": {"id": "1", "name": "f", "response": {"output": "x"}}},
                        {"functionResponse": {"id": "2", "name": "f", "response": {"error": "y"}}},
                    ],
                    "role": "user",
                },
                {
                    "parts": [
                        {"executableCode": {"language": "PYTHON", "code": "1"},
                         "thoughtSignature": "c2ln"},
                        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}},
                        {"text": "done", "thoughtSignature": "c2ln"},
                    ],
                    "role": "model",
                },
                {"parts": [{"text": "thanks"}], "role": "user"},
            ]
        },
        request(
            user("hi"),
            model(
                Thinking(text="hm", signature=OWN),
                Text(text="I look."),
                call("1", signature=OWN),
                call("2", arguments="{}"),
            ),
            given(result("1", Text(text="x")), result("2", Text(text="y"), error=True)),
            model(
                Opaque(
                    origin=NAME,
                    kind="executableCode",
                    raw=b'{"executableCode":{"language":"PYTHON","code":"1"},'
                    b'"thoughtSignature":"c2ln"}',
                ),
                Opaque(
                    origin=NAME,
                    kind="codeExecutionResult",
                    raw=b'{"codeExecutionResult":{"outcome":"OUTCOME_OK","output":"1"}}',
                ),
                Text(text="done", signature=OWN),
            ),
            user("thanks"),
        ),
    ),
    (
        "media in a result",
        {
            "contents": [
                {
                    "parts": [{"functionCall": {"id": "1", "name": "f", "args": {"a": 1}}}],
                    "role": "model",
                },
                {
                    "parts": [
                        {
                            "functionResponse": {
                                "id": "1", "name": "f", "response": {"output": ["a", "b"]},
                                "parts": [{"inlineData": {"mimeType": "image/png", "data": PNG}}],
                            }
                        }
                    ],
                    "role": "user",
                },
            ]
        },
        request(model(call("1")), given(result("1", Text(text="a"), Text(text="b"), IMAGE))),
    ),
    (
        "tools",
        {
            "contents": [{"parts": [{"text": "hi"}], "role": "user"}],
            "tools": [
                {
                    "functionDeclarations": [
                        {"name": "f", "description": "d",
                         "parametersJsonSchema": json.loads(bytes(SCHEMA))},
                        {"name": "g"},
                    ]
                },
                {"googleSearch": {"timeRangeFilter": {}}},
            ],
            "toolConfig": {
                "functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}
            },
        },
        request(
            tools=(
                Tool(name="f", description="d", parameters=SCHEMA),
                Tool(name="g"),
                HostedTool(
                    origin=NAME,
                    kind="googleSearch",
                    raw=b'{"googleSearch":{"timeRangeFilter":{}}}',
                ),
            ),
            tool_choice=ToolChoice(mode=ToolMode.REQUIRED, allowed=("f",)),
        ),
    ),
    *[
        (
            f"mode {mode}",
            {
                "contents": [{"parts": [{"text": "hi"}], "role": "user"}],
                "tools": [{"functionDeclarations": [{"name": "f"}]}],
                "toolConfig": {"functionCallingConfig": {"mode": mode}},
            },
            request(tools=(Tool(name="f", strict=strict),), tool_choice=ToolChoice(mode=said)),
        )
        for mode, said, strict in (
            ("AUTO", ToolMode.AUTO, None),
            ("NONE", ToolMode.NONE, None),
            ("VALIDATED", ToolMode.AUTO, True),
        )
    ],
    (
        "configuration",
        {
            "contents": [{"parts": [{"text": "hi"}], "role": "user"}],
            "cachedContent": "cachedContents/1",
            "labels": {"team": "a"},
            "serviceTier": "flex",
            "store": False,
            "safetySettings": [{"category": "C", "threshold": "T"}],
            "generationConfig": {
                "temperature": 0.5, "topP": 0.9, "topK": 40, "candidateCount": 2,
                "maxOutputTokens": 100, "stopSequences": ["a", "b"], "seed": 7,
                "presencePenalty": 0.1, "frequencyPenalty": 0.2, "responseLogprobs": True,
                "logprobs": 3, "responseModalities": ["TEXT", "AUDIO"],
                "speechConfig": {"voiceConfig": {}}, "imageConfig": {"aspectRatio": "1:1"},
                "responseMimeType": "application/json",
                "responseJsonSchema": json.loads(bytes(SCHEMA)),
                "thinkingConfig": {"includeThoughts": True, "thinkingBudget": 1024},
            },
        },
        request(
            cached_content="cachedContents/1",
            metadata=(("team", "a"),),
            service_tier="flex",
            store=False,
            temperature=0.5, top_p=0.9, top_k=40, choices=2, max_output=100, stop=("a", "b"),
            seed=7, presence_penalty=0.1, frequency_penalty=0.2, logprobs=True, top_logprobs=3,
            modalities=("text", "audio"),
            audio=Raw(b'{"voiceConfig":{}}'),
            output=OutputFormat(kind=OutputKind.SCHEMA, schema=SCHEMA),
            reasoning=Reasoning(budget=1024, summary="auto"),
            extra=(
                ("safetySettings", Raw(b'[{"category":"C","threshold":"T"}]')),
                ("generationConfig.imageConfig", Raw(b'{"aspectRatio":"1:1"}')),
            ),
        ),
    ),
    *[
        (
            f"thinking {config}",
            {
                "contents": [{"parts": [{"text": "hi"}], "role": "user"}],
                "generationConfig": {"thinkingConfig": config},
            },
            request(reasoning=said),
        )
        for config, said in (
            ({"thinkingLevel": "LOW"}, Reasoning(effort="low")),
            ({"thinkingLevel": "XHIGH"}, Reasoning(effort="xhigh")),
            ({"thinkingBudget": 0}, Reasoning(budget=0)),
            ({"thinkingBudget": -1}, Reasoning(adaptive=True)),
            ({"includeThoughts": False}, Reasoning(summary="none")),
        )
    ],
    (
        "JSON",
        {
            "contents": [{"parts": [{"text": "hi"}], "role": "user"}],
            "generationConfig": {"responseMimeType": "application/json"},
        },
        request(output=OutputFormat(kind=OutputKind.JSON)),
    ),
    (
        "a word from an enumeration",
        {
            "contents": [{"parts": [{"text": "hi"}], "role": "user"}],
            "generationConfig": {
                "responseMimeType": "text/x.enum",
                "responseSchema": {"type": "STRING", "enum": ["a"]},
            },
        },
        request(
            extra=(
                ("generationConfig.responseMimeType", Raw(b'"text/x.enum"')),
                ("generationConfig.responseSchema", Raw(b'{"type":"STRING","enum":["a"]}')),
            )
        ),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "wire", "said"), BOTH_WAYS, ids=[row[0] for row in BOTH_WAYS])
def test_requests_both_ways(name: str, wire: dict[str, Any], said: Request) -> None:
    assert plain(ask(wire)) == plain(said), name
    body, receipt = sent(said)
    assert body == wire
    assert (receipt.dropped, receipt.altered) == ((), ())


@pytest.mark.parametrize(
    "response",
    [
        {},
        {"output": "x"},
        {"output": ""},
        {"output": ["a", "b"]},
        {"output": ["a"]},
        {"output": {"a": 1}},
        {"output": '{"a":1}'},
        {"output": 5},
        {"error": "x"},
        {"error": ""},
        {"error": {"code": 1}},
        {"error": {"error": 1}},
        {"error": '{"a":1}'},
        {"error": ["a", "b"]},
        {"error": None},
        {"error": "x", "output": "y"},
        {"error": "x", "code": 3},
        {"temperature": 20, "unit": "C"},
        {"result": None},
    ],
)
def test_results_come_back_as_they_were(response: Any) -> None:
    body = {
        "contents": [
            {"parts": [{"functionCall": {"id": "1", "name": "f", "args": {}}}], "role": "model"},
            {
                "parts": [{"functionResponse": {"id": "1", "name": "f", "response": response}}],
                "role": "user",
            },
        ]
    }
    assert sent(ask(body))[0] == body
    said = ask(body).messages[1].blocks[0]
    assert isinstance(said, ToolResult)
    failed = response.get("error") is not None and "output" not in response
    assert said.error == failed


def test_the_protocols_own_spelling_is_read_too() -> None:
    snake = {
        "system_instruction": {"parts": {"text": "be"}},
        "contents": {
            "role": "USER",
            "parts": [
                {"text": "hi"},
                {"inline_data": {"mime_type": "image/png", "data": PNG}},
                {"fileData": {"file_uri": "https://x.test/a.png"}},
            ],
        },
        "tools": {"function_declarations": {"name": "f", "parameters_json_schema": {}}},
        "tool_config": {"function_calling_config": {"mode": "auto"}},
        "generation_config": {"max_output_tokens": 5, "thinking_config": {"thinking_budget": 0}},
        "safety_settings": [],
        "cached_content": "c",
    }
    said = ask(snake)
    assert plain(said) == plain(
        request(
            Message(role=Role.SYSTEM, blocks=(Text(text="be"),)),
            given(Text(text="hi"), IMAGE, media(MediaKind.IMAGE, "", url="https://x.test/a.png")),
            tools=(Tool(name="f", parameters=Raw(b"{}")),),
            tool_choice=ToolChoice(mode=ToolMode.AUTO),
            max_output=5,
            reasoning=Reasoning(budget=0),
            cached_content="c",
            extra=(("safety_settings", Raw(b"[]")),),
        )
    )


def test_base64_of_the_other_alphabet_is_set_right() -> None:
    body = {"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": "-_8"}}]}]}
    (block,) = ask(body).messages[0].blocks
    assert isinstance(block, Media)
    assert block.source.data == "+/8="


def test_what_nobody_knows_is_told() -> None:
    said = ask(
        {
            "contents": [{"parts": [{"text": "hi", "partMetadata": {"a": 1}}], "colour": "red"}],
            "tools": [{"functionDeclarations": [{"name": "f", "behavior": "BLOCKING"}]}],
            "toolConfig": {"retrievalConfig": {}},
            "generationConfig": {"routingConfig": {}, "thinkingConfig": {"speed": 2}},
            "somethingNew": 1,
        }
    )
    assert [name for name, _ in said.extra] == ["generationConfig.routingConfig", "somethingNew"]
    assert said.unknown == (
        "contents[0].parts[0].partMetadata",
        "contents[0].colour",
        "toolConfig.retrievalConfig",
        "generationConfig.thinkingConfig.speed",
        "tools[0].functionDeclarations[0].behavior",
    )
    _, receipt = sent(said)
    assert receipt.dropped == said.unknown


def test_schemas_of_the_format_become_json_schema() -> None:
    schema = {"type": "OBJECT", "properties": {"a": {"type": "STRING", "nullable": True}}}
    body = {
        "contents": [{"parts": [{"text": "hi"}]}],
        "tools": [{"functionDeclarations": [{"name": "f", "parameters": schema}]}],
        "generationConfig": {"responseMimeType": "application/json", "responseSchema": schema},
    }
    said = ask(body)
    tool = said.tools[0]
    assert isinstance(tool, Tool) and tool.parameters is not None and said.output is not None
    wanted = {"type": "object", "properties": {"a": {"type": ["string", "null"]}}}
    assert plain(tool.parameters) == plain(said.output.schema) == wanted


# --- calls and results --------------------------------------------------------------------------


def calls_and_answers(said: Request) -> tuple[list[str], list[tuple[str, str]]]:
    blocks = [block for message in said.messages for block in message.blocks]
    calls = [block.id for block in blocks if isinstance(block, ToolCall)]
    answers = [
        (block.call_id, block.blocks[0].text)
        for block in blocks
        if isinstance(block, ToolResult) and isinstance(block.blocks[0], Text)
    ]
    return calls, answers


def turn(*names: str, ids: tuple[str, ...] = ()) -> dict[str, Any]:
    pairs = zip(names, ids or ("",) * len(names), strict=True)
    return {
        "role": "model",
        "parts": [
            {"functionCall": {"name": n, "args": {}} | ({"id": i} if i else {})} for n, i in pairs
        ],
    }


def answers(*pairs: tuple[str, str], ids: tuple[str, ...] = ()) -> dict[str, Any]:
    wanted = zip(pairs, ids or ("",) * len(pairs), strict=True)
    return {
        "role": "function",
        "parts": [
            {
                "functionResponse": {"name": name, "response": {"output": text}}
                | ({"id": i} if i else {})
            }
            for (name, text), i in wanted
        ],
    }


def test_results_without_ids_find_their_calls_by_name_and_order() -> None:
    said = ask(
        {
            "contents": [
                {"parts": [{"text": "hi"}]},
                turn("f", "g", "f"),
                answers(("f", "one"), ("f", "two"), ("g", "three")),
                turn("f", "f"),
                answers(("f", "four"), ("f", "five")),
            ]
        }
    )
    calls, answered = calls_and_answers(said)
    assert calls == ["call_1", "call_2", "call_3", "call_4", "call_5"]
    assert answered == [
        ("call_1", "one"), ("call_3", "two"), ("call_2", "three"),
        ("call_4", "four"), ("call_5", "five"),
    ]  # fmt: skip


def test_ids_come_first_and_strangers_keep_theirs() -> None:
    said = ask(
        {
            "contents": [
                turn("f", "f", ids=("a", "b")),
                answers(("f", "two"), ("f", "one"), ("f", "what"), ids=("b", "a", "zz")),
                turn("g"),
                answers(("g", "own"), ("h", "none"), ids=("late", "")),
            ]
        }
    )
    calls, answered = calls_and_answers(said)
    assert calls == ["a", "b", "call_1"]
    assert answered == [
        ("b", "two"), ("a", "one"), ("zz", "what"), ("call_1", "own"), ("call_2", "none"),
    ]  # fmt: skip


def test_an_unanswered_call_takes_no_later_answer() -> None:
    said = ask({"contents": [turn("f"), {"parts": [{"text": "no"}]}, turn("f"),
                             answers(("f", "yes"))]})  # fmt: skip
    assert calls_and_answers(said) == (["call_1", "call_2"], [("call_2", "yes")])


def test_results_go_out_in_the_order_of_their_calls_and_in_one_content() -> None:
    said = foreign(
        user("hi"),
        model(call("a", "f"), call("b", "f")),
        model(call("c", "g")),
        given(result("c", Text(text="3"), name="")),
        given(result("b", Text(text="2"), name="")),
        given(result("a", Text(text="1"), name=""), Text(text="so?")),
    )
    body, receipt = sent(said, "no_call_ids")
    assert [content["role"] for content in body["contents"]] == ["user", "model", "user"]
    assert [part["functionCall"] for part in body["contents"][1]["parts"]] == [
        {"name": "f", "args": {"a": 1}}, {"name": "f", "args": {"a": 1}},
        {"name": "g", "args": {"a": 1}},
    ]  # fmt: skip
    assert body["contents"][2]["parts"] == [
        {"functionResponse": {"name": "f", "response": {"output": "1"}}},
        {"functionResponse": {"name": "f", "response": {"output": "2"}}},
        {"functionResponse": {"name": "g", "response": {"output": "3"}}},
        {"text": "so?"},
    ]
    assert (receipt.dropped, receipt.altered) == ((), ())


def test_ids_are_sent_as_they_came() -> None:
    said = foreign(model(call("toolu_01/é")), given(result("toolu_01/é", Text(text="x"), name="")))
    body, _ = sent(said)
    assert body["contents"][0]["parts"][0]["functionCall"]["id"] == "toolu_01/é"
    assert body["contents"][1]["parts"][0]["functionResponse"]["id"] == "toolu_01/é"
    assert body["contents"][1]["parts"][0]["functionResponse"]["name"] == "f"


def test_pieces_of_a_streamed_answer_are_one_block_again() -> None:
    pieces = [
        {"text": "Let ", "thought": True}, {"text": "me see", "thought": True},
        {"text": "", "thought": True, "thoughtSignature": "c2ln"},
        {"text": "It "}, {"text": "is"}, {"text": "", "thoughtSignature": "c2ln"}, {"text": ""},
    ]  # fmt: skip
    said = ask({"contents": [{"role": "model", "parts": [piece]} for piece in pieces]})
    assert plain(said.messages) == plain(
        (model(Thinking(text="Let me see", signature=OWN), Text(text="It is", signature=OWN)),)
    )


# --- what other formats say ---------------------------------------------------------------------


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
            given(
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
    finer, _ = sent(foreign(given(replace(IMAGE, detail="high"))), "part_resolution")
    assert finer["contents"][0]["parts"][0]["mediaResolution"] == {"level": "MEDIA_RESOLUTION_HIGH"}


@pytest.mark.parametrize("quirks", [(), ("media_in_results",)])
def test_media_of_results_stand_within_or_beside(quirks: tuple[str, ...]) -> None:
    said = foreign(model(call("1")), given(result("1", IMAGE, Text(text="x"))))
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
    body, said = sent(foreign(reasoning=reasoning), *quirks)
    assert body.get("generationConfig", {}).get("thinkingConfig") == config
    assert [entry.partition("=")[2] for entry in said.altered] == (
        [receipt] if receipt not in ("", "dropped") else []
    )
    assert said.dropped == (("reasoning",) if receipt == "dropped" else ())


def test_calls_of_the_current_turn_get_a_stand_in_for_their_signature() -> None:
    said = foreign(
        user("hi"),
        model(call("1")),
        given(result("1", Text(text="x"))),
        model(Text(text="so")),
        user("again"),
        model(call("2"), call("3")),
        given(result("2", Text(text="x")), result("3", Text(text="x"))),
        model(call("4", signature=OWN), call("5")),
        given(result("4", Text(text="x")), result("5", Text(text="x"))),
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


# --- errors -------------------------------------------------------------------------------------

HI = {"parts": [{"text": "hi"}]}
BAD: list[tuple[Any, str | None]] = [
    (b"", None),
    (b"\xff\xfe", None),
    (b"[]", None),
    (b'{"contents":', None),
    (b'{"contents":[{"parts":[{"text":"\xff"}]}]}', None),
    (b'{"contents":' + b"[" * 100_000, None),
    (b'{"contents":[],"x":' + b'{"a":' * 100_000, None),
    (b'{"contents":[{"parts":[{"functionCall":{"name":"f","args":' + b"[" * 100_000, None),
    ({}, "contents"),
    ({"contents": []}, "contents"),
    ({"contents": None}, "contents"),
    ({"contents": "hi"}, "contents"),
    ({"contents": [{"parts": "hi"}]}, "contents[0].parts"),
    ({"contents": [{"parts": [{"text": 5}]}]}, "contents[0].parts[0].text"),
    ({"contents": [{"parts": [{}]}]}, "contents[0].parts[0]"),
    ({"contents": [{"parts": [{"textt": "x"}]}]}, "contents[0].parts[0]"),
    ({"contents": [{"parts": [{"text": "x", "functionCall": {"name": "f"}}], "role": "model"}]},
     "contents[0].parts[0]"),
    ({"contents": [HI | {"role": "system"}]}, "contents[0].role"),
    ({"contents": [HI | {"role": "assistant"}]}, "contents[0].role"),
    ({"contents": [{"parts": [{"functionCall": {"name": "f"}}]}]},
     "contents[0].parts[0].functionCall"),
    ({"contents": [{"role": "model", "parts": [{"functionCall": {"args": {}}}]}]},
     "contents[0].parts[0].functionCall.name"),
    ({"contents": [{"role": "model", "parts": [{"functionCall": {"name": "f", "args": [1]}}]}]},
     "contents[0].parts[0].functionCall.args"),
    ({"contents": [{"role": "model", "parts": [{"functionResponse": {"name": "f"}}]}]},
     "contents[0].parts[0].functionResponse"),
    ({"contents": [{"parts": [{"functionResponse": {"response": {}}}]}]},
     "contents[0].parts[0].functionResponse.name"),
    ({"contents": [{"parts": [{"functionResponse": {"name": "f", "response": "x"}}]}]},
     "contents[0].parts[0].functionResponse.response"),
    ({"contents": [{"parts": [{"inlineData": {"data": PNG}}]}]},
     "contents[0].parts[0].inlineData.mimeType"),
    ({"contents": [{"parts": [{"inlineData": {"mimeType": "image/png"}}]}]},
     "contents[0].parts[0].inlineData.data"),
    ({"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": "a b!"}}]}]},
     "contents[0].parts[0].inlineData.data"),
    ({"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": "AAAAA"}}]}]},
     "contents[0].parts[0].inlineData.data"),
    ({"contents": [{"parts": [{"fileData": {}}]}]}, "contents[0].parts[0].fileData.fileUri"),
    ({"contents": [HI], "tools": [{"functionDeclarations": [{"name": 5}]}]},
     "tools[0].functionDeclarations[0].name"),
    ({"contents": [HI], "tools": [{"functionDeclarations": [{}]}]},
     "tools[0].functionDeclarations[0].name"),
    ({"contents": [HI], "tools": [{"functionDeclarations": "f"}]}, "tools[0].functionDeclarations"),
    ({"contents": [HI], "tools": "f"}, "tools"),
    ({"contents": [HI], "toolConfig": {"functionCallingConfig": {"mode": "SOME"}}},
     "toolConfig.functionCallingConfig.mode"),
    ({"contents": [HI], "generationConfig": {"temperature": "hot"}},
     "generationConfig.temperature"),
    ({"contents": [HI], "generationConfig": {"topK": 1.5}}, "generationConfig.topK"),
    ({"contents": [HI], "generationConfig": {"candidateCount": 0}},
     "generationConfig.candidateCount"),
    ({"contents": [HI], "generationConfig": {"thinkingConfig": {"thinkingLevel": "VAST"}}},
     "generationConfig.thinkingConfig.thinkingLevel"),
    ({"contents": [HI], "generationConfig": {"stopSequences": [1]}},
     "generationConfig.stopSequences[0]"),
    ({"contents": [HI], "labels": {"a": 1}}, None),
]  # fmt: skip


@pytest.mark.parametrize(("body", "param"), BAD)
def test_what_is_wrong_is_told_by_its_path(body: Any, param: str | None) -> None:
    with pytest.raises(GatewayError) as caught:
        ask(body)
    error = caught.value
    assert (error.status, error.kind) == (400, ErrorKind.INVALID_REQUEST)
    if param is not None:
        assert error.param == param, error.message
    assert error.message.endswith(".")


@pytest.mark.parametrize(
    ("said", "quirks", "param"),
    [
        (foreign(model(call("1", arguments="{oops"))), (), "messages[0]"),
        (foreign(model(call("1", arguments="[1]"))), (), "messages[0]"),
        (foreign(given(result("1", name=""))), (), "messages[0].tool_result"),
        (foreign(given(media(MediaKind.IMAGE, "", url="https://x.test/a"))), ("no_urls",),
         "messages[0].image"),
        (foreign(given(media(MediaKind.DOCUMENT, "", file_id="file-1", origin="openai_chat"))), (),
         "messages[0].document"),
        (foreign(given(media(MediaKind.AUDIO, "", data="AAAA"))), (), "messages[0].audio"),
        (foreign(tools=(HostedTool(origin="x", kind="web_search", raw=b"{}"),)), (), "tools[0]"),
        (foreign(given(call("1"))), (), "messages[0]"),
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


def test_counting_takes_contents_or_a_whole_request() -> None:
    whole = {"contents": [HI], "systemInstruction": HI}
    plainly = decode_count(json.dumps({"contents": [HI]}).encode(), "m")
    assert [m.role for m in plainly.messages] == [Role.USER]
    for name in ("generateContentRequest", "generate_content_request"):
        said = decode_count(json.dumps({name: whole | {"model": "models/x"}}).encode(), "m")
        assert [m.role for m in said.messages] == [Role.SYSTEM, Role.USER]
    assert json.loads(encode_count(7)) == {"totalTokens": 7}
    with pytest.raises(GatewayError):
        decode_count(b"[]", "m")
