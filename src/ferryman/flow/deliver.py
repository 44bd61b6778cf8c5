"""What the caller gets: a whole reply, a stream, or an error, settled before its last byte."""

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from ferryman.catalog.reply_headers import goes_on
from ferryman.flow.allowance import ended, so_far, used_up
from ferryman.flow.bonds import explained
from ferryman.flow.call import Call, in_vain, settle
from ferryman.flow.considered import candidates
from ferryman.flow.guess import suppose
from ferryman.flow.turns import SHOULD_RETRY, note_end, note_stream
from ferryman.guard.engine import Session
from ferryman.http1.client import FaultKind
from ferryman.http1.exchange import Headers
from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.usage import Usage, counts
from ferryman.routing.reactions import hint
from ferryman.telemetry.record import candidate_row
from ferryman.upstream.reply import Reply
from ferryman.wire.formats import client_of
from ferryman.wire.openai_chat.errors import (
    LONGEST_MESSAGE,
    error_facts,
    relayed_error,
)

CHAT = client_of("chat.completions")
_json = msgspec.json.Encoder().encode

JSON: Headers = [(b"content-type", b"application/json")]
_STREAM_HEADERS = b"cache-control: no-cache\r\nx-accel-buffering: no\r\n"
_RETRY = frozenset((b"retry-after", b"retry-after-ms"))
SDK_WAITS: Final = 60.0
"""Seconds of ``retry-after`` beyond which the official SDKs come back at once instead."""
_HOPELESS = frozenset({ErrorKind.UPSTREAM_AUTH, ErrorKind.UPSTREAM_NO_CREDIT})
"""Kinds that no retry cures, whatever their status: the official SDKs heed ``x-should-retry``."""
NO_RETRY: Final = (SHOULD_RETRY, b"false")
_OURS = (ErrorKind.UPSTREAM_TRUNCATED, ErrorKind.UPSTREAM_PROTOCOL)
"""Kinds of a stream's failure that the gateway found, not the provider said."""
_STATUS = {
    ErrorKind.UPSTREAM_RATE_LIMIT: 429,
    ErrorKind.UPSTREAM_NO_CREDIT: 402,
    ErrorKind.UPSTREAM_OVERLOADED: 503,
    ErrorKind.UPSTREAM_TIMEOUT: 504,
    ErrorKind.MODEL_NOT_FOUND: 404,
    ErrorKind.CONTEXT_TOO_LONG: 400,
    ErrorKind.CONTENT_FILTERED: 400,
    ErrorKind.INVALID_REQUEST: 400,
    ErrorKind.GUARDRAIL: 400,
}
"""What the caller gets for an error that came without a status of its own; otherwise 502."""


def deliver_whole(call: Call, reply: Reply) -> None:
    """Send a reply that has come whole."""
    if reply.usage is None:
        suppose(call, reply)
    cost = settle(call, reply.status, None, reply.usage)
    call.exchange.respond(reply.status, _head(call, reply.headers, cost), reply.body)


