"""A provider that fails: what the caller gets, what the ledger says, and that life goes on."""

import json
import re
import socket
from typing import Any

import pytest

from tests.gateway import RETRYABLE, Stack, asked, error_of, events, whole
from tests.simulator.wire import Reply

NOTHING_SPENT = {"cost_usd": "0"}

WHOLE: list[tuple[str, int, str, str]] = [
    # word, status, code in the body, x-ferryman-error
    ("400", 400, "invalid_value", "invalid_request"),
    ("401", 502, "upstream_auth_failed", "upstream_auth_failed"),
    ("402", 402, "402", "upstream_credit_exhausted"),
    ("403", 502, "upstream_auth_failed", "upstream_auth_failed"),
    ("404", 404, "model_not_found", "model_not_found"),
    ("408", 408, "request_timeout", "upstream_timeout"),
    ("429", 429, "rate_limit_exceeded", "upstream_rate_limited"),
    ("500", 500, "upstream_error", "upstream_error"),
    ("502", 502, "upstream_error", "upstream_error"),
    ("503", 503, "upstream_overloaded", "upstream_overloaded"),
    ("504", 504, "upstream_timeout", "upstream_timeout"),
    ("529", 529, "upstream_overloaded", "upstream_overloaded"),
    ("quota", 429, "insufficient_quota", "upstream_credit_exhausted"),
    ("context", 400, "context_length_exceeded", "context_length_exceeded"),
    ("filter", 400, "content_filter", "content_filtered"),
    ("html", 502, "upstream_error", "upstream_error"),
    ("html-200", 502, "upstream_invalid_response", "upstream_invalid_response"),
    ("empty", 502, "upstream_invalid_response", "upstream_invalid_response"),
    ("bad-json", 502, "upstream_invalid_response", "upstream_invalid_response"),
    ("redirect", 502, "upstream_error", "upstream_error"),
    ("close", 502, "upstream_unreachable", "upstream_unreachable"),
    ("reset", 502, "upstream_unreachable", "upstream_unreachable"),
    ("cut", 502, "upstream_stream_truncated", "upstream_stream_truncated"),
    ("reset-mid", 502, "upstream_stream_truncated", "upstream_stream_truncated"),
    ("long-length", 502, "upstream_stream_truncated", "upstream_stream_truncated"),
    ("short-length", 502, "upstream_invalid_response", "upstream_invalid_response"),
    ("bad-chunk", 502, "upstream_invalid_response", "upstream_invalid_response"),
    ("bad-status", 502, "upstream_invalid_response", "upstream_invalid_response"),
    ("many-headers=300", 502, "upstream_invalid_response", "upstream_invalid_response"),
    ("huge-headers=300", 502, "upstream_invalid_response", "upstream_invalid_response"),
    ("bomb=100", 502, "upstream_invalid_response", "upstream_invalid_response"),
]


def alive(stack: Stack) -> None:
    assert stack.chat("lab/sim").status == 200


SPOKEN = ("long-length", "short-length")
"""In a stream these come after its first word."""
BEFORE_THE_FIRST_WORD = [
    (f"{word}&at=0" if word in ("cut", "reset-mid", "bad-chunk") else word, status, code, ours)
    for word, status, code, ours in WHOLE
    if word not in SPOKEN
]


@pytest.mark.parametrize(
    ("streamed", "word", "status", "code", "ours"),
    [(False, *case) for case in WHOLE] + [(True, *case) for case in BEFORE_THE_FIRST_WORD],
    ids=lambda value: "stream" if value is True else str(value),
)
def test_a_call_that_fails(
    stack: Stack, streamed: bool, word: str, status: int, code: str, ours: str
) -> None:
    """Streams that fail before the first word are answered the same way: with a real status."""
    reply = stack.chat(f"lab/sim?{word}", stream=streamed)
    error = error_of(reply)
    assert (reply.status, str(error["code"]), reply.header("x-ferryman-error")) == (
        status,
        code,
        ours,
    )
    assert reply.header("content-type") == "application/json"
    assert reply.header("x-ferryman-attempts") == "1"
    assert reply.header("x-ferryman-provider") == "lab"
    assert reply.header("x-ferryman-model") == f"sim?{word}"
    hopeless = ours in ("upstream_auth_failed", "upstream_credit_exhausted")
    assert reply.header("x-should-retry") == ("false" if hopeless else None)
    assert "sk-sim" not in error["message"], "nothing about the gateway's key"
    row = stack.row(reply)
    assert (row["status"], row["error"], row["attempts"]) == (status, ours, 1)
    assert row["tries"][0]["error"] == ours
    alive(stack)


