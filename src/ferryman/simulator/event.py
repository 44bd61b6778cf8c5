"""Pieces of a stream, and the ways in which vendors frame them."""

from collections.abc import Callable

import msgspec

from ferryman.simulator.directives import Behaviour


class Event(msgspec.Struct, frozen=True):
    """One event of a stream."""

    data: bytes
    """JSON, or ``[DONE]``."""
    name: str = ""
    tokens: int = 0
    """Output tokens it carries: what pauses between events are counted in."""
    last: bool = False
    """Whether it tells that the stream is complete: what the word ``no-done`` leaves out."""


DONE = Event(b"[DONE]", last=True)


class Framing(msgspec.Struct, frozen=True):
    """How events become bytes."""

    content_type: str
    render: Callable[[Event, int, Behaviour], bytes]
    """An event and its number, as bytes."""
    idle: bytes = b""
    """What is sent to show that the connection lives; empty where the format has no such thing."""
    tail: bytes = b""
    """What follows the last event."""


def server_sent(event: Event, number: int, wish: Behaviour, newline: bytes = b"\n") -> bytes:
    """One event as lines: https://html.spec.whatwg.org/multipage/server-sent-events.html."""
    lines = []
    if "fields" in wish:
        lines += [b"id: %d" % number, b"retry: 3000", b"colour: blue"]
    if event.name or "fields" in wish:
        lines.append(b"event: " + (event.name or "message").encode())
    data = [event.data]
    if "multiline" in wish and event.data != DONE.data:
        data = msgspec.json.format(event.data, indent=1).split(b"\n")
    prefix = b"data:" if "no-space" in wish else b"data: "
    lines += [prefix + line for line in data]
    newline = b"\r\n" if "crlf" in wish else b"\r" if "cr" in wish else newline
    text = newline.join(lines) + newline + newline
    if "comments" in wish:
        text = b": comment %d" % number + newline + newline + text
    return text + newline * 2 if "blank" in wish else text


def _line(event: Event, _number: int, wish: Behaviour) -> bytes:
    return event.data + (b"\r\n" if "crlf" in wish else b"\n")


def _element(event: Event, number: int, _wish: Behaviour) -> bytes:
    return (b",\r\n" if number else b"[") + event.data


SSE = Framing("text/event-stream; charset=utf-8", server_sent, b": keep-alive\n\n")
PINGS = Framing(SSE.content_type, server_sent, b'event: ping\ndata: {"type":"ping"}\n\n')
"""The same, of a format that has an event to show that the connection lives."""
LINES = Framing("application/stream+json", _line)
"""A JSON object on each line."""
ARRAY = Framing("application/json; charset=UTF-8", _element, tail=b"\r\n]")
"""One JSON array whose elements come one by one."""
