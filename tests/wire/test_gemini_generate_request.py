"""Requests of the generateContent format: read, written, and read again."""

import json
from typing import Any

import pytest
from msgspec import Raw

from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.request import (
    Media,
    MediaKind,
    Message,
    Reasoning,
    Request,
    Role,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolMode,
    ToolResult,
)
from ferryman.wire.gemini_generate.counting import decode_count, encode_count
from tests.wire.generate import ask, plain, sent
from tests.wire.generate_requests import (
    BOTH_WAYS,
    IMAGE,
    OWN,
    PNG,
    call,
    foreign,
    media,
    request,
    result,
)
from tests.wire.turns import model, user


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
            user(Text(text="hi"), IMAGE, media(MediaKind.IMAGE, "", url="https://x.test/a.png")),
            tools=(Tool(name="f", parameters=Raw(b"{}")),),
            tool_choice=ToolChoice(mode=ToolMode.AUTO),
            max_output=5,
            reasoning=Reasoning(budget=0),
            cached_content="c",
            extra=(("safetySettings", Raw(b"[]")),),
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
        user(result("c", Text(text="3"), name="")),
        user(result("b", Text(text="2"), name="")),
        user(result("a", Text(text="1"), name=""), Text(text="so?")),
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
    said = foreign(model(call("toolu_01/é")), user(result("toolu_01/é", Text(text="x"), name="")))
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
    ({"contents": [{"parts": []}, {"role": "model"}]}, "contents"),
    ({"contents": [{"parts": [{"text": "x", "thought": True}]}]}, "contents[0].parts[0].thought"),
    ({"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": PNG},
                               "executableCode": {}}]}]}, "contents[0].parts[0]"),
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