@pytest.mark.parametrize(
    "word", ["400", "401", "403", "404", "429", "500", "503", "quota", "html", "redirect"]
)
def test_a_call_that_a_provider_refused_cost_nothing(stack: Stack, word: str) -> None:
    row = stack.row(stack.chat(f"lab/sim-{word}"))
    assert row["cost_usd"] == "0"
    assert set(row["tokens"].values()) == {0}


@pytest.mark.parametrize(
    "word", ["html-200", "bad-json", "close", "cut", "reset-mid", "bad-status"]
)
def test_a_call_that_may_have_been_worked_on_has_an_unknown_cost(stack: Stack, word: str) -> None:
    row = stack.row(stack.chat(f"lab/sim-{word}"))
    assert (row["cost_usd"], row["tokens"]) == (None, None)


def test_a_call_that_reached_nobody_cost_nothing(stack: Stack) -> None:
    for model in ("dead/sim", "no-such-model", "dreaming"):
        row = stack.row(stack.chat(model))
        assert row["cost_usd"] == "0"
        assert set(row["tokens"].values()) == {0}


def test_the_providers_words_waits_and_limits_go_through(stack: Stack) -> None:
    reply = stack.chat("lab/sim-429")
    assert "Please try again in 2s" in error_of(reply)["message"]
    assert reply.header("retry-after") == "2"
    assert reply.header("retry-after-ms") == "2000"
    assert reply.header("x-ratelimit-remaining-tokens") == "712"
    assert reply.header("x-ferryman-provider") == "lab"
    assert stack.chat("lab/sim-503+retry-date").header("retry-after")
    html = whole(b"<html>busy</html>", b"retry-after: 9", status=b"503 Busy")
    stack.canned.answers = [html]
    reply = stack.chat("canned/m")
    assert (reply.status, reply.header("retry-after")) == (503, "9")
    assert "without a readable error" in error_of(reply)["message"]


@pytest.mark.parametrize("status", [b"999 Odd", b"600 Odd", b"401 Broke"])
def test_a_status_that_callers_would_misread_is_not_passed_on(stack: Stack, status: bytes) -> None:
    body = b'{"error":{"message":"no money","type":"t","code":"insufficient_quota"}}'
    headers = [b"content-type: text/x-theirs", b"x-should-retry: true", b"x-ferryman-error: theirs"]
    stack.canned.answers = [whole(body, *headers, status=status)]
    reply = stack.chat("canned/m")
    credit = status.startswith(b"401")
    kind = "upstream_credit_exhausted" if credit else "upstream_error"
    assert (reply.status, reply.header("x-ferryman-error")) == (402 if credit else 502, kind)
    assert reply.body == body
    names = [name for name, _ in reply.headers]
    assert sorted(set(names)) == sorted(names), "no header twice"
    assert reply.header("content-type") == "application/json"
    assert stack.row(reply)["status"] == reply.status


def test_an_error_with_status_200_is_none_the_less_an_error(stack: Stack) -> None:
    limited = whole(b'{"error":{"message":"slow down","code":429}}')
    stack.canned.answers = [limited, limited]
    reply = stack.chat("canned/m")
    assert (reply.status, error_of(reply)["code"]) == (429, "upstream_rate_limited")
    assert "slow down" in error_of(reply)["message"]
    assert stack.chat("canned-or-spare").header("x-ferryman-provider") == "spare"


STREAMS = [
    ("cut", "upstream_stream_truncated", "cut"),
    ("cut-clean", "upstream_stream_truncated", "without its end mark"),
    ("no-done", "upstream_stream_truncated", "without its end mark"),
    ("reset-mid", "upstream_stream_truncated", "cut"),
    ("bad-chunk", "upstream_stream_truncated", "not valid HTTP"),
    ("short-length", "upstream_stream_truncated", "without its end mark"),
    ("error-event", "upstream_error", "The server had an error"),
    ("error-done", "upstream_error", "The server had an error"),
]


