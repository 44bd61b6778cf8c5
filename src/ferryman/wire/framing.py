"""Framing of event streams: where one server-sent event ends, and what it says.

WHATWG HTML §9.2: lines end in LF, CRLF or CR; a blank line ends an event; lines that begin with a
colon are comments; several ``data`` fields of one event are joined by LF.
"""

import json
import re
from typing import Final

import msgspec

from ferryman.ir.unreadable import UNREADABLE

MAX_EVENT_BYTES = 16 << 20
_END = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r(?!\n))")
_LINES = re.compile(rb"\r\n|\n|\r")
BOM = b"\xef\xbb\xbf"
_check: Final = msgspec.json.Decoder(msgspec.Raw).decode
ERROR_EVENT: Final[tuple[bytes, ...]] = (b"event: error", b"event:error")
_QUIET: Final[tuple[bytes, ...]] = (
    b":", b"\n", b"\r", b"event: ping", b"event:ping", b"event: keepalive",
    b'data: {"type":"ping"', b'data: {"type": "ping"', b'data: {"type":"keepalive"',
)  # fmt: skip
"""How events begin that only say that the connection is still there."""


class EventTooLargeError(ValueError):
    """An event is longer than ``MAX_EVENT_BYTES``."""


class Splitter:
    """Cuts a byte stream into whole events, incrementally: any cut gives the same events."""

    __slots__ = ("tail",)

    def __init__(self) -> None:
        self.tail = b""
        """Bytes of an event that is not complete yet."""

    def feed(self, data: bytes) -> list[bytes]:
        """Whole events with their ends, in order. Raises :class:`EventTooLargeError`."""
        tail = self.tail
        # An end may straddle the cut by three bytes; what lies before was searched already.
        start = max(len(tail) - 3, 0)
        data = tail + data
        events: list[bytes] = []
        done = 0
        for match in _END.finditer(data, start):
            end = match.end()
            if end == len(data) and data.endswith(b"\r"):
                break  # the next byte tells whether this is CR or CRLF
            events.append(data[done:end])
            done = end
        self.tail = data[done:] if done else data
        if len(self.tail) > MAX_EVENT_BYTES:
            raise EventTooLargeError(f"an event is longer than {MAX_EVENT_BYTES} bytes")
        return events


def event_data(event: bytes) -> bytes:
    """The joined ``data`` of one event, without comments and other fields; empty if it has none."""
    if event.startswith(BOM):
        event = event[3:]
    if (
        event.startswith(b"data: ")
        and event.endswith(b"\n\n")
        and event.count(b"\n") == 2
        and b"\r" not in event
    ):
        return event[6:-2]  # one line of data: nearly every event there is
    if (
        event.startswith(b"data: ")
        and event.endswith(b"\r\n\r\n")
        and event.count(b"\n") == 2
        and event.count(b"\r") == 2
    ):
        return event[6:-4]  # the same, with the other line ends
    start = event.find(b"\n") + 1
    if (
        event.startswith(b"data: ", start)
        and event.startswith(b"event: ")
        and event.endswith(b"\n\n")
        and event.count(b"\n") == 3
        and b"\r" not in event
    ):
        return event[start + 6 : -2]  # a name before it
    out = []
    for line in _LINES.split(event):
        if line.startswith(b"data:"):
            out.append(line[6:] if line[5:6] == b" " else line[5:])
    return b"\n".join(out)


def readable(event: bytes) -> bool:
    """Whether the data of one whole event is JSON or ``[DONE]``; also when it has none."""
    data = event_data(event)
    if not data:
        return True
    try:
        _check(data)
    except UNREADABLE:
        return data.rstrip() == b"[DONE]" or _lenient(data)
    return True


def _lenient(data: bytes) -> bool:
    """Whether it is JSON for those who let halves of a surrogate pair pass, as callers do."""
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


def all_readable(data: bytes) -> bool:
    """The same of several events that end in LF LF; may be wrong if it says no."""
    if data.find(b"\r") >= 0:
        return False  # an event may end otherwise
    if data.count(b"\n\n") == 1:
        return readable(data)
    for event in data[:-2].split(b"\n\n"):  # noqa: SIM110 - compiled, a loop costs less
        if not readable(event + b"\n\n"):
            return False
    return True


def as_text(data: bytes) -> str:
    """``data``, each byte as one character: places stay the same. Compiled, a look into a text
    costs a third of one into bytes."""
    return data.decode("latin-1")


def mentions(data: bytes, marks: tuple[str, ...]) -> bool:
    """Whether one of ``marks``, which are ASCII, stands anywhere in ``data``."""
    text = as_text(data)
    for mark in marks:  # noqa: SIM110 - compiled, a loop costs less than a generator
        if mark in text:
            return True
    return False


def only_alive(data: bytes) -> bool:
    """Whether bytes that just came are nothing but comments, pings, and blank lines."""
    if not data.startswith(_QUIET):
        return False
    start = 0
    for match in _END.finditer(data):
        event = data[start : match.end()]
        if not event.startswith(_QUIET) or (event.startswith(b":") and event_data(event)):
            return False
        start = match.end()
    rest = data[start:]
    return not rest or (rest.startswith(_QUIET) and not event_data(rest))
