"""Requests of other formats for providers of the Messages format: what is carried, and how."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    Reasoning,
    Refusal,
    Request,
    Role,
    Signature,
    Source,
    Text,
    Thinking,
    Tool,
)
from ferryman.wire.anthropic_messages.encode import encode_request
from ferryman.wire.anthropic_messages.history import OPENER
from ferryman.wire.anthropic_messages.types import NAME
from ferryman.wire.format import Aim
from tests.wire.messages_asking import AWAY, OBJECT, F, call, refusal, result, send
from tests.wire.turns import model, say, system, user

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


def test_crowds_of_results_take_no_time_for_each_other() -> None:
    """Quadratic work would outlast the tests' patience."""
    many = range(40_000)
    calls = model(*(call(f"c{number}") for number in many))
    back = [user(result(f"c{number}", "done")) for number in reversed(many)]
    sent = send(user("go"), calls, *back, user("and?")).body["messages"]
    assert [each["role"] for each in sent] == ["user", "assistant", "user"]
    *given, last = sent[2]["content"]
    assert [each["tool_use_id"] for each in given] == [f"c{number}" for number in reversed(many)]
    assert last == {"type": "text", "text": "and?"}


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