def broken(reply: Reply) -> dict[str, Any]:
    """The error event that ends a stream; fails if it looks like a good end."""
    assert reply.status == 200
    assert b"[DONE]" not in reply.body
    assert b"response.completed" not in reply.body
    assert reply.complete, "the framing towards the caller stays right"
    *_, last = reply.data
    error: dict[str, Any] = last["error"]
    assert error["request_id"] == reply.header("x-ferryman-request-id")
    return error


@pytest.mark.parametrize(("word", "code", "says"), STREAMS, ids=[c[0] for c in STREAMS])
def test_a_stream_that_breaks_ends_in_an_error_and_never_in_done(
    stack: Stack, word: str, code: str, says: str
) -> None:
    reply = stack.stream(f"lab/sim?{word}&tokens=8")
    error = broken(reply)
    assert error["code"] == code
    assert says in error["message"]
    said = reply.said
    assert "The ferry leaves the bank at dawn, crosses".startswith(said)
    assert said
    row = stack.row(reply)
    assert (row["status"], row["error"]) == (200, code)
    assert row["cost_usd"] is None
    alive(stack)


@pytest.mark.parametrize("word", ["cut", "cut-clean", "reset-mid", "bad-chunk"])
def test_a_broken_response_stream_says_so_in_its_own_way(stack: Stack, word: str) -> None:
    fields = {"model": f"lab/sim?{word}", "input": "Hi", "stream": True}
    reply = stack.post(fields, "/v1/responses")
    error = broken(reply)
    last = reply.data[-1]
    assert reply.events[-1]["event"] == "error"
    assert (last["type"], last["code"]) == ("error", error["code"]) == (
        "error", "upstream_stream_truncated")  # fmt: skip


def test_a_response_that_failed_keeps_its_own_event(stack: Stack) -> None:
    pieces = [
        b'event: response.created\ndata: {"type":"response.created","response":{"id":"r"}}\n\n',
        b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta"}\n\n',
        b'event: response.failed\ndata: {"type":"response.failed","response":{"error":{"message":'
        b'"boom"},"usage":{"input_tokens":5,"output_tokens":6}}}\n\n',
    ]
    stack.canned.answers = [events(*pieces), events(pieces[0], pieces[2])]
    fields = {"model": "canned/m", "input": "Hi", "stream": True}
    reply = stack.post(fields, "/v1/responses")
    assert (reply.status, reply.body) == (200, b"".join(pieces))
    row = stack.row(reply)
    assert (row["error"], row["tokens"]["output"]) == ("upstream_error", 6)
    early = stack.post(fields, "/v1/responses")
    assert (early.status, error_of(early)["code"]) == (502, "upstream_error")
    assert "boom" in error_of(early)["message"]


def test_a_stream_whose_length_was_a_lie_is_whole_when_its_end_came(stack: Stack) -> None:
    reply = stack.stream("lab/sim-long-length")
    assert reply.data[-1] == "[DONE]"
    assert stack.row(reply)["error"] is None
    alive(stack)


def test_what_comes_after_the_end_is_not_relayed(stack: Stack) -> None:
    chunk = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
    stack.canned.answers = [events(chunk, b"data: [DONE]\n\n" + chunk, chunk, b": late\n\n")]
    assert stack.stream("canned/m").body == chunk + b"data: [DONE]\n\n"
    stack.canned.answers = [events(chunk, b"data: [DONE]")]
    assert stack.stream("canned/m").data[-1] == "[DONE]", "an end that lacks its blank line counts"


