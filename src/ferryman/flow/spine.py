"""The spine: what happens to a call, in order. Order is correctness, so it stands in one place.

    who      = identify(...)            a virtual key, or 401
    request  = decode(...)              a model name and the caller's own bytes, or 400
    resolved = fleet.resolve(...)       where it may go, or 404
    opened   → journal                  before anything is sent upstream
    for target in plan(...):            until one answers, or the caller leaves
    closed   → journal                  before the caller has the last byte

Every call that was opened is closed exactly once, whatever happens in between.
"""

import time

from ferryman.flow.call import Call, Plane, open_call, settle
from ferryman.flow.deliver import deliver_failure, deliver_stream, deliver_whole, refuse
from ferryman.http1.client import Fault, FaultKind
from ferryman.http1.exchange import Exchange, Headers
from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.meter.keys import digest
from ferryman.routing.plan import plan
from ferryman.telemetry.record import Attempt
from ferryman.upstream.fleet import Fleet, Target
from ferryman.upstream.reply import Reply
from ferryman.wire.openai_chat import request as openai
from ferryman.wire.openai_chat.errors import SURFACED, is_error_object, kind_of
from ferryman.wire.openai_chat.relay import ChatTap
from ferryman.wire.openai_responses.relay import ResponsesTap

_FORWARDED = (b"idempotency-key", b"openai-beta", b"traceparent", b"tracestate")
"""Request headers that an upstream gets to see. All others, credentials above all, end here."""


def identify(plane: Plane, exchange: Exchange) -> str:
    """The id of the caller's virtual key. Raises :class:`GatewayError`: 401, or 503 at start-up."""
    token = b""
    for name, value in exchange.headers:
        if name == b"authorization":
            token = value[7:].strip() if value[:7].lower() == b"bearer " else b""
            break
        if name == b"x-api-key" or name == b"api-key":
            token = value.strip()
    keys = plane.keys
    if keys is None:
        raise GatewayError(
            503,
            ErrorKind.NOT_READY,
            "The gateway has no key table yet: its control plane has not answered since it "
            "started. Retry in a moment.",
            headers=((b"retry-after", b"1"),),
        )
    row = keys.get(digest(plane.pepper, token))
    if row is None or row.revoked or (row.expires and row.expires <= time.time()):
        raise GatewayError(
            401,
            ErrorKind.INVALID_KEY,
            "No valid virtual key. Send one as 'Authorization: Bearer fm-…'; "
            "'ferryman keys create NAME' makes one.",
            headers=((b"www-authenticate", b"Bearer"),),
        )
    return row.id


async def serve(plane: Plane, exchange: Exchange, endpoint: str) -> None:
    """Answer one model call. Never raises; whatever goes wrong becomes an error reply."""
    call = Call(plane, exchange, endpoint)
    plane.metrics.in_flight += 1
    try:
        await _run(call)
    except GatewayError as error:
        refuse(call, error)
    except Exception as error:
        plane.log(f"{call.id}: internal error: {type(error).__name__}: {error}")
        refuse(call, _internal(error))
    finally:
        plane.metrics.in_flight -= 1
        if not plane.metrics.in_flight:
            plane.idle.set()
        if call.opened and not call.settled:
            settle(call, 499 if exchange.gone else 500, ErrorKind.INTERNAL, None)


async def _run(call: Call) -> None:
    plane, exchange = call.plane, call.exchange
    call.key = identify(plane, exchange)
    encoding = exchange.header(b"content-encoding")
    if encoding is not None and encoding.lower() != b"identity":
        raise GatewayError(415, ErrorKind.UNSUPPORTED_MEDIA, "Send the body without compression.")
    request = openai.decode(call.endpoint, exchange.body)
    call.model = request.model
    call.stream = request.stream
    call.summary = request.stream and exchange.header(b"x-ferryman-summary") is not None
    fleet = plane.fleet
    resolved = fleet.resolve(_by_rules(fleet, request))
    order = plan(
        resolved.targets,
        resolved.fallbacks,
        resolved.strategy,
        resolved.weights,
        plane.expected_seconds,
        plane.rng,
    )
    open_call(call, order[0], len(request.body), request.max_output)
    reply: Reply | None = None
    kind: ErrorKind | None = None
    for target in order:
        call.target = target
        reply, kind = await _attempt(call, request, target)
        if kind is None or kind in SURFACED or exchange.gone:
            break
    if exchange.gone:
        settle(call, 499, ErrorKind.CANCELLED, reply.tap.usage if reply and reply.tap else None)
    elif reply is None or kind is not None:
        deliver_failure(call, reply, kind or ErrorKind.INTERNAL)
    elif reply.streaming:
        await deliver_stream(call, reply)
    else:
        deliver_whole(call, reply)