async def deliver_stream(
    call: Call,
    reply: Reply,
    keeps: Callable[[bytes], Awaitable[None]] | None = None,
    rescue: Callable[[Reply, ErrorKind], Awaitable[Reply | None]] | None = None,
) -> None:
    """Relay a stream whose first content is here, until its end; ``keeps`` gets its last event.

    ``rescue`` is given one that broke off, and why, and gives one that goes on with it.
    """
    exchange, plane, tap = call.exchange, call.plane, reply.tap
    assert tap is not None
    call.stream = True  # also where a form asked for it, or sound comes as a stream by itself
    call.first_token = reply.first_token
    exchange.start(reply.status, _head(call, reply.headers, None) + _STREAM_HEADERS)
    call.started = True
    call.error_event = None if tap.raw else tap.error_event
    waiting, waited = plane.now(), call.waited
    plane.metrics.streams += 1
    if call.allowance is not None:
        reply.over_budget = used_up(call, reply)
    reply.commit(exchange)
    await reply.over
    plane.metrics.streams -= 1
    error = _ended(call, reply)
    while error is not None and rescue is not None:
        further = await rescue(reply, error.kind)
        if further is None:
            break
        reply, tap = further, further.tap
        assert tap is not None
        call.error_event = tap.error_event
        reply.commit(exchange)
        await reply.over
        error = _ended(call, reply)
    call.waited = waited + plane.now() - waiting
    if tap.usage is None or not tap.done:
        suppose(call, reply)
    if exchange.gone or (reply.fault is not None and reply.fault.kind is FaultKind.CANCELLED):
        settle(call, 499, ErrorKind.CANCELLED, tap.usage, tap.done)
        return
    target = call.target
    if target is not None and target.timed and tap.done:
        note_stream(target, reply, tap.usage, plane.now())
    try:
        if error is None:
            if keeps is not None:
                await keeps(tap.ending)
            cost = settle(call, reply.status, None, tap.usage)
            last = tap.ending
        else:
            usage = so_far(call, reply) if reply.spent else tap.usage
            cost = settle(call, reply.status, error.kind, usage, False)
            if tap.raw:
                exchange.abort()
                return
            last = tap.ending or tap.error_event(error, call.id)
    except GatewayError as unrecorded:
        refuse(call, unrecorded)
        return
    if call.summary and not tap.raw:
        last = summary(call, tap.usage, cost) + last
    exchange.finish(last)


def _ended(call: Call, reply: Reply) -> GatewayError | None:
    """A stream is over: note how, and return why if it broke off and its caller is still there."""
    tap, fault = reply.tap, reply.fault
    assert tap is not None
    call.attempts[-1] = replace(
        call.attempts[-1], end_us=call.us(call.plane.now()), last_token_us=call.us(reply.last_token)
    )
    if tap.broken and call.target is not None:
        call.plane.metrics.left_out(call.target.provider, tap.broken)
    if call.exchange.gone or (fault is not None and fault.kind is FaultKind.CANCELLED):
        return None
    if reply.spent:
        note_end(call, reply, None)
        return ended(call)
    error = None if tap.done else _cut_stream(call, reply)
    note_end(call, reply, error.kind if error is not None else None)
    return error


def _cut_stream(call: Call, reply: Reply) -> GatewayError:
    assert reply.tap is not None
    provider = call.target.provider if call.target else "?"
    failure = reply.tap.failure
    if failure is not None and failure.kind is ErrorKind.GUARDRAIL:
        return GatewayError(400, failure.kind, failure.message)
    if failure is not None and failure.kind not in _OURS:
        text = f"{provider} reported an error inside the stream: {failure.message}"
        return GatewayError(_STATUS.get(failure.kind, 502), failure.kind, text)
    fault = reply.fault
    if fault is not None and fault.kind is FaultKind.TIMEOUT:
        return GatewayError(
            504, ErrorKind.UPSTREAM_TIMEOUT, f"The stream from {provider} stalled: {fault.message}."
        )
    why = fault.message if fault is not None else "it ended without its end mark"
    if failure is not None:
        why = failure.message
    return GatewayError(
        502,
        failure.kind if failure is not None else ErrorKind.UPSTREAM_TRUNCATED,
        f"The stream from {provider} was cut: {why}. What came before this is incomplete.",
    )


def summary(call: Call, usage: Usage | None, cost: int | None) -> bytes:
    """A comment (ignored by every SDK) with what the reply headers could not say yet."""
    facts: dict[str, object] = {
        "request_id": call.id,
        "provider": call.target.provider if call.target else None,
        "model": call.target.model if call.target else None,
        "attempts": len(call.attempts),
        "cost_usd": usd(cost) if cost is not None else None,
        "usage": counts(usage) if usage is not None else None,
    }
    if call.unknown_cost and cost is not None:
        facts["unknown_cost"] = call.unknown_cost
    return b": ferryman %b\n\n" % _json(facts)