@pytest.mark.parametrize(
    "pieces",
    [[], [b": wait\n\n"], [b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n'],
     [b"{}\n"], [b'{"error":{"message":"plain"}}'], [b"<html>"]],
)  # fmt: skip
def test_a_stream_that_says_nothing_is_a_failed_call(stack: Stack, pieces: list[bytes]) -> None:
    stack.canned.answers = [events(*pieces)] * 2
    reply = stack.stream("canned/m")
    assert (reply.status, error_of(reply)["code"]) == (502, "upstream_stream_truncated")
    assert stack.stream("canned-or-spare").header("x-ferryman-provider") == "spare"


def test_a_stream_that_goes_on_and_on_without_saying_anything_is_cut(stack: Stack) -> None:
    stack.canned.answers = [events(*[b": " + b"x" * 65_000 + b"\n\n"] * 300, end=False)] * 2
    reply = stack.stream("canned/m")
    assert (reply.status, error_of(reply)["code"]) == (502, "upstream_invalid_response")
    assert "before it said anything" in error_of(reply)["message"]


def test_a_stream_of_an_end_alone_is_no_answer(stack: Stack) -> None:
    stack.canned.answers = [events(b"data: [DONE]\n\n")]
    error = error_of(stack.stream("canned/m"))
    assert error["code"] == "upstream_invalid_response"
    assert "without an answer" in error["message"]


# -- another target -------------------------------------------------------------------------------


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("word", RETRYABLE)
def test_another_target_is_asked(stack: Stack, word: str, streamed: bool) -> None:
    alive(stack)  # so that the key has a good name, whatever came before
    model = f"second-{word}" if streamed else f"first-{word}"  # a target that failed may rest
    reply = stack.chat(model, stream=streamed)
    assert reply.status == 200
    assert reply.header("x-ferryman-provider") == "spare"
    assert reply.header("x-ferryman-attempts") == "2"
    if streamed:
        assert reply.data[-1] == "[DONE]"
    row = stack.row(reply)
    assert [(t["provider"], bool(t["error"])) for t in row["tries"]] == [
        ("lab", True), ("spare", False)]  # fmt: skip
    assert row["model"] == model
    assert (row["provider"], row["target"], row["error"]) == ("spare", "sim", None)


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("400", "invalid_value"),
        ("context", "context_length_exceeded"),
        ("filter", "content_filter"),
    ],
)
def test_what_another_target_would_refuse_as_well_is_not_sent_there(
    stack: Stack, word: str, code: str
) -> None:
    stack.forget()
    reply = stack.chat("lab-then-spare", sim=word)
    assert (reply.status, error_of(reply)["code"]) == (400, code)
    assert reply.header("x-ferryman-attempts") == "1"
    assert stack.stats()["requests"] == 1


def test_a_stream_that_breaks_after_its_first_word_is_not_begun_anew(stack: Stack) -> None:
    stack.forget()
    reply = stack.stream("lab-then-spare", sim="cut,at=1,tokens=6")
    assert broken(reply)["code"] == "upstream_stream_truncated"
    assert reply.said == "The"
    assert stack.stats()["requests"] == 1
    fresh = stack.stream("lab-then-spare", sim="cut,at=0,tokens=6,fail-first=1")
    assert fresh.data[-1] == "[DONE]"
    assert fresh.header("x-ferryman-provider") == "spare"
    assert fresh.said == "The ferry leaves the bank at", "said once"
    assert len(re.findall(rb'"role":"assistant"', fresh.body)) == 1


def test_an_error_event_before_the_first_word_asks_the_next_target(stack: Stack) -> None:
    for word in ("error-event", "error-done"):
        stack.forget()
        reply = stack.stream("lab-then-spare", sim=f"{word},at=0,fail-first=1")
        assert reply.header("x-ferryman-provider") == "spare"
        assert reply.data[-1] == "[DONE]"


def test_fallbacks_come_after_the_targets(stack: Stack) -> None:
    reply = stack.chat("plan-b")
    assert reply.header("x-ferryman-provider") == "spare"
    assert stack.chat("two").header("x-ferryman-provider") == "lab"


def test_when_all_fail_the_last_one_is_heard(stack: Stack) -> None:
    reply = stack.chat("lab-then-spare", sim="503")
    assert (reply.status, error_of(reply)["code"]) == (503, "upstream_overloaded")
    assert reply.header("x-ferryman-provider") == "spare"
    assert reply.header("x-ferryman-attempts") == "2"
    assert stack.row(reply)["cost_usd"] == "0"


def test_a_provider_that_cannot_be_reached_is_named(stack: Stack) -> None:
    reply = stack.chat("dead/sim")
    error = error_of(reply)
    assert (reply.status, error["code"]) == (502, "upstream_unreachable")
    assert "dead could not be reached" in error["message"]


def test_an_endpoint_that_a_provider_lacks_is_no_call_to_it(stack: Stack) -> None:
    reply = stack.post({"model": "chatty/sim", "input": "Hi"}, "/v1/embeddings")
    error = error_of(reply)
    assert (reply.status, error["code"]) == (400, "unsupported_by_model")
    assert "chatty does not offer embeddings" in error["message"]
    assert stack.row(reply)["cost_usd"] == "0"


# -- connections ----------------------------------------------------------------------------------

GOOD = whole(b'{"choices":[]}')


