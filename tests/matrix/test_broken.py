"""Broken answers, from every provider to every caller: none may look complete, none may be lost.

The calls are made with plain sockets, since an SDK would hide what is on the wire.
"""

import json
from typing import Any

import pytest

from tests.gateway import KEY, Stack
from tests.matrix.cells import PROVIDERS
from tests.simulator import wire

ASKED = "Good morning, dear ferry"
PATHS = {
    "openai_chat": "/v1/chat/completions",
    "openai_responses": "/v1/responses",
    "anthropic_messages": "/v1/messages",
    "gemini_generate": "/v1beta/models/{model}:streamGenerateContent?alt=sse",
}
ENDS = {
    "openai_chat": "[DONE]",
    "openai_responses": "response.completed",
    "anthropic_messages": "message_stop",
    "gemini_generate": '"finishReason"',
}
"""What stands in a stream that has come to its proper end."""


def body(caller: str, model: str, *, stream: bool) -> dict[str, Any]:
    if caller == "gemini_generate":
        return {"contents": [{"role": "user", "parts": [{"text": ASKED}]}]}
    if caller == "openai_responses":
        return {"model": model, "input": ASKED, "stream": stream, "store": False}
    asked = {"model": model, "messages": [{"role": "user", "content": ASKED}], "stream": stream}
    return asked | ({"max_tokens": 100} if caller == "anthropic_messages" else {})


def ask(stack: Stack, caller: str, model: str, *, stream: bool) -> wire.Reply:
    path = PATHS[caller].replace("{model}", model)
    if not stream:
        path = path.replace("streamGenerateContent?alt=sse", "generateContent")
    return stack.post(body(caller, model, stream=stream), path)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("caller", PATHS)
@pytest.mark.parametrize("fault", ["cut", "cut-clean", "reset-mid", "error-event", "bad-chunk"])
def test_a_broken_stream_never_looks_complete(
    formats: Stack, caller: str, provider: str, fault: str
) -> None:
    reply = ask(formats, caller, f"{provider}/sim-{fault}+tokens=12+at=6", stream=True)
    text = reply.body.decode("utf-8", "replace")
    assert reply.status == 200
    assert "The ferry leaves" in text.replace('"}', "") or "ferry" in text
    assert ENDS[caller] not in text
    assert '"error"' in text or "response.failed" in text
    row = formats.row(reply)
    assert row["error"], row


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("caller", PATHS)
@pytest.mark.parametrize("fault", ["split", "bytes", "comments", "crlf", "keep-alive=5+ttft=20"])
def test_an_unusual_stream_is_as_good_as_any(
    formats: Stack, caller: str, provider: str, fault: str
) -> None:
    reply = ask(formats, caller, f"{provider}/sim-{fault}+tokens=4", stream=True)
    text = reply.body.decode()
    assert reply.status == 200
    assert ENDS[caller] in text
    assert '"error"' not in text.replace('"error":null', "")


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("caller", PATHS)
@pytest.mark.parametrize(
    "fault", ["cut", "bad-json", "empty", "html-200", "html", "503", "hangup=0"]
)
def test_a_broken_whole_answer_is_an_error_in_the_callers_shape(
    formats: Stack, caller: str, provider: str, fault: str
) -> None:
    reply = ask(formats, caller, f"{provider}/sim-{fault}+tokens=4", stream=False)
    if fault == "hangup=0":
        assert reply.status == 200  # the connection goes after the answer: nobody's loss
        return
    assert reply.status in (502, 503)
    error = json.loads(reply.body)["error"]
    assert error["message"]
    if caller == "gemini_generate":
        assert error["code"] == reply.status
        assert error["status"]
    else:
        assert error["type"]
    assert formats.row(reply)["status"] == reply.status


