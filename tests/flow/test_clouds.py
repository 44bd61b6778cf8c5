"""Providers with signatures, wrapped streams and refusals of their own, through a whole gateway."""

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.gateway import Stack, asked, error_of, whole
from tests.wire.aws import event

CONFIG = """\
providers:
  choosy: { base_url: CANNED/v1, auth: none, quirks: [no_seed, no_logprobs, system_role] }
  straight: { format: anthropic_messages, base_url: CANNED/v1, auth: none }
  chunky: { format: anthropic_messages, base_url: CANNED/v1, auth: sigv4, region: eu-west-3,
    quirks: [bedrock_claude, aws_chunks] }
  nobody: { format: anthropic_messages, base_url: CANNED/v1, auth: google }
models:
  either: { targets: [nobody/m, choosy/m] }
policies:
  - { when: { metadata.task: audit }, on_unsupported: reject }
"""
ERROR_NAMES = [
    (b"429 Too Many Requests", b"ModelNotReadyException:http://x/", "upstream_overloaded"),
    (b"429 Too Many Requests", b"ThrottlingException", "upstream_rate_limited"),
    (b"400 Bad Request", b"ThrottlingException", "upstream_rate_limited"),
    (b"400 Bad Request", b"ServiceQuotaExceededException", "upstream_rate_limited"),
    (b"400 Bad Request", b"x.y#ExpiredTokenException", "upstream_auth_failed"),
    (b"424 Failed Dependency", b"ModelErrorException", "upstream_error"),
    (b"400 Bad Request", b"NewException", "invalid_request"),
]
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
ANSWER = whole(
    b'{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}'
)
EVENTS: list[dict[str, Any]] = [
    {"type": "message_start", "message": {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [],
        "stop_reason": None, "stop_sequence": None,
        "usage": {"input_tokens": 7, "output_tokens": 1},
    }},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Ahoy"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None},
     "usage": {"output_tokens": 3}},
    {"type": "message_stop"},
]  # fmt: skip


def config() -> str:
    """With a provider for each error: those that have failed rest, and others go before them."""
    own = [(f"fails-{i}", f"fails-{i}/claude") for i in range(len(ERROR_NAMES))]
    chunky = CONFIG.partition("  chunky:")[2].partition("  nobody:")[0]
    providers = "".join(f"  {name}:{chunky}" for name, _ in own)
    routes = "".join(
        f"  {name}-first: {{ targets: [{target}, choosy/m] }}\n" for name, target in own
    )
    text = CONFIG.replace("  nobody:", f"{providers}  nobody:", 1)
    return text.replace("  either:", f"{routes}  either:", 1)


@pytest.fixture(scope="module")
def clouds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    running = Stack(
        tmp_path_factory.mktemp("clouds"),
        config(),
        AWS_ACCESS_KEY_ID="AKIDEXAMPLE",
        AWS_SECRET_ACCESS_KEY=SECRET,
        GOOGLE_APPLICATION_CREDENTIALS="/there/is/no/such/file",
    )
    try:
        yield running.ready()
        assert not running.complaints()
        assert SECRET not in "\n".join(running.up.lines)
    finally:
        running.end()


def sent(stack: Stack) -> tuple[str, dict[str, Any]]:
    """Head and body of the last request that the canned provider saw."""
    head, _, body = stack.canned.requests[-1][1].partition(b"\r\n\r\n")
    fields: dict[str, Any] = json.loads(body)
    return head.decode(), fields


def wrapped(cut: int = 0) -> bytes:
    """``EVENTS`` as AWS sends them; ``cut``: the last so many bytes are missing."""
    chunks = [{"bytes": base64.b64encode(json.dumps(e).encode()).decode()} for e in EVENTS]
    body = b"".join(event("chunk", chunk) for chunk in chunks)
    body = body[: len(body) - cut]
    head = "HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def test_what_a_provider_refuses_is_left_out_and_told(clouds: Stack) -> None:
    clouds.canned.answers = [ANSWER] * 2
    reply = clouds.chat("choosy/m", seed=7, logprobs=False, temperature=0)
    assert reply.status == 200
    assert reply.header("x-ferryman-dropped") == "seed, logprobs"
    assert sent(clouds)[1].keys() == {"model", "messages", "temperature"}
    reply = clouds.chat("choosy/m", temperature=0)
    assert reply.header("x-ferryman-dropped") is None


@pytest.mark.parametrize(
    ("headers", "fields"),
    [
        ({"x-ferryman-on-unsupported": "reject"}, {}),
        ({}, {"metadata": {"task": "audit"}}),
    ],
)
def test_a_call_that_may_lose_nothing_is_refused(
    headers: dict[str, str], fields: dict[str, Any], clouds: Stack
) -> None:
    before = len(clouds.canned.requests)
    reply = clouds.chat("choosy/m", headers=headers, seed=7, **fields)
    assert reply.status == 400
    assert "seed" in error_of(reply)["message"]
    assert len(clouds.canned.requests) == before
    clouds.canned.answers = [ANSWER]
    assert clouds.chat("choosy/m", headers=headers, **fields).status == 200


