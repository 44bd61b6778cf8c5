"""The record of an attempt: when what happened, with which key, over which connection."""

from typing import Any, Final

from ferryman.catalog.request_ids import REQUEST_IDS
from ferryman.flow.call import Call
from ferryman.http1.exchange import Headers
from ferryman.ir.errors import ErrorKind
from ferryman.routing.reactions import hint
from ferryman.telemetry.record import Attempt, Dial
from ferryman.upstream.fleet import Target
from ferryman.upstream.reply import Reply

HINTING: Final = 8192
"""Bytes of an error's body that are searched for a time to wait."""
LONGEST_ID: Final = 128
"""Characters of what a provider calls a request."""


class Times:
    """When an attempt began, was sent and ended (loop seconds); the ``steps`` of its connection."""

    __slots__ = ("ended", "sent", "started", "steps")

    def __init__(self, started: float, sent: float, ended: float, steps: list[float]) -> None:
        self.started = started
        self.sent = sent
        self.ended = ended
        self.steps = steps


def recorded(
    call: Call, target: Target, slot: int, reply: Reply, kind: ErrorKind | None, times: Times
) -> Attempt:
    """An attempt that has failed in this way, or has begun to answer."""
    runtime, receipt = target.runtime, call.receipt
    queued, retry = 0, -1
    if call.queued:
        queued = int((call.queued - call.queued_before) * 1e6)
        call.queued_before = call.queued
    if kind is not None and reply.status >= 400:
        wait = hint(reply.headers, None, reply.body[:HINTING])
        retry = int(wait * 1000) if wait >= 0 else -1
    return Attempt(
        target.provider,
        target.model,
        reply.status,
        kind or "",
        call.us(times.started),
        call.us(reply.first_byte),
        call.us(times.ended),
        runtime.provider.format if receipt is not None else "",
        receipt.dropped if receipt is not None else (),
        call.altered,
        None,
        None,
        True,
        "",
        None,
        runtime.key_names[slot],
        _upstream_id(reply.headers) if reply.status else "",
        queued,
        _dial(call, times.steps) if times.steps else None,
        call.us(times.sent) if reply.connection is not None else -1,
        call.us(reply.first_token),
        -1,
        retry,
        target.written.region,
        target.written.data_policy,
    )


def _upstream_id(headers: Headers) -> str:
    pairs: list[Any] = headers
    for pair in pairs:
        if pair[0] in REQUEST_IDS:
            value: bytes = pair[1]
            return value[:LONGEST_ID].decode("latin-1")
    return ""


def _dial(call: Call, steps: list[float]) -> Dial:
    found = [call.us(step) for step in steps[-3:]]
    return Dial(found[0], found[1] if len(found) > 1 else -1, found[2] if len(found) > 2 else -1)
