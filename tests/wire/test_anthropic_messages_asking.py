"""Requests of other formats for providers of the Messages format: what is carried, and how."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
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
from ferryman.wire.anthropic_messages.encode import DEFAULT_LIMIT, encode_request
from ferryman.wire.anthropic_messages.history import OPENER
from ferryman.wire.anthropic_messages.types import NAME
from ferryman.wire.format import Aim

AWAY = "openai_chat"
OBJECT = Raw(b'{"type":"object","properties":{"a":{"type":"string"}}}')
CLOSED = Raw(
    b'{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],'
    b'"additionalProperties":false}'
)
BEYOND = Raw(b'{"type":"object","additionalProperties":false,"minProperties":1}')
F, G = Tool(name="f", parameters=OBJECT), Tool(name="g", parameters=OBJECT)


def say(role: Role, *blocks: Any, **more: Any) -> Message:
    whole = tuple(Text(text=block) if isinstance(block, str) else block for block in blocks)
    return Message(role=role, blocks=whole, **more)


def user(*blocks: Any) -> Message:
    return say(Role.USER, *blocks)


def model(*blocks: Any) -> Message:
    return say(Role.ASSISTANT, *blocks)


def system(*blocks: Any) -> Message:
    return say(Role.SYSTEM, *blocks)


class Sent:
    """What an encoder made of a request."""

    def __init__(self, body: dict[str, Any], receipt: Receipt) -> None:
        self.body = body
        self.dropped, self.altered = receipt.dropped, receipt.altered
        self.receipt = receipt


def send(*messages: Message, aim: tuple[str, ...] = (), most: int = 0, **more: Any) -> Sent:
    request = Request(
        **{"model": "m", "messages": messages or (user("Hi"),), "max_output": 10_000,
           "origin": AWAY, **more}
    )  # fmt: skip
    receipt = Receipt()
    target = Aim(model="claude-aim", max_output=most, abilities=aim)
    return Sent(json.loads(encode_request(request, target, receipt)), receipt)


def refusal(*messages: Message, **more: Any) -> GatewayError:
    with pytest.raises(GatewayError) as refused:
        send(*messages, **more)
    assert refused.value.status == 400
    return refused.value


def call(call_id: str = "c", name: str = "f", arguments: str = "{}", **more: Any) -> ToolCall:
    return ToolCall(id=call_id, name=name, arguments=arguments, **more)


def result(call_id: str = "c", *blocks: Any, **more: Any) -> ToolResult:
    whole = tuple(Text(text=block) if isinstance(block, str) else block for block in blocks)
    return ToolResult(call_id=call_id, blocks=whole, **more)


# --- the conversation -----------------------------------------------------------------------------


def test_system_text_in_front_goes_to_its_own_place() -> None:
    sent = send(system("A"), say(Role.DEVELOPER, "B"), user("Hi"))
    assert sent.body["system"] == [{"type": "text", "text": "A"}, {"type": "text", "text": "B"}]
    assert sent.body["messages"] == [{"role": "user", "content": "Hi"}]
    assert sent.dropped == sent.altered == ()
    assert send(system("A"), user("Hi")).body["system"] == "A"


def test_system_text_in_between_is_a_user_s_or_keeps_its_role() -> None:
    messages = (user("a"), system("S"), model("b"), system("T"), user("c"))
    sent = send(*messages)
    assert [turn["role"] for turn in sent.body["messages"]] == [
        "user", "user", "assistant", "user", "user"
    ]  # fmt: skip
    assert sent.altered == ("messages[1].role=user", "messages[3].role=user")
    sent = send(*messages, aim=("system_messages",))
    assert [turn["role"] for turn in sent.body["messages"]] == [
        "user", "system", "assistant", "user", "user"
    ]  # fmt: skip
    assert sent.altered == ("messages[3].role=user",), "after a user's turn only"


def test_system_text_alone_becomes_a_message() -> None:
    sent = send(system("A"), system("B"))
    assert sent.body["system"] == "A"
    assert sent.body["messages"] == [{"role": "user", "content": "B"}]
    assert sent.altered == ("messages[1].role=user",)


def test_a_model_that_speaks_first_is_spoken_to() -> None:
    sent = send(model("Welcome!"), user("Hi"))
    assert sent.body["messages"][0] == {"role": "user", "content": OPENER}
    assert sent.altered == ("messages=a user message in front",)


def test_results_follow_their_calls_at_once_and_come_first() -> None:
    messages = (
        user("go"), model("ok", call("a"), call("b", "f", '{"x": 1}')),
        system("note"), user(result("b", "2")), user("and", result("a", "1")),
    )  # fmt: skip
    sent = send(*messages, tools=(F,))
    turns = sent.body["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert turns[1]["content"] == [
        {"type": "text", "text": "ok"},
        {"type": "tool_use", "id": "a", "name": "f", "input": {}},
        {"type": "tool_use", "id": "b", "name": "f", "input": {"x": 1}},
    ]
    assert turns[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "b", "content": "2"},
        {"type": "tool_result", "tool_use_id": "a", "content": "1"},
        {"type": "text", "text": "note"},
        {"type": "text", "text": "and"},
    ]


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ((user("go"), model(call("a")), user("no result")), "call a has no result"),
        ((user("go"), model(call("a"))), "call a has no result"),
        ((user("go"), model(call("a"), call("b")), user(result("a"))), "call b has no result"),
        ((user(result("a")),), "result of the tool call a doesn't follow"),
        ((user("go"), model(call("a")), user(result("a")), model("x"), user(result("a"))),
         "result of the tool call a doesn't follow"),
    ],
)  # fmt: skip
def test_calls_and_results_that_do_not_match_are_refused(
    messages: tuple[Message, ...], words: str
) -> None:
    assert words in refusal(*messages, tools=(F,)).message


def test_ids_fit_and_stay_the_same_for_call_and_result() -> None:
    odd = "functions.f:0|" + "x" * 80
    turns = send(user("go"), model(call(odd)), user(result(odd, "1")), tools=(F,)).body["messages"]
    fitted = turns[1]["content"][0]["id"]
    assert fitted == turns[2]["content"][0]["tool_use_id"]
    assert fitted.startswith("toolu_") and len(fitted) <= 64


def test_results_carry_images_errors_and_nothing() -> None:
    picture = Media(kind=MediaKind.IMAGE, source=Source(media_type="image/png", data="aGk="))
    turns = send(
        user("go"), model(call("a"), call("b"), call("c")),
        user(result("a", "see", picture), result("b", "bad", error=True), result("c", "")),
        tools=(F,),
    ).body["messages"]  # fmt: skip
    assert turns[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "a", "content": [
            {"type": "text", "text": "see"},
            {"type": "image",
             "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}]},
        {"type": "tool_result", "tool_use_id": "b", "content": "bad", "is_error": True},
        {"type": "tool_result", "tool_use_id": "c"},
    ]  # fmt: skip


@pytest.mark.parametrize("arguments", ["[]", "nope", '{"a":', '"x"', "1"])
def test_arguments_must_be_an_object(arguments: str) -> None:
    error = refusal(user("x"), model(call("a", "f", arguments)), user(result("a")))
    assert "'f'" in error.message


def test_arguments_stay_as_the_model_wrote_them() -> None:
    receipt = Receipt()
    request = Request(
        model="m", origin=AWAY,
        messages=(user("x"), model(call("a", "f", '{"a": 1, "a":1e999}'), call("b", "f", "  ")),
                  user(result("a"), result("b"))),
    )  # fmt: skip
    body = encode_request(request, Aim(model="m"), receipt)
    assert b'"input":{"a": 1, "a":1e999}' in body
    assert b'"input":{}' in body


def test_text_without_words_is_left_out() -> None:
    sent = send(user("a", "", " \n"), model(""), user(""), model("b"), user("c"))
    assert sent.body["messages"] == [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    assert sent.dropped == ("messages[0].content[2]", "messages[1]", "messages[2]")


def test_an_answer_to_go_on_with_ends_without_white_space() -> None:
    sent = send(user("a"), model("b \n"))
    assert sent.body["messages"][1] == {"role": "assistant", "content": "b"}
    assert sent.altered == ("messages[-1]=without white space at its end",)


def test_thoughts_go_back_to_their_maker_only() -> None:
    own, away = Signature("S", NAME), Signature("G", "gemini_generate")
    thoughts = model(
        Thinking(text="1", signature=own),
        Thinking(encrypted=True, signature=own),
        Thinking(text="2", signature=Signature("B", "bedrock_converse")),
        Thinking(text="3", signature=away),
        Thinking(encrypted=True, signature=Signature("B", "bedrock_converse")),
        Thinking(text="4"),
        Text(text="so", signature=away),
        call("a", signature=away),
    )
    sent = send(user("x"), thoughts, user(result("a")), tools=(F,))
    assert sent.body["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "1", "signature": "S"},
        {"type": "redacted_thinking", "data": "S"},
        {"type": "thinking", "thinking": "2", "signature": "B"},
        {"type": "text", "text": "so"},
        {"type": "tool_use", "id": "a", "name": "f", "input": {}},
    ]
    assert sent.dropped == ("messages[1].thinking", "messages[1].signature")


def test_what_only_others_can_say_is_dropped_or_refused_by_name() -> None:
    search = Opaque(origin="openai_responses", kind="web_search_call", raw=b"{}")
    sent = send(user("x"), model("y", search, Refusal(text="no")), user("z"))
    assert sent.body["messages"][1]["content"] == [
        {"type": "text", "text": "y"}, {"type": "text", "text": "no"}
    ]  # fmt: skip
    assert sent.dropped == ("messages[1].content[1].web_search_call",)
    assert sent.altered == ("messages[1].refusal=text",)
    assert "web_search_call" in refusal(user(search)).message
    hosted = HostedTool(origin="openai_responses", kind="file_search", raw=b"{}")
    error = refusal(tools=(hosted,))
    assert "file_search" in error.message
    assert error.kind is ErrorKind.UNSUPPORTED
    picture = Media(kind=MediaKind.IMAGE, source=Source(url="https://a.example"))
    assert refusal(system(picture), user("x")).param == "messages[0].content[0]"


def test_own_citations_return_and_foreign_ones_are_dropped() -> None:
    raw = b'{"type":"page_location"}'
    own = Citation(origin=NAME, raw=raw)
    sent = send(user("x"), model(Text(text="a", citations=(own, Citation(url="u")))), user("y"))
    assert sent.body["messages"][1]["content"] == [
        {"type": "text", "text": "a", "citations": [{"type": "page_location"}]}
    ]
    assert sent.dropped == ("messages[1].content[0].citations",)
    sent = send(user(Text(text="a", citations=(own,))))
    assert sent.body["messages"] == [{"role": "user", "content": "a"}], "refused in user messages"
    assert sent.dropped == ("messages[0].content[0].citations",)


def image(**source: Any) -> Media:
    return Media(kind=MediaKind.IMAGE, source=Source(**source))


def document(name: str = "", **source: Any) -> Media:
    return Media(kind=MediaKind.DOCUMENT, source=Source(**source), name=name)


@pytest.mark.parametrize(
    ("media", "written", "altered"),
    [
        (image(media_type="image/jpg", data="aGk="),
         {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg",
                                      "data": "aGk="}}, ()),
        (image(url="https://a"), {"type": "image", "source": {"type": "url", "url": "https://a"}},
         ()),
        (image(file_id="f", origin=NAME),
         {"type": "image", "source": {"type": "file", "file_id": "f"}}, ()),
        (document("T", media_type="application/pdf", data="aGk="),
         {"type": "document", "title": "T",
          "source": {"type": "base64", "media_type": "application/pdf", "data": "aGk="}}, ()),
        (document(url="https://a/b.pdf"),
         {"type": "document", "source": {"type": "url", "url": "https://a/b.pdf"}}, ()),
        (document(media_type="text/csv", data="YSxi"),
         {"type": "document",
          "source": {"type": "text", "media_type": "text/plain", "data": "a,b"}},
         ("messages[0].content[0].media_type=text/plain",)),
        (document(text="words"),
         {"type": "document",
          "source": {"type": "text", "media_type": "text/plain", "data": "words"}}, ()),
    ],
)  # fmt: skip
def test_media(media: Media, written: dict[str, Any], altered: tuple[str, ...]) -> None:
    sent = send(user(media))
    assert sent.body["messages"][0]["content"] == [written]
    assert sent.altered == altered
    assert not sent.dropped


@pytest.mark.parametrize(
    ("media", "words"),
    [
        (image(media_type="image/tiff", data="aGk="), "image/png"),
        (image(data="aGk="), "an unknown one"),
        (image(file_id="file-1", origin="openai_chat"), "file-1"),
        (Media(kind=MediaKind.AUDIO, source=Source(media_type="audio/wav", data="aGk=")), "audio"),
        (Media(kind=MediaKind.VIDEO, source=Source(url="https://a")), "video"),
        (document(media_type="application/zip", data="aGk="), "application/pdf"),
        (document(media_type="text/html", url="https://a"), "from a URL"),
        (document(media_type="text/plain", data="/w=="), "UTF-8"),
    ],
)  # fmt: skip
def test_media_that_the_api_does_not_take(media: Media, words: str) -> None:
    error = refusal(user(media))
    assert words in error.message
    assert error.param == "messages[0].content[0]"


def test_media_of_the_model_are_dropped() -> None:
    sent = send(user("x"), model("y", image(url="https://a")), user("z"))
    assert sent.dropped == ("messages[1].content[1]",)
    detail = Media(kind=MediaKind.IMAGE, source=Source(url="https://a"), detail="low")
    assert send(user(detail)).dropped == ("messages[0].content[0].detail",)


def test_the_last_four_cache_marks_count() -> None:
    mark = CacheMark()
    parts = [Text(text=str(number), cache=mark) for number in range(4)]
    sent = send(
        system(Text(text="S", cache=CacheMark(86400))), user(*parts[:3]), model(parts[3]),
        user("z"),
        tools=(Tool(name="f", parameters=OBJECT, cache=mark),),
    )  # fmt: skip
    assert json.dumps(sent.body).count("cache_control") == 4
    assert "cache_control" not in json.dumps(sent.body["tools"] + [sent.body["system"]])
    assert sent.dropped == ("tools[0].cache", "messages[0].content[0].cache")
    sent = send(user(Text(text="a", cache=CacheMark(86400)), Text(text="b", cache=CacheMark(60))))
    assert [part["cache_control"]["ttl"] for part in sent.body["messages"][0]["content"]] == [
        "1h", "5m"
    ]  # fmt: skip
    assert len(sent.altered) == 2


# --- tools and form -------------------------------------------------------------------------------


def test_tools_have_an_object_s_schema() -> None:
    sent = send(tools=(
        F, Tool(name="none"), Tool(name="empty", parameters=Raw(b"{}")),
        Tool(name="bare", parameters=Raw(b'{"properties":{}}')),
        Tool(name="free", free=True, description="D", grammar=Raw(b"{}")),
    ))  # fmt: skip
    schemas = {tool["name"]: tool["input_schema"] for tool in sent.body["tools"]}
    assert schemas["none"] == schemas["empty"] == {"type": "object", "properties": {}}
    assert schemas["bare"] == {"type": "object", "properties": {}}
    assert schemas["free"]["required"] == ["input"]
    assert sent.altered == (
        "tools[3].parameters=type object added", "tools[4]=free text as member input"
    )  # fmt: skip
    assert sent.dropped == ("tools[4].grammar",)
    turns = send(user("x"), model(call("a", "free", "*** any", free=True)), user(result("a")))
    assert turns.body["messages"][1]["content"][0]["input"] == {"input": "*** any"}
    assert refusal(tools=(Tool(name="a.b"),)).param == "tools[0].name"
    assert refusal(tools=(Tool(name="x", parameters=Raw(b"[]")),)).param == "tools[0].parameters"


@pytest.mark.parametrize(
    ("choice", "parallel", "written", "names"),
    [
        (None, None, None, "fg"),
        (None, True, None, "fg"),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}, "fg"),
        (ToolChoice(mode=ToolMode.AUTO), None, {"type": "auto"}, "fg"),
        (ToolChoice(mode=ToolMode.NONE), False, {"type": "none"}, "fg"),
        (ToolChoice(mode=ToolMode.REQUIRED), True,
         {"type": "any", "disable_parallel_tool_use": False}, "fg"),
        (ToolChoice(mode=ToolMode.REQUIRED, allowed=("g",)), None,
         {"type": "tool", "name": "g"}, "fg"),
        (ToolChoice(mode=ToolMode.AUTO, allowed=("g",)), None, {"type": "auto"}, "g"),
        (ToolChoice(mode=ToolMode.REQUIRED, allowed=("g", "x")), None, {"type": "any"}, "g"),
    ],
)  # fmt: skip
def test_which_tools_may_be_called(
    choice: ToolChoice | None, parallel: bool | None, written: Any, names: str
) -> None:
    sent = send(tools=(F, G), tool_choice=choice, parallel_tools=parallel)
    assert sent.body.get("tool_choice") == written
    assert "".join(tool["name"] for tool in sent.body["tools"]) == names
    assert bool(sent.altered) == (names == "g")


def test_a_choice_without_tools_is_dropped() -> None:
    sent = send(tool_choice=ToolChoice(mode=ToolMode.REQUIRED))
    assert "tool_choice" not in sent.body
    assert sent.dropped == ("tool_choice",)
    assert send(tool_choice=ToolChoice(mode=ToolMode.NONE), parallel_tools=True).dropped == ()


def form(schema: Raw | None = CLOSED, kind: OutputKind = OutputKind.SCHEMA) -> OutputFormat:
    return OutputFormat(kind=kind, name="n", schema=schema, strict=True)


@pytest.mark.parametrize("can", ["json_schema", "output_format"])
def test_a_form_is_native_where_the_target_takes_it(can: str) -> None:
    sent = send(output=form(), aim=(can,))
    assert sent.body["output_config"] == {
        "format": {"type": "json_schema", "schema": json.loads(bytes(CLOSED))}
    }
    assert "tools" not in sent.body
    assert sent.receipt.output_tool == ""
    assert not sent.altered + sent.dropped


@pytest.mark.parametrize(
    ("output", "aim", "schema"),
    [
        (form(), (), CLOSED),
        (form(OBJECT), ("json_schema",), OBJECT),
        (form(BEYOND), ("json_schema",), BEYOND),
        (form(None, OutputKind.JSON), ("json_schema",), Raw(b'{"type":"object"}')),
    ],
)  # fmt: skip
def test_else_a_forced_tool_stands_for_it(
    output: OutputFormat, aim: tuple[str, ...], schema: Raw
) -> None:
    sent = send(output=output, aim=aim)
    (tool,) = sent.body["tools"]
    assert sent.receipt.output_tool == tool["name"] == "structured_output"
    assert tool["input_schema"] == json.loads(bytes(schema))
    assert sent.body["tool_choice"] == {
        "type": "tool", "name": "structured_output", "disable_parallel_tool_use": True
    }  # fmt: skip
    assert sent.altered == ("response_format=forced tool",)


def test_a_form_beside_tools_leaves_them_callable() -> None:
    sent = send(output=form(), tools=(F, Tool(name="structured_output", parameters=OBJECT)))
    assert sent.receipt.output_tool == "structured_output_"
    assert [tool["name"] for tool in sent.body["tools"]] == [
        "f", "structured_output", "structured_output_"
    ]  # fmt: skip
    assert sent.body["tool_choice"] == {"type": "any"}
    sent = send(output=form(), tools=(F,), tool_choice=ToolChoice(mode=ToolMode.NONE))
    assert sent.body["tool_choice"]["name"] == "structured_output"
    one = ToolChoice(mode=ToolMode.REQUIRED, allowed=("f",))
    sent = send(output=form(), tools=(F,), tool_choice=one)
    assert sent.receipt.output_tool == ""
    assert sent.dropped == ("response_format",)


def test_strict_tools_where_the_target_takes_their_schema() -> None:
    strict = Tool(name="f", parameters=CLOSED, strict=True)
    assert send(tools=(strict,), aim=("json_schema",)).body["tools"][0]["strict"] is True
    for tool, aim in ((strict, ()), (Tool(name="f", parameters=OBJECT, strict=True),
                                     ("json_schema",))):  # fmt: skip
        sent = send(tools=(tool,), aim=aim)
        assert "strict" not in sent.body["tools"][0]
        assert sent.dropped == ("tools[0].strict",)


# --- thinking and sampling ------------------------------------------------------------------------

LOOP = (user("x"), model(call("a")), user(result("a")))
SIGNED = Thinking(text="hm", signature=Signature("S", NAME))


@pytest.mark.parametrize(
    ("reasoning", "aim", "thinking", "effort", "noted"),
    [
        (Reasoning(effort="medium"), (), ("enabled", 5000), None, True),
        (Reasoning(effort="low"), (), ("enabled", 1024), None, True),
        (Reasoning(budget=3000), (), ("enabled", 3000), None, False),
        (Reasoning(budget=100), (), ("enabled", 1024), None, True),
        (Reasoning(budget=50_000), (), ("enabled", 8000), None, True),
        (Reasoning(adaptive=True), (), ("enabled", 5000), None, True),
        (Reasoning(effort="none"), (), None, None, False),
        (Reasoning(budget=0), (), None, None, False),
        (Reasoning(encrypted=True, summary="auto"), (), None, None, False),
        (Reasoning(effort="high"), ("tools",), None, None, True),
        (Reasoning(effort="high"), ("reasoning",), ("enabled", 8000), None, True),
        (Reasoning(effort="high"), ("adaptive_thinking",), ("adaptive",), "high", False),
        (Reasoning(effort="minimal"), ("adaptive_thinking",), ("adaptive",), "low", True),
        (Reasoning(effort="max"), ("adaptive_thinking",), ("adaptive",), "high", True),
        (Reasoning(effort="max"), ("adaptive_thinking", "effort_max"), ("adaptive",), "max", False),
        (Reasoning(effort="max"), ("adaptive_only", "effort_xhigh"), ("adaptive",), "xhigh", True),
        (Reasoning(budget=9000), ("adaptive_thinking",), ("adaptive",), "medium", True),
        (Reasoning(summary="auto"), ("adaptive_thinking",), ("adaptive", "summarized"), None,
         False),
        (Reasoning(effort="high", summary="none"), ("adaptive_thinking",), ("adaptive", "omitted"),
         "high", False),
        (Reasoning(effort="none"), ("adaptive_thinking",), ("disabled",), None, False),
        (Reasoning(effort="none"), ("adaptive_only",), ("adaptive",), "low", True),
    ],
)  # fmt: skip
def test_how_much_the_model_shall_think(
    reasoning: Reasoning, aim: tuple[str, ...], thinking: Any, effort: Any, noted: bool
) -> None:
    sent = send(reasoning=reasoning, aim=aim)
    said = sent.body.get("thinking")
    assert (tuple(said.values()) if said else None) == thinking
    assert sent.body.get("output_config", {}).get("effort") == effort
    assert bool(sent.altered + sent.dropped) == noted


@pytest.mark.parametrize(
    "more",
    [
        {"tools": (F,), "tool_choice": ToolChoice(mode=ToolMode.REQUIRED)},
        {"output": form()},
        {"max_output": 1024},
    ],
)
def test_what_excludes_thinking_turns_it_off(more: dict[str, Any]) -> None:
    sent = send(reasoning=Reasoning(effort="high"), **more)
    assert "thinking" not in sent.body
    assert any(entry.startswith("reasoning=off") for entry in sent.altered)


def test_thinking_goes_on_only_in_a_turn_that_began_with_it() -> None:
    high = Reasoning(effort="high")
    assert "thinking" not in send(*LOOP, reasoning=high, tools=(F,)).body
    signed = (user("x"), model(SIGNED, call("a")), user(result("a")))
    assert "thinking" in send(*signed, reasoning=high, tools=(F,)).body
    assert "thinking" in send(*LOOP, model("b"), user("c"), reasoning=high, tools=(F,)).body
    assert "thinking" in send(*LOOP, reasoning=high, tools=(F,), aim=("adaptive_thinking",)).body


def test_a_model_that_always_thinks_cannot_be_forced() -> None:
    choice = ToolChoice(mode=ToolMode.REQUIRED, allowed=("f",))
    sent = send(
        tools=(F,), tool_choice=choice, reasoning=Reasoning(effort="high"), aim=("adaptive_only",)
    )
    assert sent.body["tool_choice"] == {"type": "auto"}
    assert any(entry.startswith("tool_choice=auto") for entry in sent.altered)
    sent = send(
        tools=(F,), tool_choice=choice, reasoning=Reasoning(effort="high"),
        aim=("adaptive_thinking",),
    )  # fmt: skip
    assert sent.body["thinking"] == {"type": "disabled"}
    assert sent.body["tool_choice"]["type"] == "tool"


@pytest.mark.parametrize(
    ("said", "aim", "sent_", "dropped", "altered"),
    [
        ({"temperature": 0.5, "top_k": 3}, (), {"temperature": 0.5, "top_k": 3}, (), ()),
        ({"temperature": 1.5}, (), {"temperature": 1.0}, (), ("temperature=1",)),
        ({"temperature": 0.5, "top_p": 0.9}, (), {"temperature": 0.5}, ("top_p",), ()),
        ({"top_p": 0.9}, (), {"top_p": 0.9}, (), ()),
        ({"temperature": 1.0, "top_p": 0.9, "top_k": 1}, ("no_sampling",), {},
         ("temperature", "top_p", "top_k"), ()),
    ],
)  # fmt: skip
def test_sampling(said: dict[str, Any], aim: Any, sent_: Any, dropped: Any, altered: Any) -> None:
    sent = send(aim=aim, **said)
    assert {k: v for k, v in sent.body.items() if k in ("temperature", "top_p", "top_k")} == sent_
    assert (sent.dropped, sent.altered) == (dropped, altered)


def test_sampling_is_not_sent_with_thinking() -> None:
    sent = send(reasoning=Reasoning(budget=2000), temperature=0.5)
    assert "temperature" not in sent.body
    assert sent.dropped == ("temperature",)
    assert send(reasoning=Reasoning(budget=0), temperature=0.5).body["temperature"] == 0.5


@pytest.mark.parametrize(
    ("said", "most", "sent_"),
    [(0, 0, DEFAULT_LIMIT), (0, 64_000, 64_000), (100, 64_000, 100), (100_000, 64_000, 64_000)],
)
def test_the_limit_is_always_said(said: int, most: int, sent_: int) -> None:
    sent = send(max_output=said, most=most)
    assert sent.body["max_tokens"] == sent_
    assert sent.altered == (() if said == sent_ else (f"max_output={sent_}",))


def test_what_has_no_place_is_dropped_by_name() -> None:
    sent = send(
        seed=1, presence_penalty=0.5, frequency_penalty=0.5, logprobs=True, top_logprobs=2,
        verbosity="low", modalities=("text", "audio"), audio=Raw(b"{}"), store=True,
        metadata=(("a", "b"),), cache_key="k", cache_seconds=60, service_tier="flex",
        stop=("a", " "), extra=(("web_search_options", Raw(b"{}")),), unknown=("messages[0].x",),
    )  # fmt: skip
    assert set(sent.dropped) == {
        "seed", "presence_penalty", "frequency_penalty", "logprobs", "verbosity", "modalities",
        "audio", "store", "metadata", "cache_key", "cache_seconds", "service_tier", "stop",
        "web_search_options", "messages[0].x",
    }  # fmt: skip
    assert sent.body["stop_sequences"] == ["a"]
    named = send(Message(role=Role.USER, blocks=(Text(text="a"),), name="Ann"))
    assert named.dropped == ("messages[0].name",)


def test_what_would_lose_nothing_is_not_reported() -> None:
    sent = send(store=False, presence_penalty=0.0, modalities=("text",), user="u", stream=True,
                service_tier="default", include_usage=True)  # fmt: skip
    assert sent.dropped == sent.altered == ()
    assert sent.body["metadata"] == {"user_id": "u"}
    assert sent.body["service_tier"] == "standard_only"
    assert sent.body["stream"] is True


def test_what_can_be_carried_in_no_part_is_refused() -> None:
    assert refusal(choices=2).param == "n"
    assert refusal(cached_content="cachedContents/1").param == "cached_content"
    assert refusal(modalities=("audio",)).param == "modalities"


_TEXTS = st.sampled_from(["", " ", "a", "b\n"])
_BLOCKS = st.one_of(
    st.builds(Text, text=_TEXTS),
    st.builds(call, st.sampled_from("xyz"), arguments=st.sampled_from(["", "{}", "no"])),
    st.builds(result, st.sampled_from("xyz"), _TEXTS),
    st.builds(Thinking, text=_TEXTS, signature=st.none() | st.just(Signature("s", NAME))),
    st.just(Refusal(text="no")),
    st.just(Opaque(origin="cohere_chat", kind="odd", raw=b"{}")),
    st.just(image(url="https://a")),
)
_MESSAGES = st.lists(st.builds(say, st.sampled_from(Role), _BLOCKS, _BLOCKS), max_size=6)


@given(_MESSAGES, st.sampled_from([AWAY, NAME]), st.none() | st.just(Reasoning(effort="low")))
def test_any_conversation_is_sent_or_refused(
    messages: list[Message], origin: str, reasoning: Reasoning | None
) -> None:
    request = Request(
        model="m", messages=tuple(messages), origin=origin, reasoning=reasoning, max_output=2000
    )
    try:
        body = json.loads(encode_request(request, Aim(model="m"), Receipt()))
    except GatewayError as error:
        assert error.status == 400
        return
    if origin == AWAY and body["messages"]:
        assert body["messages"][0]["role"] == "user"
        assert all(turn["content"] for turn in body["messages"])