def test_a_wrapped_stream_reaches_callers_of_its_format_unwrapped(clouds: Stack) -> None:
    clouds.canned.answers = [wrapped()]
    body = {**asked("chunky/claude"), "max_tokens": 9, "stream": True}
    reply = clouds.post(body, "/v1/messages")
    assert reply.header("content-type") == "text/event-stream; charset=utf-8"
    data = re.findall(r"^data: (.*)$", reply.body.decode(), re.MULTILINE)
    assert [json.loads(line) for line in data] == EVENTS
    head, fields = sent(clouds)
    assert "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/" in head
    assert "/eu-west-3/bedrock/aws4_request" in head
    assert fields.keys() == {"messages", "max_tokens", "anthropic_version"}
    tokens = clouds.row(reply)["tokens"]
    assert (tokens["input"], tokens["output"]) == (7, 3)


@pytest.mark.parametrize("given", [None, ["own"]])
def test_betas_go_into_the_body_where_headers_do_not_reach_the_model(
    clouds: Stack, given: list[str] | None
) -> None:
    clouds.canned.answers = [wrapped()]
    body = {**asked("chunky/claude"), "max_tokens": 9, "stream": True}
    body |= {"anthropic_beta": given} if given else {}
    clouds.post(body, "/v1/messages", headers={"anthropic-beta": "a-2025-01-01, b-2025-02-02"})
    head, fields = sent(clouds)
    assert "anthropic-beta" not in head.lower()
    assert fields["anthropic_beta"] == (given or ["a-2025-01-01", "b-2025-02-02"])


@pytest.mark.parametrize("provider", ["chunky", "straight"])
def test_betas_go_along_where_thoughts_of_another_provider_are_left_out(
    clouds: Stack, provider: str
) -> None:
    answer = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m",
        "stop_reason": "end_turn", "container": {"id": "container_1"},
        "content": [{"type": "text", "text": "Ahoy"}],
        "usage": {"input_tokens": 7, "output_tokens": 1,
                  "server_tool_use": {"web_search_requests": 2}},
    }  # fmt: skip
    clouds.canned.answers = [whole(json.dumps(answer).encode())] * 2
    thought = {"type": "thinking", "thinking": "hm", "signature": "fm1:openai_responses:abc"}
    past = {"role": "assistant", "content": [thought, {"type": "text", "text": "Hm."}]}
    body = asked(f"{provider}/claude") | {"max_tokens": 9}
    body["messages"] = [*body["messages"], past, {"role": "user", "content": "So?"}]
    reply = clouds.post(body, "/v1/messages", headers={"anthropic-beta": "a-2025-01-01"})
    head, fields = sent(clouds)
    assert fields["messages"][1]["content"] == "Hm."
    if provider == "straight":
        assert "anthropic-beta: a-2025-01-01" in head
    else:
        assert "anthropic-beta" not in head.lower()
        assert fields["anthropic_beta"] == ["a-2025-01-01"]
    said = json.loads(reply.body)
    assert said["container"] == answer["container"]
    assert said["usage"]["server_tool_use"] == {"web_search_requests": 2}
    assert reply.header("x-ferryman-dropped") == "messages[1].thinking"
    other = clouds.chat(f"{provider}/claude", headers={"anthropic-beta": "a-2025-01-01"})
    assert other.header("x-ferryman-dropped") == "container, usage.server_tool_use"
    head, fields = sent(clouds)
    assert "anthropic-beta" not in head.lower()
    assert "anthropic_beta" not in fields


@pytest.mark.parametrize("number", range(len(ERROR_NAMES)))
def test_an_error_is_what_its_name_in_the_header_says(clouds: Stack, number: int) -> None:
    status, name, kind = ERROR_NAMES[number]
    error = whole(b'{"message":"It is not possible now."}', b"x-amzn-ErrorType: " + name,
                  status=status)  # fmt: skip
    clouds.canned.answers = [error, ANSWER]
    reply = clouds.chat(f"fails-{number}-first")
    assert reply.status == (400 if kind == "invalid_request" else 200)
    clouds.canned.answers = [error]
    again = clouds.chat(f"fails-{number}/claude")
    assert again.header("x-ferryman-error") == kind
    clouds.canned.answers = []


def test_a_wrapped_stream_is_translated_for_others(clouds: Stack) -> None:
    clouds.canned.answers = [wrapped()]
    reply = clouds.stream("chunky/claude")
    assert b'"content":"Ahoy"' in reply.body
    assert reply.body.endswith(b"data: [DONE]\n\n")


def test_a_wrapped_stream_that_is_cut_is_no_success(clouds: Stack) -> None:
    clouds.canned.answers = [wrapped(cut=9)]
    body = {**asked("chunky/claude"), "max_tokens": 9, "stream": True}
    reply = clouds.post(body, "/v1/messages")
    assert b"event: error" in reply.body
    assert b"message_stop" not in reply.body


def test_without_credentials_another_target_is_asked(clouds: Stack) -> None:
    clouds.canned.answers = [ANSWER]
    reply = clouds.chat("either")
    assert reply.status == 200
    assert reply.header("x-ferryman-provider") == "choosy"
    row = clouds.row(reply)
    assert "upstream_auth_failed" in json.dumps(row)


def test_without_any_the_caller_hears_whose_they_are(clouds: Stack) -> None:
    reply = clouds.chat("nobody/m")
    assert reply.status == 502
    error = error_of(reply)
    assert error["code"] == "upstream_auth_failed"
    assert "no credentials for nobody: DefaultCredentialsError" in error["message"]