def served(stack: Stack, first: Any, then: Any = GOOD) -> tuple[Reply, Reply, list[int]]:
    """Two calls after a first one; their replies, and the connections that requests came on."""
    stack.canned.answers = [GOOD, first, then, GOOD]
    stack.canned.requests.clear()
    assert stack.chat("canned/m").status == 200
    replies = stack.chat("canned/m"), stack.chat("canned/m")
    return *replies, [number for number, _ in stack.canned.requests]


@pytest.mark.parametrize(
    "answer",
    [GOOD, whole(b'{"error":{"message":"x"}}', status=b"500 Oops"),
     whole(b'{"choices":[]}', b"x-long: " + b"a" * 70_000)],
    ids=["good", "error", "long"],
)  # fmt: skip
def test_a_connection_is_kept_after_a_complete_reply(stack: Stack, answer: bytes) -> None:
    _, _, used = served(stack, answer)
    assert used == [used[0]] * 3


@pytest.mark.parametrize(
    "answer",
    [
        whole(b'{"choices":[]}')[:-3],
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n",
        whole(b'{"choices":[]}', b"connection: close"),
        GOOD + b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        GOOD + b"\0\0",
        GOOD.replace(b"HTTP/1.1", b"HTTP/1.0"),
        whole(b"{}", b"content-length: 7"),
        whole(b"{}", b"transfer-encoding: chunked"),
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n",
        b"nonsense\r\n\r\n",
    ],
)
def test_a_connection_is_not_used_again_after_a_reply_that_is_not_sound(
    stack: Stack, answer: bytes
) -> None:
    def send_and_end(link: socket.socket) -> bool:
        link.sendall(answer)
        link.shutdown(socket.SHUT_WR)
        return True

    _, after, used = served(stack, send_and_end)
    assert after.status == 200
    assert used[1] == used[0], "the good connection was kept"
    assert used[2] != used[0]


def test_a_kept_connection_that_the_provider_has_closed_costs_a_new_one_and_no_call(
    stack: Stack,
) -> None:
    def hang_up(link: socket.socket) -> bool:
        return False  # the request is read, and the connection closed

    reply, _, used = served(stack, hang_up)
    assert reply.status == 200
    assert reply.header("x-ferryman-attempts") == "1"
    assert used[0] == used[1] != used[2]
    assert used[2:] == [used[2]] * 2, "once more on a new connection, which is kept"


def test_a_second_hang_up_is_not_tried_again(stack: Stack) -> None:
    stack.canned.answers = [GOOD, lambda link: False, lambda link: False, GOOD]
    stack.canned.requests.clear()
    assert stack.chat("canned/m").status == 200
    reply = stack.chat("canned/m")
    assert (reply.status, error_of(reply)["code"]) == (502, "upstream_unreachable")
    assert "hung up without an answer" in error_of(reply)["message"]
    assert len(stack.canned.requests) == 3
    assert len(stack.canned.answers) == 1


def test_once_a_reply_has_begun_a_request_is_not_sent_again(stack: Stack) -> None:
    def begin(link: socket.socket) -> bool:
        link.sendall(b"HTTP/1.1 2")
        return False

    stack.canned.answers = [GOOD, begin, GOOD]
    stack.canned.requests.clear()
    assert stack.chat("canned/m").status == 200
    reply = stack.chat("canned/m")
    assert reply.status == 502
    assert len(stack.canned.requests) == 2


def test_streams_survive_a_stale_connection_too(stack: Stack) -> None:
    good = events(b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n', b"data: [DONE]\n\n")
    stack.canned.answers = [GOOD, lambda link: False, good]
    assert stack.chat("canned/m").status == 200
    reply = stack.stream("canned/m")
    assert (reply.status, reply.data[-1]) == (200, "[DONE]")
    assert stack.row(reply)["attempts"] == 1


def test_replies_never_cross(stack: Stack) -> None:
    """Many calls over few connections, some of which break: each gets its own answer."""
    for number in range(60):
        word = ("echo", "cut", "echo", "reset-mid", "echo", "extra+echo")[number % 6]
        text = f"number {number}"
        fields = asked(f"lab/sim-{word}") | {"messages": [{"role": "user", "content": text}]}
        reply = stack.post(fields)
        if "echo" in word:
            assert json.loads(reply.body)["choices"][0]["message"]["content"] == text
        else:
            assert reply.status == 502
