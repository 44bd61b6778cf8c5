"""generateContent streams relayed as they are: what goes on, what is held back, what is noted."""

import json
from typing import Any, NamedTuple

import pytest

from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.events import Failed
from ferryman.ir.usage import Usage
from ferryman.wire.gemini_generate.errors import error_event
from ferryman.wire.gemini_generate.tap import GenerateTap, read_whole
from tests.wire.generate import parts, sse

USED = {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15}
USAGE = Usage(input=10, output=5)
FIRST = sse(parts({"text": "a"}))
MORE = sse(parts({"text": "b"}))
LAST = sse(parts({"text": "c"}, finishReason="STOP") | {"usageMetadata": USED})


class Heard(NamedTuple):
    relayed: bytes
    ending: bytes
    done: bool
    failure: Failed | None
    usage: Usage | None
    content: bool


def hear(pieces: list[bytes]) -> Heard:
    tap = GenerateTap(hide_usage=False)
    out = b"".join([tap.feed(piece) for piece in pieces])
    tap.close()
    return Heard(out, tap.ending, tap.done, tap.failure, tap.usage, tap.content)


def listen(data: bytes) -> Heard:
    """What a tap hears; fails unless every cut of the bytes gives the same."""
    whole = hear([data])
    assert hear([bytes([byte]) for byte in data]) == whole
    for cut in range(1, len(data)):
        assert hear([data[:cut], data[cut:]]) == whole, data[:cut]
    return whole


@pytest.mark.parametrize("newline", [b"\r\n", b"\n"])
def test_all_but_the_end_goes_on_untouched(newline: bytes) -> None:
    first, more, last = (e.replace(b"\r\n", newline) for e in (FIRST, MORE, LAST))
    heard = listen(first + b": note" + newline * 2 + more + last)
    assert heard.relayed == first + b": note" + newline * 2 + more
    assert heard[1:] == (last, True, None, USAGE, True)


def test_a_reason_in_every_event_holds_back_the_last_only() -> None:
    each = [sse(parts({"text": t}, finishReason="STOP")) for t in "abc"]
    heard = listen(b"".join(each))
    assert (heard.relayed, heard.ending, heard.done) == (each[0] + each[1], each[2], True)


def test_what_comes_after_the_reason_is_relayed_too() -> None:
    late = sse({"usageMetadata": USED | {"candidatesTokenCount": 6}})
    heard = listen(FIRST + LAST + b": note\n\n" + late)
    assert (heard.relayed, heard.ending) == (FIRST + LAST + b": note\n\n", late)
    assert (heard.done, heard.usage) == (True, Usage(input=10, output=6))


def test_the_words_of_the_format_within_text_mean_nothing() -> None:
    text = '"finishReason":"STOP","error":{"message":"x"},"promptFeedback"'
    heard = listen(FIRST + sse(parts({"text": text})))
    assert (heard.done, heard.failure, heard.usage) == (False, None, None)


def test_a_blocked_prompt_is_an_end() -> None:
    event = sse({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": USED})
    assert listen(event) == Heard(b"", event, True, None, USAGE, True)


def test_without_a_reason_the_stream_was_cut() -> None:
    for data in (b"", FIRST, FIRST + MORE, FIRST + LAST[:-30]):
        heard = listen(data)
        assert (heard.done, heard.ending, heard.usage) == (False, b"", None)
    heard = listen(FIRST + LAST + MORE[:-20])
    assert (heard.done, heard.failure) == (False, None)


def test_an_end_that_lacks_its_blank_line_counts() -> None:
    heard = listen(FIRST + LAST.rstrip(b"\r\n"))
    assert (heard.relayed, heard.done, heard.usage) == (FIRST, True, USAGE)
    assert heard.ending == LAST


@pytest.mark.parametrize(
    "data",
    [
        sse({"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}}),
        b'{"error": {"code": 503,\r\n"message": "busy", "status": "UNAVAILABLE"}}\r\n\r\n',
        b'data: [{"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}}]\r\n\r\n',
    ],
)
def test_errors_end_the_stream(data: bytes) -> None:
    for before in (b"", FIRST, FIRST + LAST):
        heard = listen(before + data)
        assert heard.relayed == before
        assert heard.failure is not None and heard.failure.kind is ErrorKind.UPSTREAM_OVERLOADED
        assert heard.failure.message == "busy"
        assert not heard.done


def test_odd_events_go_to_the_caller_as_they_came() -> None:
    odd = b"data: [1]\r\n\r\ndata: oops\r\n\r\n" + sse({"candidates": 5, "x": '"error"'})
    heard = listen(odd + LAST)
    assert (heard.relayed, heard.done) == (odd.replace(b"data: oops\r\n\r\n", b""), True)
    twice = listen(odd + b"data: {\r\n\r\n" + LAST)
    assert twice.failure is not None
    assert not twice.done


def test_nothing_is_said_before_the_first_part() -> None:
    tap = GenerateTap(hide_usage=False)
    assert tap.feed(sse({"usageMetadata": USED, "modelVersion": "m"}))
    assert not tap.content
    tap.feed(FIRST)
    assert tap.content


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (parts({"text": "a"}, finishReason="STOP") | {"usageMetadata": USED}, (None, USAGE)),
        ({"totalTokens": 5}, (None, None)),
        ({"candidates": 5, "usageMetadata": "x"}, (None, None)),
        ({"error": {"code": 429, "message": "slow"}}, (ErrorKind.UPSTREAM_RATE_LIMIT, None)),
        ([], (ErrorKind.UPSTREAM_PROTOCOL, None)),
        (b"<html>", (ErrorKind.UPSTREAM_PROTOCOL, None)),
        (b"\xff", (ErrorKind.UPSTREAM_PROTOCOL, None)),
        (b"[" * 100_000, (ErrorKind.UPSTREAM_PROTOCOL, None)),
    ],
)
def test_whole_replies(body: Any, wanted: Any) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    assert read_whole(data) == wanted


def test_the_gateways_own_errors_have_the_formats_shape() -> None:
    error = GatewayError(502, ErrorKind.UPSTREAM_TRUNCATED, "Cut.")
    assert GenerateTap(hide_usage=False).error_event(error, "r") == error_event(error, "r")
