"""Event streams cut into events, and what an event says."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman.wire.framing import (
    MAX_EVENT_BYTES,
    EventTooLargeError,
    Splitter,
    event_data,
    mentions,
)


def split(data: bytes, *cuts: int) -> tuple[list[bytes], bytes]:
    """Events and what is left, fed in pieces that end at ``cuts``."""
    splitter = Splitter()
    events: list[bytes] = []
    edges = [0, *cuts, len(data)]
    for start, end in pairwise(edges):
        events += splitter.feed(data[start:end])
    return events, splitter.tail


STREAMS = [
    (b"data: a\n\ndata: b\n\n", [b"data: a\n\n", b"data: b\n\n"], b""),
    (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"data: a\r\n\r\n", b"data: b\r\n\r\n"], b""),
    (b"data: a\r\rdata: b\r\r", [b"data: a\r\r"], b"data: b\r\r"),
    (b"data: a\r\n\ndata: b\n\r\nx", [b"data: a\r\n\n", b"data: b\n\r\n"], b"x"),
    (b"data: a\n\rdata: b\r\r\ndata: c", [b"data: a\n\r", b"data: b\r\r\n"], b"data: c"),
    (b": note\n\ndata: a\ndata: b\n\n", [b": note\n\n", b"data: a\ndata: b\n\n"], b""),
    (b"\n\n\ndata: a\n\n\n\nrest", [b"\n\n", b"\ndata: a\n\n", b"\n\n"], b"rest"),
    (b"\xef\xbb\xbfdata: a\n\n", [b"\xef\xbb\xbfdata: a\n\n"], b""),
    (b"", [], b""),
    (b"no end", [], b"no end"),
]


@pytest.mark.parametrize(("data", "events", "tail"), STREAMS)
def test_whole_events_are_cut_off(data: bytes, events: list[bytes], tail: bytes) -> None:
    assert split(data) == (events, tail)


@pytest.mark.parametrize(("data", "events", "tail"), STREAMS)
def test_any_two_cuts_give_the_same(data: bytes, events: list[bytes], tail: bytes) -> None:
    for first in range(len(data) + 1):
        for second in range(first, len(data) + 1):
            assert split(data, first, second) == (events, tail), (first, second)


_PIECES = st.lists(
    st.sampled_from([b"data: x", b"data:", b":", b"\n", b"\r", b"\r\n", b"\n\n", "é".encode()])
)


@given(pieces=_PIECES, cuts=st.lists(st.integers(0, 60), max_size=6))
def test_no_byte_is_lost_and_no_cut_matters(pieces: list[bytes], cuts: list[int]) -> None:
    data = b"".join(pieces)
    events, tail = split(data)
    assert b"".join(events) + tail == data
    assert split(data, *sorted(min(cut, len(data)) for cut in cuts)) == (events, tail)
    for event in events:
        assert event.endswith((b"\n", b"\r"))


@given(pieces=_PIECES)
def test_events_say_what_the_standard_says(pieces: list[bytes]) -> None:
    """Against the rules of the HTML standard, restated line by line."""
    data = b"".join(pieces)
    if data.endswith(b"\r"):
        data += b"x"
    events, _ = split(data)
    lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    said: list[bytes] = []
    now: list[bytes] = []
    for line in lines[:-1]:
        if not line:
            if any(now):
                said.append(b"\n".join(now))
            now = []
        elif line.startswith(b"data:"):
            now.append(line[5:].removeprefix(b" "))
    assert [found for event in events if (found := event_data(event).strip(b"\n"))] == [
        found for text in said if (found := text.strip(b"\n"))
    ]


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (b'data: {"a":1}\n\n', b'{"a":1}'),
        (b'data:{"a":1}\n\n', b'{"a":1}'),
        (b"data:  two\n\n", b" two"),
        (b"data: a\ndata: b\ndata\n\n", b"a\nb"),
        (b'\xef\xbb\xbfdata: {"a":1}\n\n', b'{"a":1}'),
        (b"id: 7\r\nevent: delta\r\nretry: 3\r\ncolour: blue\r\ndata: x\r\n\r\n", b"x"),
        (b"data: x\r\r", b"x"),
        (b"data: x\rdata: y\r\r", b"x\ny"),
        (b": a comment with data: in it\n\n", b""),
        (b": note\ndata: x\n\n", b"x"),
        (b"\ndata: x\n\n", b"x"),
        (b"event: ping\n\n", b""),
        (b"datas: x\n\n", b""),
        (b" data: x\n\n", b""),
        (b"\n\n", b""),
        (b"", b""),
    ],
)
def test_what_an_event_says(event: bytes, data: bytes) -> None:
    assert event_data(event) == data


def test_an_event_without_end_is_an_error() -> None:
    splitter = Splitter()
    assert splitter.feed(b"data: " + b"x" * (MAX_EVENT_BYTES - 6)) == []
    with pytest.raises(EventTooLargeError, match="16777216"):
        splitter.feed(b"x")
    assert len(Splitter().feed((b"data: " + b"x" * 1000 + b"\n\n") * 20_000)) == 20_000


@given(st.lists(st.sampled_from([b'"', b"url", b"\\u00", b"\xff", "é".encode(), b"x"])))
def test_marks_are_found_in_whatever_bytes(pieces: list[bytes]) -> None:
    data, marks = b"".join(pieces), ('url"', "\\u00")
    assert mentions(data, marks) == any(mark.encode() in data for mark in marks)