def deliver_failure(call: Call, reply: Reply, kind: ErrorKind) -> None:
    """Every target failed, or one refused in a way that all would: tell the caller."""
    provider = call.target.provider if call.target else "?"
    usage, whole = in_vain(call)
    # The provider's own words go through as they are, unless they are about our key for it.
    if reply.fault is None and reply.status >= 400 and kind is not ErrorKind.UPSTREAM_AUTH:
        status = reply.status if reply.status < 600 else 502
        if status == 401:
            status = _STATUS.get(kind, 502)  # to the caller it would be about its own key
        body = _their_words(call, status, kind, reply.body)
        if body is not None:
            settle(call, status, kind, usage, whole)
            ours = JSON + _error_headers(kind)
            if kind not in _HOPELESS and hint(reply.headers) > SDK_WAITS:
                ours.append(NO_RETRY)
            names = [name for name, _ in ours]
            theirs = [pair for pair in reply.headers if pair[0] not in names]
            call.exchange.respond(status, _head(call, theirs, None) + _block(ours), body)
            return
        status = status if status in (429, 503, 504) else 502
        if kind in (ErrorKind.INVALID_REQUEST, ErrorKind.MODEL_NOT_FOUND):
            kind = ErrorKind.UPSTREAM_PROTOCOL
        text = f"{provider} answered {reply.status} without a readable error."
        waits = tuple([pair for pair in reply.headers if pair[0] in _RETRY])
        if kind not in _HOPELESS and hint(reply.headers) > SDK_WAITS:
            waits = (*waits, NO_RETRY)
        error = GatewayError(status, kind, text, headers=waits)
    else:
        error = _blame(kind, provider, reply)
    settle(call, error.status, error.kind, usage, whole)
    refuse(call, error)


def used_in_vain(call: Call, reply: Reply, kind: ErrorKind | None) -> tuple[Usage | None, bool]:
    """What a call has used whose answer nobody gets, as far as it is known, and whether that is
    all; ``kind``: how its last attempt failed."""
    if kind is not None:
        return in_vain(call)
    usage, tap = reply.used, reply.tap
    whole = not reply.streaming or (tap is not None and tap.done)
    if usage is None or not whole:
        suppose(call, reply)
    return usage, whole


def _their_words(call: Call, status: int, kind: ErrorKind, body: bytes) -> bytes | None:
    """A provider's error for the caller: as it came where both speak one format, else its words."""
    if call.client is CHAT and call.receipt is None:
        return relayed_error(status, kind, body, call.id)
    said = error_facts(body)
    if not said.message:
        return None
    if call.receipt is None and b'"error"' in body:
        return body
    return call.client.error_body(
        GatewayError(status, kind, said.message[:LONGEST_MESSAGE]), call.id
    )


def _blame(kind: ErrorKind, provider: str, reply: Reply) -> GatewayError:
    """The error for a reply that has no usable one of its own."""
    why = reply.fault.message if reply.fault is not None else ""
    failure = reply.tap.failure if reply.tap is not None else None
    if failure is not None and failure.kind in _OURS and not why:
        why = failure.message
    if kind is ErrorKind.GUARDRAIL:
        text = why or (failure.message if failure is not None else "")
    elif kind is ErrorKind.UPSTREAM_AUTH and why:
        text = f"The gateway has no credentials for {provider}: {why}. Whoever runs it has to look."
    elif kind is ErrorKind.UPSTREAM_AUTH:
        text = f"{provider} refused the gateway's own access to it ({reply.status}); whoever runs "
        text += "the gateway has to look at the key and its permissions."
    elif failure is not None and failure.kind not in _OURS:
        text = f"{provider} reported an error: {failure.message}"
    elif reply.fault is None and kind in _STATUS:
        text = f"{provider} reported an error: {_words(reply.body)}"
    elif kind is ErrorKind.UPSTREAM_CONNECT and reply.connection is None:
        text = f"{provider} could not be reached: {why}."
    elif kind is ErrorKind.UPSTREAM_CONNECT:
        text = f"{provider} hung up without an answer: {why}."
    elif kind is ErrorKind.UPSTREAM_TIMEOUT:
        text = f"{provider} did not answer in time: {why}."
    elif kind is ErrorKind.UPSTREAM_TRUNCATED and reply.streaming:
        text = f"The stream from {provider} ended before it said anything."
    elif kind is ErrorKind.UPSTREAM_TRUNCATED:
        text = f"The reply from {provider} was cut before it was complete: {why}."
    elif 300 <= reply.status < 400:
        text = f"{provider} answered {reply.status}, a redirect; its base URL has to be set right."
    else:
        text = (
            f"{provider} gave no usable answer: {why or 'its reply is not what the format says'}."
        )
    return GatewayError(_STATUS.get(kind, 502), kind, text)