BAD: list[tuple[str, bytes]] = [
    ("no JSON", b"{"),
    ("a list", b"[]"),
    ("empty", b""),
    ("not UTF-8", b'{"model": "chat/sim", "x": "\xff"}'),
    ("a depth bomb", b'{"model": "messages/sim", "messages": ' + b"[" * 100_000),
]


@pytest.mark.parametrize("caller", PATHS)
@pytest.mark.parametrize(("name", "data"), BAD, ids=[name for name, _ in BAD])
def test_bad_bodies_are_told_in_the_callers_shape(
    formats: Stack, caller: str, name: str, data: bytes
) -> None:
    path = PATHS[caller].replace("{model}", "chat/sim")
    reply = formats.post(data, path)
    assert reply.status == 400, reply.body
    error = json.loads(reply.body)["error"]
    assert error["message"]
    if caller == "anthropic_messages":
        assert error["type"] == "invalid_request_error"
    if caller == "gemini_generate":
        assert error["status"] == "INVALID_ARGUMENT"


@pytest.mark.parametrize("caller", PATHS)
def test_strangers_and_unknown_models_are_told_in_the_callers_shape(
    formats: Stack, caller: str
) -> None:
    path = PATHS[caller].replace("{model}", "chat/sim")
    stranger = formats.post(body(caller, "chat/sim", stream=False), path, key="fm-nobody")
    assert stranger.status == 401
    nowhere = ask(formats, caller, "nowhere/none", stream=False)
    assert nowhere.status == 404
    words = {json.loads(r.body)["error"].get("status") for r in (stranger, nowhere)}
    if caller == "gemini_generate":
        assert words == {"UNAUTHENTICATED", "NOT_FOUND"}
    kinds = [json.loads(r.body)["error"].get("type") for r in (stranger, nowhere)]
    if caller == "anthropic_messages":
        assert kinds == ["authentication_error", "not_found_error"]


def test_each_caller_may_bring_its_key_its_own_way(formats: Stack) -> None:
    path = "/v1beta/models/chat/sim:generateContent"
    asked = body("gemini_generate", "", stream=False)
    assert formats.post(asked, f"{path}?key={KEY}", key=None).status == 200
    headers = {"x-goog-api-key": KEY}
    assert formats.post(asked, path, key=None, headers=headers).status == 200
    messages = body("anthropic_messages", "chat/sim", stream=False)
    headers = {"x-api-key": KEY}
    assert formats.post(messages, "/v1/messages", key=None, headers=headers).status == 200


@pytest.mark.parametrize(
    ("member", "given", "advice"),
    [
        ("previous_response_id", "resp_1", "responses: { keep: 24h }"),
        ("conversation", "conv_1", "choose a model of the provider that has it"),
        ("prompt", {"id": "pmpt_1"}, "choose a model of the provider that has it"),
    ],
)
def test_what_lies_at_a_provider_is_refused_with_advice_that_helps(
    formats: Stack, member: str, given: Any, advice: str
) -> None:
    reply = formats.post({"model": "messages/sim", "input": ASKED, member: given}, "/v1/responses")
    assert reply.status == 400
    assert advice in json.loads(reply.body)["error"]["message"]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_tools_that_others_run_are_refused_by_name(formats: Stack, provider: str) -> None:
    tools: dict[str, Any] = {
        "/v1/messages": {"type": "web_search_20250305", "name": "web_search"},
        "/v1/responses": {"type": "code_interpreter", "container": {"type": "auto"}},
    }
    path = "/v1/responses" if "messages" in PROVIDERS[provider] else "/v1/messages"
    caller = "openai_responses" if path == "/v1/responses" else "anthropic_messages"
    asked = body(caller, f"{provider}/sim", stream=False) | {"tools": [tools[path]]}
    reply = formats.post(asked, path)
    error = json.loads(reply.body)["error"]
    assert (reply.status, error["code"]) == (400, "unsupported_by_model")
    assert f"'tools[0]' is {tools[path]['type']}, a tool that only" in error["message"]
