"""What a translation loses is told in headers and in the record, or the call is refused."""

from typing import Any

from tests.gateway import Stack


def asked(**more: Any) -> dict[str, Any]:
    return {
        "model": "chat/sim-tokens=3",
        "max_tokens": 50,
        "messages": [{"role": "user", "content": "Hello"}],
        **more,
    }


def test_losses_are_in_the_header_and_in_the_record(formats: Stack) -> None:
    reply = formats.post(asked(top_k=5), "/v1/messages")
    assert reply.status == 200
    assert reply.header("x-ferryman-dropped") == "top_k"
    [attempt] = formats.row(reply)["tries"]
    assert attempt["dropped"] == ["top_k"]
    assert attempt["format"] == "openai_chat"


def test_relayed_calls_have_no_receipt(formats: Stack) -> None:
    reply = formats.post(asked(), "/v1/chat/completions")
    assert reply.header("x-ferryman-dropped") is None
    [attempt] = formats.row(reply)["tries"]
    assert (attempt["format"], attempt["dropped"], attempt["altered"]) == ("", [], [])


def test_a_call_may_ask_to_be_refused_instead(formats: Stack) -> None:
    formats.forget()
    headers = {"x-ferryman-on-unsupported": "reject"}
    reply = formats.post(asked(top_k=5), "/v1/messages", headers=headers)
    assert reply.status == 400
    assert reply.header("x-ferryman-error") == "unsupported_by_model"
    assert "top_k" in reply.json()["error"]["message"]
    assert formats.stats()["requests"] == 0
    assert formats.post(asked(), "/v1/messages", headers=headers).status == 200


def test_a_long_list_stays_short_in_the_header(formats: Stack) -> None:
    marks = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}
    messages = [
        {"role": role, "content": [marks]} for _ in range(60) for role in ("user", "assistant")
    ]
    reply = formats.post(asked(messages=messages), "/v1/messages")
    assert reply.status == 200
    told = str(reply.header("x-ferryman-dropped"))
    assert len(told) < 1600
    assert told.endswith(" more")


def test_tools_that_only_others_run_are_refused_by_name(formats: Stack) -> None:
    tools = [{"type": "web_search_20250305", "name": "web_search"}]
    reply = formats.post(asked(tools=tools), "/v1/messages")
    assert reply.status == 400
    assert "web_search" in reply.json()["error"]["message"]


def test_another_target_may_have_the_words_for_it(formats: Stack) -> None:
    tools = [{"type": "web_search_20250305", "name": "web_search"}]
    reply = formats.post(asked(model="either", tools=tools), "/v1/messages")
    assert reply.status == 200
    assert reply.header("x-ferryman-provider") == "messages"