def _words(data: bytes) -> str:
    said = error_facts(data)
    return (said.message or said.code or said.type or "it did not say which")[:LONGEST_MESSAGE]


def refuse(call: Call, error: GatewayError) -> None:
    """Send an error in the caller's format: as an event, if its stream has begun; as a cut where
    that has no events."""
    if call.error_event is not None:
        call.exchange.finish(call.error_event(error, call.id))
        return
    if call.started:
        call.exchange.abort()
        return
    block, body = _refusal(call, error)
    call.exchange.respond(error.status, block, body)


def refuse_instead(call: Call, error: GatewayError) -> None:
    """The same, in place of the end of an answer that has not left yet."""
    if call.error_event is not None:
        call.exchange.instead(0, b"", call.error_event(error, call.id))
    elif call.started:
        call.exchange.instead(0, b"", b"")
    else:
        block, body = _refusal(call, error)
        call.exchange.instead(error.status, block, body)


def _refusal(call: Call, error: GatewayError) -> tuple[bytes, bytes]:
    """Header lines and body of an error."""
    headers = [*JSON, (b"x-ferryman-request-id", call.id.encode()), *error.headers]
    if call.policy:
        headers.append((b"x-ferryman-policy", call.policy.encode()))
    block = _block(headers + _error_headers(error.kind))
    if call.session is not None:
        block += _guard_line(call.session)
    if call.explain:
        block += _explained(call)
    if call.attempts and call.target is not None:
        block += b"%bx-ferryman-attempts: %d\r\n" % (call.target.labels, len(call.attempts))
    return block, call.client.error_body(error, call.id)


def _block(headers: Headers) -> bytes:
    return b"".join([b"%b: %b\r\n" % pair for pair in headers])


def _error_headers(kind: ErrorKind) -> Headers:
    """The gateway's own code, also where the body is the provider's."""
    headers = [(b"x-ferryman-error", kind.encode())]
    if kind in _HOPELESS:
        headers.append(NO_RETRY)
    return headers


