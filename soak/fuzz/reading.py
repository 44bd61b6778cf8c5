"""A second opinion on HTTP/1.1: takes what RFC 9112 leaves one meaning, and nothing else.

It shares nothing with the ends that it judges; slow, and for whole streams of bytes only.
"""

import re
from typing import NamedTuple

Headers = list[tuple[bytes, bytes]]
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_ASKED = re.compile(rb"([A-Z]+(?:-[A-Z]+)*) +([\x21-\x7e]+) +HTTP/(1\.[01])")
_SAID = re.compile(rb"HTTP/(1\.[01]) ([1-9][0-9]{2})(?: [^\r\n]*)?")  # the phrase says nothing
_FIELD = re.compile(rb"(%b):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*" % _TOKEN)
_CHUNK = re.compile(rb"0*([0-9A-Fa-f]{1,16})(?:;[\t\x20-\x7e\x80-\xff]*)?\r\n")


class UnclearError(Exception):
    """There is more than one way to read it, or none."""


class WantsMoreError(Exception):
    """It ends inside a message."""


class Asked(NamedTuple):
    """A request."""

    method: bytes
    target: bytes
    headers: Headers
    body: bytes
    keeps: bool
    """Whether another may follow."""


class Said(NamedTuple):
    """A reply; ``keeps``: whether another may follow."""

    status: int
    headers: Headers
    body: bytes
    keeps: bool


def _head(data: bytes, at: int) -> tuple[bytes, Headers, int]:
    while data[at : at + 1] in (b"\r", b"\n"):
        at += 1  # blank lines, of whatever kind, are no message's
    end = data.find(b"\r\n\r\n", at)
    if end < 0:
        raise WantsMoreError
    first, *lines = data[at:end].split(b"\r\n")
    return first, [_field(line) for line in lines], end + 4


def _field(line: bytes) -> tuple[bytes, bytes]:
    found = _FIELD.fullmatch(line)
    if found is None:
        raise UnclearError(f"no field: {line[:80]!r}")
    return found[1].lower(), found[2]


def _of(headers: Headers, name: bytes) -> list[bytes]:
    return [value for each, value in headers if each == name]


def _body(
    data: bytes, at: int, headers: Headers, *, strict: bool = False
) -> tuple[bytes, int] | None:
    """The body that the head announces, and where it ends; None when it announces none.

    ``strict``: no framing among trailers, where somebody behind us could take it for the head's.
    """
    lengths, codings = _of(headers, b"content-length"), _of(headers, b"transfer-encoding")
    if codings:
        if lengths or [each.lower() for each in codings] != [b"chunked"]:
            raise UnclearError("coding")
        return _chunks(data, at, strict)
    if not lengths:
        return None
    if len(lengths) > 1 or not re.fullmatch(rb"[0-9]{1,18}", lengths[0]):
        raise UnclearError("length")
    end = at + int(lengths[0])
    if end > len(data):
        raise WantsMoreError
    return data[at:end], end


def _chunks(data: bytes, at: int, strict: bool) -> tuple[bytes, int]:
    out = []
    while True:
        if data.find(b"\r\n", at) < 0:
            raise WantsMoreError
        found = _CHUNK.match(data, at)
        if found is None:
            raise UnclearError("chunk")
        at = found.end()
        size = int(found[1], 16)
        if not size:
            break
        if len(data) < at + size + 2:
            raise WantsMoreError
        out.append(data[at : at + size])
        at += size
        if data[at : at + 2] != b"\r\n":
            raise UnclearError("end of a chunk")
        at += 2
    while True:  # trailers
        end = data.find(b"\r\n", at)
        if end < 0:
            raise WantsMoreError
        line = data[at:end]
        at = end + 2
        if not line:
            return b"".join(out), at
        name, _ = _field(line)
        if strict and name in (b"content-length", b"transfer-encoding"):
            raise UnclearError("framing in trailers")


def _keeps(version: bytes, headers: Headers) -> bool:
    said = b",".join(_of(headers, b"connection")).lower()
    words = [word.strip(b" \t") for word in said.split(b",")]
    return b"close" not in words if version == b"1.1" else b"keep-alive" in words


def requests(data: bytes) -> tuple[list[Asked], str]:
    """The requests of a stream, and how it ends: ``clear``, ``unclear``, ``more``, ``close``."""
    out: list[Asked] = []
    at = 0
    while data[at:].strip(b"\r\n"):
        try:
            first, headers, at = _head(data, at)
            line = _ASKED.fullmatch(first)
            if line is None:
                raise UnclearError("first line")
            body, at = _body(data, at, headers, strict=True) or (b"", at)
            if line[3] == b"1.0" and _of(headers, b"transfer-encoding"):
                raise UnclearError("coding in HTTP/1.0")
        except WantsMoreError:
            return out, "more"
        except UnclearError:
            return out, "unclear"
        out.append(Asked(line[1], line[2], headers, body, _keeps(line[3], headers)))
        if not out[-1].keeps:
            return out, "close"
    return out, "clear"


def reply(data: bytes, *, closed: bool, head: bool = False) -> tuple[Said, bytes]:
    """The first final reply of a stream, and what follows it. ``closed``: nothing more will come.

    Raises :class:`UnclearError` and :class:`WantsMoreError`.
    """
    at = 0
    while True:
        first, headers, at = _head(data, at)
        line = _SAID.fullmatch(first)
        if line is None:
            raise UnclearError("first line")
        status = int(line[2])
        if status == 101:
            raise UnclearError("switch")
        if status >= 200:
            break
    keeps = _keeps(line[1], headers)
    bare = status in (204, 304) or head
    found = (b"", at) if bare else _body(data, at, headers)
    if found is None:
        if not closed:
            raise WantsMoreError
        found, keeps = (data[at:], len(data)), False
    body, at = found
    return Said(status, headers, body, keeps), data[at:]