def _by_rules(fleet: Fleet, request: openai.Request) -> str:
    """The model name to serve, after the policies had their say."""
    rules = fleet.snapshot.rules
    if rules:
        metadata = request.metadata()
        for rule in rules:
            if all(metadata.get(name) == value for name, value in rule.when):
                return rule.use
    return request.model


async def _attempt(
    call: Call, request: openai.Request, target: Target
) -> tuple[Reply, ErrorKind | None]:
    """Ask one target. Returns its reply, and how it failed (None = it is fit to be delivered)."""
    plane, exchange = call.plane, call.exchange
    runtime = target.runtime
    started = plane.now()
    tap = None
    if request.stream:
        hide = request.hide_usage and runtime.ask_usage
        make = ResponsesTap if call.endpoint == "responses" else ChatTap
        tap = make(hide_usage=hide)
    reply = Reply(plane.now, tap)
    head = runtime.head(call.endpoint)
    if head is None:
        reply.fault = Fault(FaultKind.CONNECT, f"{runtime.name} does not offer {call.endpoint}")
    else:
        body = openai.encode(request, target.model_json, ask_usage=runtime.ask_usage)
        extra = _forwarded(exchange.headers)
        head = b"%b%d\r\n%b\r\n" % (head, len(body), extra)
        await _exchange(call, reply, target, head, body)
    kind = _verdict(reply)
    ended = plane.now()
    call.waited += ended - started
    ok = kind is None or kind in SURFACED
    if kind is not ErrorKind.CANCELLED:
        first = reply.first_byte if reply.first_byte >= 0 else ended
        plane.observe(target, first - started, ok)
    call.attempts.append(
        Attempt(
            provider=target.provider,
            model=target.model,
            status=reply.status,
            error=kind or "",
            start_us=call.us(started),
            first_byte_us=call.us(reply.first_byte),
            end_us=call.us(ended),
        )
    )
    return reply, kind


async def _exchange(call: Call, reply: Reply, target: Target, head: bytes, body: bytes) -> None:
    """Send the request and wait until the reply can be judged.

    A kept connection may have been closed by the upstream just now: when it fails before one byte
    of a reply, the request is sent once more on a new connection.
    """
    plane, exchange = call.plane, call.exchange
    limits = plane.fleet.snapshot.timeouts
    pool = target.runtime.pool
    connection = pool.take()
    kept = connection is not None
    while True:
        if connection is None:
            try:
                connection = await pool.connect(limits.connect)
            except Fault as failed:
                reply.on_fault(failed)
                return
        if exchange.gone:
            connection.cancel()
            reply.leave()
            return
        reply.connection = connection
        exchange.on_gone = reply.leave
        connection.send(
            reply,
            head,
            body,
            first_byte=limits.first_byte,
            idle=limits.idle,
            total=call.began + limits.total,
        )
        await reply.ready
        fault = reply.fault
        if not (kept and fault is not None and fault.fresh and fault.kind is FaultKind.CLOSED):
            return
        kept, connection = False, None
        reply.again()


def _forwarded(headers: Headers) -> bytes:
    out = b""
    for name, value in headers:
        if name in _FORWARDED:
            out += b"%b: %b\r\n" % (name, value)
    return out


def _verdict(reply: Reply) -> ErrorKind | None:
    """How an attempt failed, or None when its reply is fit to be delivered."""
    fault = reply.fault
    if fault is not None:
        if reply.streaming and reply.tap is not None and reply.tap.content:
            return None  # something was said: the caller gets that, and an error event after it
        return {
            FaultKind.CONNECT: ErrorKind.UPSTREAM_CONNECT,
            FaultKind.TIMEOUT: ErrorKind.UPSTREAM_TIMEOUT,
            FaultKind.CLOSED: ErrorKind.UPSTREAM_TRUNCATED
            if reply.streaming
            else ErrorKind.UPSTREAM_CONNECT,
            FaultKind.PROTOCOL: ErrorKind.UPSTREAM_PROTOCOL,
            FaultKind.CANCELLED: ErrorKind.CANCELLED,
        }[fault.kind]
    if not 200 <= reply.status < 300:
        return kind_of(reply.status, reply.body)
    if reply.streaming:
        tap = reply.tap
        assert tap is not None
        if tap.failure and not tap.content:
            return ErrorKind.UPSTREAM_ERROR
        if reply.ended and not tap.done and not tap.content:
            return ErrorKind.UPSTREAM_TRUNCATED
        return None
    return None if is_error_object(reply.body) else ErrorKind.UPSTREAM_PROTOCOL


def _internal(error: Exception) -> GatewayError:
    text = "The gateway failed to handle this call; its log says more under the request id."
    if type(error).__name__ == "JournalError":
        text = "The gateway cannot write its journal (disk full?), and does not serve what it "
        return GatewayError(503, ErrorKind.INTERNAL, text + "could not account for.")
    return GatewayError(500, ErrorKind.INTERNAL, text)
