"""Trace context of callers: read, and passed on: https://www.w3.org/TR/trace-context/."""

import re
from typing import TYPE_CHECKING, Final

from ferryman.http1.exchange import Headers
from ferryman.telemetry.record import Trace
from ferryman.telemetry.spans import attempt_span

if TYPE_CHECKING:
    from ferryman.flow.call import Call
    from ferryman.upstream.fleet import Target

_PARENT: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_MEMBER: Final = re.compile(
    rb"([a-z0-9][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
    rb"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
MOST_MEMBERS: Final = 32
LONGEST_STATE: Final = 512
"""Bytes of a ``tracestate`` that is kept, as much as everybody has to."""
_KNOWN_FLAGS: Final = 3


def traced(headers: Headers) -> tuple[Trace | None, bytes]:
    """The trace and the baggage that the headers of a call tell of."""
    if not headers:
        return None, b""
    said: dict[bytes, bytes] = {}
    for name, value in headers:
        said[name] = b"%b,%b" % (said[name], value) if name in said else value
    parent, state = said.get(b"traceparent", b""), said.get(b"tracestate", b"")
    return trace_of(parent, state), said.get(b"baggage", b"")


def trace_of(parent: bytes, state: bytes) -> Trace | None:
    """The trace that the two headers tell of; several of a kind are joined by commas.

    None where ``traceparent`` is missing or can't be read: as the standard wants, both are as if
    they had not been sent then, and a bad ``tracestate`` alone is.
    """
    found = _PARENT.fullmatch(parent.strip())
    if found is None:
        return None
    version, ident, span, flags, more = found.groups()
    if version == b"ff" or (more and version == b"00"):
        return None
    if not ident.strip(b"0") or not span.strip(b"0"):
        return None
    known = int(flags, 16) & _KNOWN_FLAGS
    return Trace(ident.decode(), span.decode(), known, _sound(state))


def _sound(state: bytes) -> str:
    """``state``, or nothing if it breaks the rules."""
    members = [member for each in state.split(b",") if (member := each.strip(b" \t"))]
    names = {member.partition(b"=")[0] for member in members}
    if len(state) > LONGEST_STATE or len(members) > MOST_MEMBERS or len(names) < len(members):
        return ""
    if not all(_MEMBER.fullmatch(member) for member in members):
        return ""
    return b",".join(members).decode()


def passed_on(call: "Call", target: "Target", started: float) -> bytes:
    """Header lines for the attempt at ``target`` that began at ``started``: the caller's trace, in
    which that attempt is the parent of what the provider does."""
    trace, wanted = call.trace, call.plane.fleet.snapshot.telemetry
    lines = ""
    if trace is not None and wanted.traceparent:
        at_us = int((started - call.began) * 1e6)
        span = attempt_span(call.id, target.provider, target.model, at_us)
        lines = f"traceparent: 00-{trace.id}-{span}-{trace.flags:02x}\r\n"
        if trace.state:
            lines += f"tracestate: {trace.state}\r\n"
    if call.baggage and wanted.baggage:
        return b"%bbaggage: %b\r\n" % (lines.encode(), call.baggage)
    return lines.encode()
