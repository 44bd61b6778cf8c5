"""AWS messages cut out of a byte stream, and another format's events unwrapped from them."""

import base64
import json
import struct
import zlib
from itertools import pairwise

import pytest
from botocore.eventstream import EventStreamBuffer, ParserError
from hypothesis import given
from hypothesis import strategies as st

from ferryman.wire.eventstream import MAX_MESSAGE_BYTES, Frame, FrameDecoder, FrameError
from ferryman.wire.invoke import InvokeUnwrapper
from tests.wire.aws import event, exception, frame

EVERY_TYPE = frame(
    [
        ("yes", 0, None), ("no", 1, None), ("byte", 2, -3), ("short", 3, -300), ("int", 4, 1 << 30),
        ("long", 5, -(1 << 60)), ("bytes", 6, b"\x00\xff"), ("text", 7, "h\u00e9"),
        ("time", 8, 1_700_000_000_123), ("uuid", 9, bytes(range(16))),
    ],
    b"payload",
)  # fmt: skip
STREAM = event("a", {"x": 1}) + frame([], b"") + EVERY_TYPE + event("b", {"y": "z" * 300})


def read(data: bytes, *cuts: int) -> tuple[list[Frame], FrameError | None, bool]:
    decoder = FrameDecoder()
    frames: list[Frame] = []
    for start, end in pairwise([0, *cuts, len(data)]):
        more, error = decoder.feed(data[start:end])
        frames += more
        if error is not None:
            return frames, error, True
    return frames, None, decoder.pending


def judged(data: bytes) -> list[tuple[dict[str, object], bytes]]:
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    return [(message.headers, message.payload) for message in buffer]


def test_messages_are_what_botocore_reads() -> None:
    frames, error, pending = read(STREAM)
    assert (error, pending) == (None, False)
    assert [tuple(f) for f in frames] == judged(STREAM)
    assert frames[2].headers["time"] == 1_700_000_000_123
    assert frames[0].text(":event-type") == "a"
    assert frames[2].text("byte") == ""


def test_any_cut_gives_the_same_messages() -> None:
    whole = read(STREAM)
    for cut in range(len(STREAM) + 1):
        assert read(STREAM, cut) == whole
    assert read(STREAM, *range(1, len(STREAM))) == whole


@given(st.lists(st.tuples(st.text(max_size=20), st.binary(max_size=200)), max_size=5), st.data())
def test_messages_survive_random_cuts(
    messages: list[tuple[str, bytes]], data: st.DataObject
) -> None:
    stream = b"".join(frame([("n", 7, name)], body) for name, body in messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    frames, error, pending = read(stream, *cuts)
    assert (error, pending) == (None, False)
    assert [(f.headers["n"], f.payload) for f in frames] == messages


@pytest.mark.parametrize("place", range(len(EVERY_TYPE)))
def test_a_flipped_bit_is_noticed_wherever_it_is(place: int) -> None:
    broken = bytearray(EVERY_TYPE)
    broken[place] ^= 1
    data = event("good", {}) + bytes(broken) + event("never", {})
    frames, error, _ = read(data)
    assert [f.text(":event-type") for f in frames] == ["good"]
    assert error is not None
    with pytest.raises(ParserError):
        judged(bytes(broken) + bytes(1000))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (frame([("a", 7, "x"), ("a", 7, "y")], b""), "twice"),
        (frame([("a", 10, b"")], b""), "unknown type 10"),
        (frame([("a", 200, b"")], b""), "unknown type 200"),
    ],
)
def test_odd_headers_are_refused(data: bytes, words: str) -> None:
    _, error, _ = read(data)
    assert words in str(error)


def _raw(headers: bytes, claimed: int | None = None, total: int | None = None) -> bytes:
    claimed = len(headers) if claimed is None else claimed
    total = 16 + len(headers) if total is None else total
    prelude = struct.pack(">II", total, claimed)
    body = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers
    return body + struct.pack(">I", zlib.crc32(body))


@pytest.mark.parametrize(
    "data",
    [
        _raw(b"\x05ab"),
        _raw(b"\x01a\x07\xff\xffx"),
        _raw(b"\x01a\x09short"),
        _raw(b"\x01a\x05\x00"),
        _raw(b"\x01a"),
        _raw(b"\x01\xff\x00"),
        _raw(b"\x01a\x07\x00\x01\xff"),
        _raw(b"", claimed=4),
        _raw(b"", total=15),
        _raw(b"", claimed=(128 << 10) + 1, total=1 << 20),
        _raw(b"", total=MAX_MESSAGE_BYTES + 1),
        _raw(b"", total=(1 << 32) - 1),
    ],
)
def test_lying_lengths_are_refused(data: bytes) -> None:
    frames, error, _ = read(data)
    assert not frames
    assert isinstance(error, FrameError)


