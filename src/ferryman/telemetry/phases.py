"""What an attempt spent its time on, from its times as the ledger has them. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

PAUSE, QUEUE, LOOKUP, CONNECT, TLS, WAIT, BEGIN, FLOW = (
    "pause", "queue", "lookup", "connect", "tls", "wait", "begin", "flow",
)  # fmt: skip
MEANINGS: Final = {
    PAUSE: "pausing before the next try",
    QUEUE: "waiting for a place",
    LOOKUP: "looking up the name",
    CONNECT: "connecting",
    TLS: "TLS",
    WAIT: "waiting for the first byte",
    BEGIN: "waiting for the first token",
    FLOW: "receiving",
}
"""Phase → what it is, in the order in which they come."""


PAUSED_FROM: Final = 1000
"""Microseconds between two attempts that are a pause: less is the gateway's own time."""


class Phase(NamedTuple):
    """A stretch of a call, in microseconds since it began."""

    kind: str
    begin: int
    end: int


def phases(attempt: Mapping[str, Any], call_end: int, before: int = -1) -> list[Phase]:
    """The phases of an attempt that are known, one after the other; ``call_end`` ends one that has
    no end of its own. ``before``: when the last of the attempts before it had ended (-1 = there
    was none, or none has); what lies between is a pause."""
    start = attempt["start_us"]
    end = attempt["end_us"] if attempt["end_us"] >= 0 else max(call_end, start)
    dial = attempt.get("dial") or {}
    turns = (
        (LOOKUP, dial.get("resolved_us")),
        (CONNECT, dial.get("connected_us")),
        (TLS, dial.get("secured_us")),
        (WAIT, attempt["first_byte_us"]),
        (BEGIN, attempt.get("first_token_us")),
    )
    queued = attempt.get("queued_us") or 0
    found = [Phase(QUEUE, start - queued, start)] if queued else []
    if 0 <= before <= start - queued - PAUSED_FROM:
        found.insert(0, Phase(PAUSE, before, start - queued))
    at = start
    for kind, until in turns:
        if until is not None and at <= until <= end:
            found.append(Phase(kind, at, until))
            at = until
    answered = attempt["first_byte_us"] >= 0
    if at < end or at == start:
        found.append(Phase(FLOW if answered else WAIT, at, end))
    return found


def all_phases(attempts: Sequence[Mapping[str, Any]], call_end: int) -> list[list[Phase]]:
    """The phases of each attempt of a call, with the pauses between them."""
    found, before = [], -1
    for each in attempts:
        found.append(phases(each, call_end, before))
        before = max(before, each["end_us"])
    return found


def tokens_per_second(attempts: list[dict[str, Any]], output: int) -> float | None:
    """How quickly the last attempt said ``output`` tokens: of a stream from its first token to its
    last; of a whole answer as long as it took. None = unknown."""
    if not attempts or not output:
        return None
    last = attempts[-1]
    begin, end = last.get("first_token_us"), last.get("last_token_us")
    if begin is None:
        begin, end = last["start_us"], last["end_us"]
    if last["error"] or end is None or end - begin < 1000:
        return None
    return round(output * 1e6 / float(end - begin), 1)
