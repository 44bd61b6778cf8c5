"""Error bodies of real providers: what they mean, and what the caller gets to see.

The bodies are as the providers document them, or as users have reported them.
"""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.wire.openai_chat.errors import (
    SURFACED,
    error_body,
    error_event,
    error_facts,
    kind_in_stream,
    kind_of,
    relayed_error,
)

K = ErrorKind
LINES = (Path(__file__).parent / "error_bodies.txt").read_text("utf-8").splitlines()
BODIES = [
    (int(status), body.strip(), ErrorKind(kind))
    for line in LINES
    if line and not line.startswith("#")
    for status, kind, body in [f"{line}  ".split(" ", 2)]
]
assert len(BODIES) > 60


@pytest.mark.parametrize(("status", "body", "kind"), BODIES, ids=lambda value: str(value)[:60])
def test_what_an_error_means(status: int, body: str, kind: ErrorKind) -> None:
    assert kind_of(status, body.encode()) == kind


@pytest.mark.parametrize(("status", "body", "kind"), BODIES, ids=lambda value: str(value)[:60])
def test_the_caller_gets_the_openai_shape_with_a_code_or_nothing(
    status: int, body: str, kind: ErrorKind
) -> None:
    shown = relayed_error(status, kind, body.encode(), "req_1")
    words = error_facts(body.encode()).message
    assert (shown is None) == (not words)
    if shown is not None:
        error = json.loads(shown)["error"]
        assert error["message"] == words
        assert error["code"]
        assert error["type"]


def test_an_error_with_type_and_code_goes_through_byte_by_byte() -> None:
    body = b' {"error" : {"message":"x", "code" : "rate_limit_exceeded", "type":"t"} , "id":1.50}\n'
    assert relayed_error(429, K.UPSTREAM_RATE_LIMIT, body, "req_1") == body
    body = b'{"error":{"message":"x","type":"t","code":402,"metadata":{"raw":"y"}}}'
    assert relayed_error(402, K.UPSTREAM_NO_CREDIT, body, "req_1") == body


@pytest.mark.parametrize("code", ["", ',"code":null', ',"code":""'])
def test_a_missing_code_is_filled_in_and_all_else_stays(code: str) -> None:
    body = f'{{"error":{{"message":"x","type":"odd","n":1.50{code}}},"id":"a"}}'
    shown = relayed_error(500, K.UPSTREAM_ERROR, body.encode(), "req_1")
    assert shown is not None
    assert b'"n":1.50' in shown
    assert json.loads(shown) == {
        "error": {
            "message": "x", "type": "odd", "n": 1.5, "param": None, "code": "upstream_error",
            "request_id": "req_1",
        },
        "id": "a",
    }  # fmt: skip


def test_a_missing_type_is_filled_in_and_the_code_stays() -> None:
    for body in (
        b'{"error":{"message":"x","code":402}}',
        b'{"error":{"message":"x","code":402,"type":null}}',
    ):
        shown = relayed_error(402, K.UPSTREAM_NO_CREDIT, body, "req_1")
        assert shown is not None
        error = json.loads(shown)["error"]
        assert (error["code"], error["type"]) == (402, "insufficient_quota")


def test_another_shape_becomes_this_one() -> None:
    shown = relayed_error(429, K.UPSTREAM_RATE_LIMIT, b'{"detail":"slow down"}', "req_1")
    assert shown is not None
    assert json.loads(shown) == {
        "error": {
            "message": "slow down",
            "type": "rate_limit_error",
            "param": None,
            "code": "upstream_rate_limited",
            "request_id": "req_1",
        }
    }


def test_a_provider_cannot_make_an_error_endless() -> None:
    shown = relayed_error(500, K.UPSTREAM_ERROR, b'{"detail":"%b"}' % (b"x" * 10**6), "req_1")
    assert shown is not None
    assert len(shown) < 3000
    long = b'{"error":{"message":"x","type":"t","code":"c","more":"%b"}}' % (b"x" * 2**20)
    assert relayed_error(500, K.UPSTREAM_ERROR, long, "req_1") is None
    assert kind_of(400, long) == K.INVALID_REQUEST


