"""Messages relayed as they are: what goes on, what is held back, and what is noted."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.events import Failed
from ferryman.ir.usage import Usage
from ferryman.wire.anthropic_messages.tap import MessagesTap, read_whole
from tests.wire.messages import ANSWERS, Answer, block, end, sse, start, whole_body

STOP = sse({"type": "message_stop"})


def hear(pieces: list[bytes]) -> tuple[bytes, MessagesTap]:
    tap = MessagesTap(hide_usage=False)
    out = b"".join([tap.feed(piece) for piece in pieces])
    tap.close()
    return out, tap


def facts(heard: tuple[bytes, MessagesTap]) -> tuple[Any, ...]:
    out, tap = heard
    return out, tap.usage, tap.done, tap.ending, tap.failure, tap.content


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_all_but_the_end_goes_on_untouched_however_it_is_cut(answer: Answer) -> None:
    out, tap = heard = hear([answer.stream])
    assert out + tap.ending == answer.stream
    assert (tap.ending, tap.done, tap.failure) == (STOP, True, None)
    assert tap.usage == answer.usage
    assert tap.content == any(each for each in answer.blocks if "Refusal" not in repr(each))
    assert facts(hear([bytes([byte]) for byte in answer.stream])) == facts(heard)
    for cut in range(1, len(answer.stream), 7):
        assert facts(hear([answer.stream[:cut], answer.stream[cut:]])) == facts(heard)


@given(st.data())
def test_random_cuts(data: st.DataObject) -> None:
    answer = data.draw(st.sampled_from(list(ANSWERS.values())))
    first, second = sorted(data.draw(st.tuples(*[st.integers(0, len(answer.stream))] * 2)))
    pieces = [answer.stream[:first], answer.stream[first:second], answer.stream[second:]]
    assert facts(hear(pieces)) == facts(hear([answer.stream]))


@pytest.mark.parametrize(
    ("opening", "says"),
    [
        ({"type": "text", "text": ""}, False),
        ({"type": "thinking", "thinking": "", "signature": ""}, False),
        ({"type": "text", "text": "Hi"}, True),
        ({"type": "tool_use", "id": "t", "name": "n", "input": {}}, True),
    ],
)
def test_nothing_is_said_before_the_first_word(opening: dict[str, Any], says: bool) -> None:
    tap = MessagesTap(hide_usage=False)
    tap.feed(sse(start(), {"type": "ping"}))
    assert not tap.content
    tap.feed(sse(*block(0, opening)[:1]))
    assert tap.content is says
    delta = {"type": "text_delta", "text": "message_"}
    tap.feed(sse({"type": "content_block_delta", "index": 0, "delta": delta}))
    tap.feed(sse(*block(1, {"type": "text", "text": ""})[:1]))
    assert tap.content


def test_what_is_not_in_order_is_the_caller_s_to_see() -> None:
    odd = b": hello\r\n\r\ndata: [1\n\ndata: 7\n\nevent: x\n\n" + sse({"type": "news", "a": 1})
    out, tap = hear([sse(start()) + odd + sse(*end())])
    assert out + tap.ending == sse(start()) + odd.replace(b"data: [1\n\n", b"") + sse(*end())
    assert (tap.done, tap.broken) == (True, 1), "but what is no JSON is left out"


@pytest.mark.parametrize("typed", [True, False])
def test_an_error_ends_the_stream(typed: bool) -> None:
    error: dict[str, Any] = {"error": {"type": "overloaded_error", "message": "Overloaded"}}
    said = {"type": "error", **error} if typed else error
    event = b"event: error\ndata: %b\n\n" % json.dumps(said).encode()
    out, tap = hear([sse(start()), event, sse(*end())])
    assert out == sse(start())
    assert tap.failure == Failed(
        kind=ErrorKind.UPSTREAM_OVERLOADED, message="Overloaded", code="overloaded_error"
    )
    assert tap.ending == (event if typed else b"")
    assert not tap.done


def test_a_cut_stream_is_not_done_and_knows_what_it_has_cost_so_far() -> None:
    _, tap = hear([ANSWERS["text"].stream[:-60]])
    assert not tap.done
    assert tap.usage == Usage(10, output=1)
    error = GatewayError(502, ErrorKind.UPSTREAM_TRUNCATED, "cut")
    assert tap.error_event(error, "req_1").startswith(b"event: error\ndata: ")


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_whole_replies_are_read(answer: Answer) -> None:
    assert read_whole(whole_body(answer)) == (None, answer.usage)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", ErrorKind.UPSTREAM_PROTOCOL),
        (b"[1]", ErrorKind.UPSTREAM_PROTOCOL),
        (b"\xff", ErrorKind.UPSTREAM_PROTOCOL),
        (b"[" * 100_000, ErrorKind.UPSTREAM_PROTOCOL),
        (b'{"type":"error","error":{"type":"overloaded_error","message":"x"}}',
         ErrorKind.UPSTREAM_OVERLOADED),
        (b'{"error":{"type":"rate_limit_error"}}', ErrorKind.UPSTREAM_RATE_LIMIT),
        (b'{"type":"message","content":[],"error":null}', None),
    ],
)  # fmt: skip
def test_whole_replies_that_are_none(body: bytes, kind: ErrorKind | None) -> None:
    assert read_whole(body) == (kind, None)


@given(st.lists(st.binary(max_size=30)))
def test_no_bytes_crash_the_tap(pieces: list[bytes]) -> None:
    hear(pieces)
    read_whole(b"".join(pieces))
