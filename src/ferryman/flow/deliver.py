"""What the caller gets: a whole reply, a stream, or an error, settled before its last byte."""

import msgspec

from ferryman.flow.call import Call, settle
from ferryman.http1.client import FaultKind
from ferryman.http1.exchange import Headers
from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.price import PICO
from ferryman.ir.usage import Usage
from ferryman.upstream.reply import Reply
from ferryman.wire.openai_chat.errors import error_body, error_event, error_facts, is_error_object

_json = msgspec.json.Encoder().encode

JSON: Headers = [(b"content-type", b"application/json")]
_STREAM_HEADERS = b"cache-control: no-cache\r\nx-accel-buffering: no\r\n"
_DROPPED = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization te trailer transfer-encoding "
    b"upgrade content-length date server set-cookie set-cookie2 alt-svc strict-transport-security "
    b"cache-control x-accel-buffering access-control-allow-origin proxy-connection "
    b"x-ferryman-request-id x-ferryman-provider x-ferryman-model x-ferryman-attempts "
    b"x-ferryman-overhead-ms x-ferryman-cost-usd".split()
)
"""Reply headers that are the hop's or the provider's own business."""


def deliver_whole(call: Call, reply: Reply) -> None:
    """Send a reply that has come whole."""
    cost = settle(call, reply.status, None, reply.usage)
    call.exchange.respond(reply.status, _head(call, reply.headers, cost), reply.body)


async def deliver_stream(call: Call, reply: Reply) -> None:
    """Relay a stream whose first content is here, until its end."""
    exchange, plane, tap = call.exchange, call.plane, reply.tap
    assert tap is not None
    call.first_token = reply.first_token
    exchange.start(reply.status, _head(call, reply.headers, None) + _STREAM_HEADERS)
    waiting = plane.now()
    plane.metrics.streams += 1
    reply.commit(exchange)
    await reply.over
    plane.metrics.streams -= 1
    call.waited += plane.now() - waiting
    if exchange.gone or (reply.fault is not None and reply.fault.kind is FaultKind.CANCELLED):
        settle(call, 499, ErrorKind.CANCELLED, tap.usage)
    elif tap.done:
        cost = settle(call, reply.status, None, tap.usage)
        last = tap.ending
        if call.summary:
            last = _summary(call, tap.usage, cost) + last
        exchange.finish(last)
    else:
        error = _cut_stream(call, reply)
        settle(call, reply.status, error.kind, tap.usage)
        exchange.finish(error_event(error, call.id))


def _cut_stream(call: Call, reply: Reply) -> GatewayError:
    assert reply.tap is not None
    provider = call.target.provider if call.target else "?"
    if reply.tap.failure:
        said = error_facts(reply.tap.failure)
        text = f"{provider} reported an error inside the stream: {said.message or said.code}"
        return GatewayError(502, ErrorKind.UPSTREAM_ERROR, text)
    fault = reply.fault
    if fault is not None and fault.kind is FaultKind.TIMEOUT:
        return GatewayError(
            504, ErrorKind.UPSTREAM_TIMEOUT, f"The stream from {provider} stalled: {fault.message}."
        )
    why = fault.message if fault is not None else "it ended without its end mark"
    return GatewayError(
        502,
        ErrorKind.UPSTREAM_TRUNCATED,
        f"The stream from {provider} was cut: {why}. What came before this is incomplete.",
    )


def _summary(call: Call, usage: Usage | None, cost: int | None) -> bytes:
    """A comment (ignored by every SDK) with what the reply headers could not say yet."""
    facts = {
        "request_id": call.id,
        "provider": call.target.provider if call.target else None,
        "model": call.target.model if call.target else None,
        "attempts": len(call.attempts),
        "cost_usd": usd(cost) if cost is not None else None,
        "usage": {n: getattr(usage, n) for n in Usage.__struct_fields__} if usage else None,
    }
    return b": ferryman %b\n\n" % _json(facts)


