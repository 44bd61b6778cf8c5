"""What a translation loses is told in headers and in the record, or the call is refused."""

import json
from typing import Any

from tests.gateway import Stack, whole


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


def test_usage_is_read_as_the_provider_counts_it(formats: Stack) -> None:
    """A provider that counts reasoning beside the completion: translated, it costs the same."""
    said = {
        "id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{
            "index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi"}
        }],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 35},
    }  # fmt: skip
    formats.canned.answers.append(whole(json.dumps(said).encode()))
    reply = formats.post(asked(model="beside/m"), "/v1/messages")
    assert reply.json()["usage"]["output_tokens"] == 25
    assert formats.row(reply)["tokens"] | {"input": 10} == formats.row(reply)["tokens"]
    assert formats.row(reply)["tokens"]["reasoning"] == 20