IN_STREAM = [
    ('{"error":{"message":"boom","type":"server_error","code":null}}', K.UPSTREAM_ERROR),
    ('{"error":{"message":"boom","code":502}}', K.UPSTREAM_ERROR),
    ('{"error":{"message":"slow down","code":429}}', K.UPSTREAM_RATE_LIMIT),
    ('{"error":{"message":"no","code":400}}', K.UPSTREAM_ERROR),
    ('{"error":{"message":"no","code":503}}', K.UPSTREAM_OVERLOADED),
    ('{"error":{"type":"overloaded_error","message":"Overloaded"}}', K.UPSTREAM_OVERLOADED),
    ('{"error":{"message":"x","code":"context_length_exceeded"}}', K.CONTEXT_TOO_LONG),
    ('{"error":{"message":"x","type":"content_filter"}}', K.CONTENT_FILTERED),
    ('{"error":{"message":"x","code":"rate_limit_exceeded"}}', K.UPSTREAM_RATE_LIMIT),
    ('{"type":"error","code":"rate_limit_exceeded","message":"x"}', K.UPSTREAM_RATE_LIMIT),
    ('{"type":"response.failed","response":{"error":{"code":"server_error","message":"x"}}}',
     K.UPSTREAM_ERROR),
    ('{"error":"boom"}', K.UPSTREAM_ERROR),
    ('{"error":{"code":1234,"message":"x"}}', K.UPSTREAM_ERROR),
    ("{", K.UPSTREAM_ERROR),
]  # fmt: skip


@pytest.mark.parametrize(("data", "kind"), IN_STREAM)
def test_what_an_error_within_a_stream_means(data: str, kind: ErrorKind) -> None:
    assert kind_in_stream(data.encode()) == kind


def test_words_of_a_failed_response_are_found() -> None:
    data = b'{"type":"response.failed","response":{"id":"r","error":{"code":"c","message":"m"}}}'
    facts = error_facts(data)
    assert (facts.code, facts.message) == ("c", "m")


def test_only_what_every_target_would_refuse_is_surfaced() -> None:
    ours = {K.GUARDRAIL}  # an answer that the gateway itself has stopped: no other is asked for it
    assert {K.INVALID_REQUEST, K.CONTEXT_TOO_LONG, K.CONTENT_FILTERED} | ours == SURFACED


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "invalid_request_error"), (401, "authentication_error"), (403, "permission_error"),
     (404, "invalid_request_error"), (413, "invalid_request_error"), (429, "rate_limit_error"),
     (500, "api_error"), (502, "api_error"), (503, "api_error"), (504, "api_error")],
)  # fmt: skip
def test_our_own_errors(status: int, kind: str) -> None:
    error = GatewayError(status, K.INVALID_REQUEST, 'say "x"\n', param="model")
    body = error_body(error, "req_1")
    assert json.loads(body) == {
        "error": {
            "message": 'say "x"\n',
            "type": kind,
            "param": "model",
            "code": "invalid_request",
            "request_id": "req_1",
        }
    }
    assert error_event(error, "req_1") == b"data: %b\n\n" % body
    assert b"\n" not in body


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["error", "message", "code", "type", "detail", "errors", "response", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(_JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60))
def test_no_body_is_worse_than_unreadable(body: bytes) -> None:
    for status in (200, 400, 401, 429, 500):
        kind = kind_of(status, body)
        shown = relayed_error(status, kind, body, "req_1")
        if shown is not None:
            error = json.loads(shown)["error"]
            assert isinstance(error["message"], str)
            assert error["code"] not in (None, "")
    assert isinstance(kind_in_stream(body), ErrorKind)