def deliver_failure(call: Call, reply: Reply | None, kind: ErrorKind) -> None:
    """Every target failed, or one refused in a way that all would: tell the caller."""
    provider = call.target.provider if call.target else "?"
    status = reply.status if reply is not None else 0
    body = reply.body if reply is not None else b""
    # The provider's own words go through as they are, unless they are about our key for it.
    ours = status in (401, 403) or kind is ErrorKind.UPSTREAM_AUTH
    if reply is not None and reply.fault is None and status >= 400 and not ours:
        if is_error_object(body):
            settle(call, status, kind, None)
            call.exchange.respond(status, _head(call, reply.headers, None), body)
            return
        status = status if status in (429, 503, 504) else 502
        kind = kind if kind is not ErrorKind.INVALID_REQUEST else ErrorKind.UPSTREAM_PROTOCOL
        text = f"{provider} answered {reply.status} without a readable error."
        error = GatewayError(status, kind, text)
    else:
        error = GatewayError(*_blame(kind, provider, reply))
    settle(call, error.status, error.kind, None)
    refuse(call, error)


def _blame(kind: ErrorKind, provider: str, reply: Reply | None) -> tuple[int, ErrorKind, str]:
    why = reply.fault.message if reply is not None and reply.fault is not None else ""
    if kind is ErrorKind.UPSTREAM_CONNECT:
        return 502, kind, f"{provider} could not be reached: {why}."
    if kind is ErrorKind.UPSTREAM_TIMEOUT:
        return 504, kind, f"{provider} did not answer in time: {why or 'it said so itself'}."
    if kind is ErrorKind.UPSTREAM_AUTH:
        status = reply.status if reply is not None else 0
        text = f"{provider} refused the gateway's key for it ({status}); whoever runs the gateway "
        return 502, kind, text + "has to look at that key."
    if kind is ErrorKind.UPSTREAM_TRUNCATED:
        return 502, kind, f"The stream from {provider} ended before it said anything: {why}."
    if kind is ErrorKind.UPSTREAM_ERROR and reply is not None and reply.tap and reply.tap.failure:
        said = error_facts(reply.tap.failure)
        return 502, kind, f"{provider} reported an error: {said.message or said.code or 'unnamed'}"
    text = why or "its reply is not what the format asks for"
    return 502, ErrorKind.UPSTREAM_PROTOCOL, f"{provider} gave no usable answer: {text}."


def refuse(call: Call, error: GatewayError) -> None:
    """Send an error in the caller's format."""
    headers = [*JSON, (b"x-ferryman-request-id", call.id.encode()), *error.headers]
    if call.attempts:
        headers.append((b"x-ferryman-attempts", b"%d" % len(call.attempts)))
    call.exchange.respond(error.status, headers, error_body(error, call.id))


def _head(call: Call, upstream: Headers, cost: int | None) -> bytes:
    """Reply headers: the provider's own, less the hop's, plus the gateway's."""
    relayed = [
        _relay_line(pair) if (line := _lines.get(pair)) is None else line for pair in upstream
    ]
    target = call.target
    assert target is not None
    overhead = (call.plane.now() - call.began - call.waited) * 1e3
    relayed.append(
        b"x-ferryman-request-id: %b\r\n%bx-ferryman-attempts: %d\r\n"
        b"x-ferryman-overhead-ms: %.3f\r\n"
        % (call.id.encode(), target.labels, len(call.attempts), overhead)
    )
    if cost is not None:
        relayed.append(b"x-ferryman-cost-usd: %b\r\n" % usd(cost).encode())
    return b"".join(relayed)


_lines: dict[tuple[bytes, bytes], bytes] = {}
"""Reply header lines that providers repeat, ready to send; empty for those that are dropped."""
LINES_KEPT = 2048


def _relay_line(pair: tuple[bytes, bytes]) -> bytes:
    line = b"" if pair[0] in _DROPPED else b"%b: %b\r\n" % pair
    if len(pair[1]) <= 100:
        if len(_lines) >= LINES_KEPT:
            _lines.clear()
        _lines[pair] = line
    return line


def usd(picodollars: int) -> str:
    """An exact decimal: ``150_000_000`` → ``0.00015``."""
    whole, part = divmod(picodollars, PICO)
    return f"{whole}.{part:012d}".rstrip("0").rstrip(".")