@given(st.binary(max_size=300), st.booleans())
def test_no_bytes_crash_the_decoder(data: bytes, good: bool) -> None:
    read((EVERY_TYPE if good else b"") + data, *range(1, len(data), 7))


# --- invoke-with-response-stream ----------------------------------------------------------------

EVENTS = [
    {"type": "message_start", "message": {"usage": {"input_tokens": 3}}},
    {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "text_delta", "text": "h\u00e9\n"},
    },
    {"type": "message_stop", "amazon-bedrock-invocationMetrics": {"inputTokenCount": 3}},
]


def chunk(value: bytes) -> bytes:
    return event("chunk", {"bytes": base64.b64encode(value).decode(), "p": "abcdef"})


def unwrap(data: bytes, step: int = 0) -> bytes:
    unwrapper = InvokeUnwrapper()
    out = b""
    for start in range(0, len(data), step or len(data) or 1):
        out += unwrapper.feed(data[start : start + (step or len(data))])
    return out + unwrapper.close()


def test_chunks_become_server_sent_events_at_any_cut() -> None:
    bodies = [json.dumps(e).encode() for e in EVENTS]
    data = b"".join(map(chunk, bodies)) + event("other", {})
    wanted = b"".join(
        b"event: %b\ndata: %b\n\n" % (str(e["type"]).encode(), b)
        for e, b in zip(EVENTS, bodies, strict=True)
    )
    assert unwrap(data) == wanted
    for step in (1, 2, 3, 7, 50):
        assert unwrap(data, step) == wanted


def test_json_over_several_lines_becomes_one() -> None:
    for blank in (b"\r\n ", b"\n", b"\r"):
        event_bytes = b'{"type":' + blank + b'"ping"}'
        assert unwrap(chunk(event_bytes)) == b'event: ping\ndata: {"type":"ping"}\n\n'


def test_an_event_without_a_plain_type_has_none() -> None:
    assert unwrap(chunk(b'{"a":1}')) == b'data: {"a":1}\n\n'
    assert unwrap(chunk(b'{"type":"a\\nb"}')) == b'data: {"type":"a\\nb"}\n\n'


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("throttlingException", "rate_limit_error"),
        ("serviceUnavailableException", "overloaded_error"),
        ("validationException", "invalid_request_error"),
        ("modelTimeoutException", "timeout_error"),
        ("modelStreamErrorException", "api_error"),
        ("newException", "api_error"),
    ],
)
def test_exceptions_become_the_formats_own_errors(name: str, kind: str) -> None:
    out = unwrap(chunk(b'{"type":"ping"}') + exception(name, "slow down") + chunk(b'{"a":1}'))
    first, last = out.split(b"\n\n")[:2]
    assert first.startswith(b"event: ping")
    assert out.count(b"\n\n") == 2
    head, data = last.split(b"\n")
    assert head == b"event: error"
    said = json.loads(data.removeprefix(b"data: "))
    assert said == {"type": "error", "error": {"type": kind, "message": "slow down"}}


def test_an_unmodeled_error_speaks_through_its_headers() -> None:
    headers = [(":message-type", 7, "error"), (":error-code", 7, "InternalError"),
               (":error-message", 7, "went wrong")]  # fmt: skip
    assert b'"api_error","message":"went wrong"' in unwrap(frame(headers, b""))


def test_one_broken_chunk_is_skipped_and_a_second_ends_the_stream() -> None:
    good, broken = chunk(b'{"type":"ping"}'), event("chunk", {"bytes": "!!"})
    ping = b'event: ping\ndata: {"type":"ping"}\n\n'
    assert unwrap(good + broken + good) == ping + ping
    for second in (broken, event("chunk", b"{"), chunk(b"no json"), chunk(b"{\n")):
        out = unwrap(good + broken + second + good)
        assert out.startswith(ping + b"event: error")
        assert out.count(b"\n\n") == 2


def test_a_cut_or_broken_stream_ends_in_an_error() -> None:
    good = chunk(b'{"type":"ping"}')
    for data in (good + good[:-1], good + b"\x00" * 40):
        assert b"event: error" in unwrap(data)
        assert unwrap(data) == unwrap(data, 1)
    assert b"event: error" not in unwrap(good)


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_unwrapper(data: bytes) -> None:
    unwrap(data, 3)
    unwrap(chunk(data) + chunk(data))