def _head(call: Call, upstream: Headers, cost: int | None) -> bytes:
    """Reply headers: the provider's own, less the hop's, plus the gateway's."""
    pairs: list[Any] = upstream
    known = _limited_lines if call.limit_lines else _lines
    relayed = [
        _relay_line(pair, known) if (line := known.get(pair)) is None else line for pair in pairs
    ]
    target = call.target
    assert target is not None
    overhead = max(int((call.plane.now() - call.began - call.waited) * 1e6), 0)
    # One by one: compiled, that costs less than to make a tuple of them first.
    relayed.append(b"x-ferryman-request-id: ")
    relayed.append(call.id.encode())
    relayed.append(b"\r\n")
    relayed.append(target.labels)
    attempts = len(call.attempts)
    relayed.append(_ONE_ATTEMPT if attempts == 1 else b"x-ferryman-attempts: %d\r\n" % attempts)
    if overhead < 1000:
        relayed.append(_OVERHEAD[overhead])
    else:
        relayed.append(b"x-ferryman-overhead-ms: %d" % (overhead // 1000))
        relayed.append(_PARTS[overhead % 1000])
    if cost is not None:
        relayed.append(b"x-ferryman-cost-usd: ")
        relayed.append(usd(cost).encode())
        relayed.append(b"\r\n")
        if call.unknown_cost:
            relayed.append(b"x-ferryman-unknown-cost: %d\r\n" % call.unknown_cost)
    if call.limit_lines:
        relayed.append(call.limit_lines)
    if call.queued:
        relayed.append(b"x-ferryman-queued-ms: %d\r\n" % int(call.queued * 1000))
    if call.receipt is not None or call.policy:
        relayed.append(_receipt_lines(call))
    if call.session is not None:
        relayed.append(_guard_line(call.session))
    if call.explain:
        relayed.append(_explained(call))
    return b"".join(relayed)


def _guard_line(session: Session) -> bytes:
    """What guards have found so far, unless they only log it."""
    said = session.header()
    return b"x-ferryman-guard: %b\r\n" % said.encode() if said else b""


def _explained(call: Call) -> bytes:
    """Who was to be asked, who rested and why, and what came of the attempts; ASCII in one line."""
    attempts: list[dict[str, object]] = [
        {
            "target": f"{tried.provider}/{tried.model}",
            "status": tried.status,
            "error": tried.error,
            "start_ms": tried.start_us / 1000,
            "end_ms": tried.end_us / 1000,
        }
        for tried in call.attempts[:8]
    ]
    considered = [candidate_row(each) for each in candidates(call)[:8]]
    told: dict[str, object] = {"considered": considered, "attempts": attempts}
    if call.affinity is not None:
        told["affinity"] = explained(call, call.affinity)
    if call.limits:
        told["limits"] = [
            {name: each[name] for name in ("key", "measure", "per", "most", "left")}
            for each in call.limits[:8]
        ]
    said = json.dumps(told)
    if len(said) > LONGEST_EXPLANATION:
        said = '{"shortened": true}'  # names may be as long as callers like
    return b"x-ferryman-explain: %b\r\n" % said.encode()


LONGEST_EXPLANATION: Final = 3000


def _receipt_lines(call: Call) -> bytes:
    """Which policy it was, and what was lost or changed; entries are printable ASCII already."""
    lines = b"x-ferryman-policy: %b\r\n" % call.policy.encode() if call.policy else b""
    dropped = call.receipt.dropped if call.receipt is not None else ()
    for name, entries in ((b"dropped", dropped), (b"altered", call.altered)):
        if entries:
            lines += b"x-ferryman-%b: %b\r\n" % (name, _listed(entries))
    return lines


LONGEST_LIST = 1500
"""Bytes of a header's list: proxies give all of a reply's head as little as 4 KiB."""


def _listed(entries: tuple[str, ...]) -> bytes:
    """``entries`` as far as there is room, and how many more there are; the record has them all."""
    shown = list(entries)
    while len(shown) > 1 and sum(map(len, shown)) + 2 * len(shown) > LONGEST_LIST:
        shown.pop()
    if len(shown) < len(entries):
        shown.append(f"and {len(entries) - len(shown)} more")
    return ", ".join(shown).encode()


_ONE_ATTEMPT: Final = b"x-ferryman-attempts: 1\r\n"
_PARTS: Final = [b".%03d\r\n" % us for us in range(1000)]
_OVERHEAD: Final = [b"x-ferryman-overhead-ms: 0%b" % part for part in _PARTS]
"""The usual cases, ready to send: to format numbers is a good part of what a head costs."""


_lines: Final[dict[Any, bytes]] = {}
"""Reply header lines that providers repeat, ready to send; empty for those that are dropped. By
pairs (``Any``, since compiled code would make a new one for each look)."""
_limited_lines: Final[dict[Any, bytes]] = {}
"""The same where limits of ours are said in place of the provider's."""
LINES_KEPT: Final = 2048


def _relay_line(pair: tuple[bytes, bytes], known: dict[Any, bytes]) -> bytes:
    dropped = known is _limited_lines and pair[0].startswith(b"x-ratelimit-")
    line = b"%b: %b\r\n" % pair if goes_on(pair[0]) and not dropped else b""
    if len(pair[0]) + len(pair[1]) <= 128:
        if len(known) >= LINES_KEPT:
            known.clear()
        known[pair] = line
    return line


def usd(picodollars: int) -> str:
    """An exact decimal: ``150_000_000`` → ``0.00015``."""
    number, places = picodollars, 12
    while places and not number % 10:
        number //= 10
        places -= 1
    text = str(number)
    if not places:
        return text
    whole = len(text) - places
    if whole > 0:
        return f"{text[:whole]}.{text[whole:]}"
    return f"0.{'0' * -whole}{text}"
