"""The spine: what happens to a call, in order. Order is correctness, so it stands in one place.

    who      = identify(...)            a virtual key, or 401
    request  = decode(...)              a model name and the caller's own bytes, or 400
    resolved = fleet.resolve(...)       where it may go, or 404
    opened   → journal                  before anything is sent upstream
    for target in plan(...):            until one answers, or the caller leaves
    closed   → journal                  before the caller has the last byte

Every call that was opened is closed exactly once, whatever happens in between.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from ferryman.config.feed import NO_FACTS
from ferryman.flow.accounts import sooner
from ferryman.flow.asking import LARGE, Asking, ask, crowd, read_whole, takes_long
from ferryman.flow.attempts import Times, recorded
from ferryman.flow.bearers import acquaint
from ferryman.flow.bonds import bind
from ferryman.flow.bounds import most_cost
from ferryman.flow.call import (
    NOTHING,
    Call,
    Plane,
    in_vain,
    settle,
    settle_anyhow,
    told,
)  # fmt: skip
from ferryman.flow.counting import count, counted_here
from ferryman.flow.deliver import (
    deliver_failure,
    deliver_stream,
    deliver_whole,
    refuse,
    used_in_vain,
)
from ferryman.flow.doubts import doubt, hold_for
from ferryman.flow.filtering import narrow
from ferryman.flow.guarding import guard, judged_at_end, stopped
from ferryman.flow.headers import HeaderFacts, agent_of, facts_of, identify
from ferryman.flow.judge import Spare, judged
from ferryman.flow.key_bounds import check_model, confine
from ferryman.flow.labels import labels_by_key, labels_of
from ferryman.flow.limiting import everyone, reserve, unbounded
from ferryman.flow.owing import open_call
from ferryman.flow.policies import steer, tags_of
from ferryman.flow.queueing import give_back, line_up
from ferryman.flow.race import race
from ferryman.flow.reading import is_plain, read_request
from ferryman.flow.refusals import LIMITED, STATUSES
from ferryman.flow.replay import replayed
from ferryman.flow.rescue import go_on
from ferryman.flow.strangers import count_stranger, struck
from ferryman.flow.tracing import passed_on
from ferryman.flow.turns import Turns, adopt, begin, leave, note, note_rest
from ferryman.flow.window import gives, surely_fits, text_size, too_much
from ferryman.http1.client import USED_UP, ClientConnection, Fault, FaultKind
from ferryman.http1.connect import SLOW
from ferryman.http1.exchange import Exchange, Headers
from ferryman.http1.pool import Pool
from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.upstream.fleet import Resolved, Runtime, Target
from ferryman.upstream.reply import Reply
from ferryman.wire import envelope
from ferryman.wire.bedrock_converse.errors import kind_of_reply
from ferryman.wire.format import ReplyError
from ferryman.wire.openai_chat.errors import SURFACED
from ferryman.wire.paths import EVENTS

_FAULTS = {
    FaultKind.CONNECT: ErrorKind.UPSTREAM_CONNECT,
    FaultKind.TIMEOUT: ErrorKind.UPSTREAM_TIMEOUT,
    FaultKind.CLOSED: ErrorKind.UPSTREAM_TRUNCATED,
    FaultKind.PROTOCOL: ErrorKind.UPSTREAM_PROTOCOL,
    FaultKind.CANCELLED: ErrorKind.CANCELLED,
}


async def serve(
    plane: Plane, exchange: Exchange, endpoint: str, model: str = "", stream: bool = False
) -> None:
    """Answer one model call. Never raises; whatever goes wrong becomes an error reply. ``model``
    and ``stream`` are what the URL says, for endpoints that have it there."""
    call = Call(plane, exchange, endpoint)
    plane.metrics.in_flight += 1
    try:
        if plane.metrics.in_flight > plane.max_calls:
            raise _crowded(plane)
        facts = facts_of(plane, exchange)
        if facts.bearer:
            await acquaint(call, facts)
        _introduce(call, facts)
        if is_plain(call, facts, model):
            request = envelope.decode(endpoint, exchange.body)
        else:
            request = await read_request(call, facts, model, stream)
        _heed(call, facts, request)
        if call.whose is not None or facts.labelled or request.labelled:
            _label(call, request, facts)
        if plane.sample():
            call.measured = text_size(request.body)
        if plane.policies or facts.steers:
            request = await steer(call, request, facts)
        resolved = leads_to(call, request)
        if is_narrower(call, request, resolved, facts):
            request, resolved = await narrow(call, request, resolved, facts)
        if plane.guards is not None and (call.guards or plane.guards.always):
            request = await guard(call, request, facts, resolved)
        if (plane.caching or facts.once) and await replayed(call, request, resolved, facts):
            return
        exchange = call.exchange
        turns = turns_of(call, request, resolved, facts)
        first = turns.order[0]
        if facts.explain:
            call.explain = True
            note_rest(call, first, plane.now())
        if counted_here(call, first):
            await count(call, request, first)
            return
        if plane.limits is not None:
            waits = reserve(call, request, turns, facts)
            if waits is not None:
                await waits
        open_call(call, first, most_cost(call, request, everyone(call, turns)))
        reply, kind, unfit = await _first_good(call, request, turns, facts)
        if unfit is not None:
            raise unfit
        if call.session is not None and await stopped(call, call.session, reply, kind):
            return
        if exchange.gone:
            await _left(call, reply, kind)
        elif kind is not None:
            deliver_failure(call, reply, kind)
        elif reply.streaming:
            rescue = _rescue(call, request, turns, facts) if call.rescue else None
            await deliver_stream(call, reply, _at_end(call, request), rescue)
        else:
            if (keeps := _keeps(call, request)) is not None:
                await keeps(reply.body)
            deliver_whole(call, reply)
    except GatewayError as error:
        _turn_away(call, error)
    except Exception as fault:
        _stumble(call, fault)
    finally:
        _end(call)


def _label(call: Call, request: envelope.Request, facts: HeaderFacts) -> None:
    """Note whom and what the call is for. Raises :class:`GatewayError` (400)."""
    whose = call.whose
    if facts.labelled or request.labelled or (whose is not None and request.members is not None):
        call.labels = labels_of(request, facts, whose or NO_FACTS)
    elif whose is not None:
        call.labels = labels_by_key(whose)


def leads_to(call: Call, request: envelope.Request) -> Resolved:
    """Where the model asked for leads to; the call heeds what its route wants.

    Raises :class:`GatewayError` (404; 403 where it is beyond the key's bounds).
    """
    resolved = call.plane.fleet.resolve(call.use or request.model)
    if call.plane.bound:
        check_model(call, call.use or request.model, resolved)
    if call.plane.guards is not None and resolved.route is not None:
        call.guards = (*call.guards, *resolved.route.guard)
    if resolved.extras is not None or call.on_content_filter:
        adopt(call, resolved.extras, request)
    return resolved


def is_narrower(
    call: Call, request: envelope.Request, resolved: Resolved, facts: HeaderFacts
) -> bool:
    """Whether not all of those targets may do: then ``narrow`` says which."""
    asked = bool(facts.providers) or request.provider is not None
    return asked or resolved.filtered or bool(call.filters)


def turns_of(
    call: Call, request: envelope.Request, resolved: Resolved, facts: HeaderFacts
) -> Turns:
    """The order in which the targets are asked."""
    if resolved.bound:
        bind(call, resolved, request, facts.session, facts.metadata)
    return Turns(call, resolved, len(request.body), request.max_output)


def _crowded(plane: Plane) -> GatewayError:
    """Nothing of the call has been read yet: to turn it away must cost next to nothing."""
    plane.refused += 1
    return GatewayError(
        503,
        ErrorKind.OVERLOADED,
        f"The gateway serves {plane.max_calls} calls already, as many as it may. Retry after 1 s.",
        headers=((b"retry-after", b"1"),),
    )


def _introduce(call: Call, facts: HeaderFacts) -> None:
    """Note who asks, and where their data may go: before anything of it is read or kept.

    Raises :class:`GatewayError` (401, 403).
    """
    plane = call.plane
    call.key, call.agent = identify(plane, facts), facts.client
    if plane.facts and call.whose is None:
        call.whose = plane.facts.get(call.key)
    if plane.residency is not None:
        call.filters = plane.residency.required(call.key, call.whose)
    if plane.bound:
        confine(call, tags_of(facts.tags), call.exchange.peer)


def _heed(call: Call, facts: HeaderFacts, request: envelope.Request) -> None:
    """Take over what headers and body say of the call itself."""
    call.model, call.stream = request.model, request.stream
    call.summary = facts.summary and request.stream
    call.strict, call.too_long, call.retried = facts.strict, facts.too_long, facts.retried
    if facts.trace is not None or facts.baggage:
        call.trace, call.baggage = facts.trace, facts.baggage


def _end(call: Call) -> None:
    """Let go of all that a call holds, and close it if nothing has."""
    plane = call.plane
    plane.metrics.in_flight -= 1
    leave(call)
    if call.session is not None and call.session.pending is not None:
        call.session.pending.cancel()
    if call.place is not None or call.room is not None:
        give_back(call)
    if plane.idle is not None and not plane.metrics.in_flight:
        plane.idle.set()
    if call.recording is not None:
        call.recording.over()
    if not call.settled and (call.opened or call.grant is not None):
        settle_anyhow(call)
    if call.witness is not None:
        call.witness.over(call)


def _rescue(
    call: Call, request: envelope.Request, turns: Turns, facts: HeaderFacts
) -> Callable[[Reply, ErrorKind], Awaitable[Reply | None]]:
    """Finds who goes on with the call's stream when it breaks off."""
    return go_on(
        call,
        request,
        turns,
        lambda target, asking, reply: attempt(call, target, asking, facts, reply),
    )


def _at_end(call: Call, request: envelope.Request) -> Callable[[bytes], Awaitable[None]] | None:
    """What is done with a stream at its end, before its last event; None = nothing."""
    keeps, session = _keeps(call, request), call.session
    if session is None or not session.listeners:
        return keeps
    return judged_at_end(call, session, keeps)


def _keeps(call: Call, request: envelope.Request) -> Callable[[bytes], Awaitable[None]] | None:
    """Keeps an answer that its caller may go on from, when no provider does; None = nothing to."""
    keeper = call.plane.keeper
    if keeper is None or call.endpoint != "responses" or (call.receipt is None and not call.rescue):
        return None

    async def keep(body: bytes) -> None:
        if call.receipt is not None:  # it may have been rescued meanwhile, or not
            await keeper.keep(call, request, body)

    return keep


def _turn_away(call: Call, error: GatewayError) -> None:
    """Refuse a call that has not been anywhere, and write that down if its caller is known."""
    if error.status in STATUSES or error.kind in LIMITED:
        agent = agent_of(call.exchange)
        call.plane.refusals.note(error, call.exchange.peer, call.key, agent, call.model)
    try:
        if not call.key:
            error = struck(call.plane, call.exchange.peer, error)
            count_stranger(call, error.status)
        elif not call.settled:
            # Of one that could not be recorded any more, earlier attempts were made.
            usage, whole = in_vain(call) if call.unrecorded is not None else (NOTHING, True)
            settle(call, error.status, error.kind, usage, whole)
    except GatewayError as unrecorded:
        error = unrecorded
    try:
        refuse(call, error)
    except Exception as trouble:
        _stumble(call, trouble)


def _stumble(call: Call, error: Exception) -> None:
    """Tell the log and the caller of an error of our own, however far the call has got."""
    call.plane.log(f"{call.id}: internal error: {type(error).__name__}: {error}")
    refuse(call, _internal())


async def _left(call: Call, reply: Reply, kind: ErrorKind | None) -> None:
    """Settle a call whose caller has gone before the answer, which may be on its way."""
    if kind is None and call.plane.fleet.cancelled and reply.streaming:
        await reply.over
    usage, whole = used_in_vain(call, reply, kind)
    settle(call, 499, ErrorKind.CANCELLED, usage, whole)


async def _first_good(
    call: Call, request: envelope.Request, turns: Turns, facts: HeaderFacts
) -> tuple[Reply, ErrorKind | None, GatewayError | None]:
    """Ask the targets in order until one answers.

    Returns the last reply, how it failed (None = it is fit to be delivered), and, when the request
    could be put to no target at all, why not.
    """
    reply: Reply | None = None
    kind: ErrorKind | None = None
    unfit: GatewayError | None = None
    spares: list[Spare] = []
    while (target := turns.next(reply, kind)) is not None:
        if turns.wait > 0:
            give_back(call)
            call.waited += turns.wait
            await asyncio.sleep(turns.wait)
        if call.plane.queues or call.narrow:
            busy = await line_up(call, target, request)
            if call.exchange.gone:
                return reply or Reply(call.plane.now, None), ErrorKind.CANCELLED, None
            if busy is not None:
                unfit = sooner(unfit, busy)
                call.left_out = {**(call.left_out or {}), target: busy.kind}
                if call.overdue():
                    break
                continue
        try:
            found = fit(call, request, target)
            asking = found if found is not None else await fitted(call, request, target)
            if call.doubt is not None:
                await hold_for(call, request, target)
        except GatewayError as error:
            unfit = unfit or error  # another target may have the words, or the room, for it
            call.left_out = {**(call.left_out or {}), target: error.kind}
            if error.kind is ErrorKind.CONTEXT_TOO_LONG and call.too_long == "error":
                break
            continue
        call.target = target
        turns.asked = True
        if call.hedge:
            reply, kind = await race(
                call, turns, target, asking,
                lambda whom, what, reply: attempt(call, whom, what, facts, reply),
                lambda whom: fitted(call, request, whom), request,
            )  # fmt: skip
        else:
            reply = Reply(call.plane.now, asking.tap)
            reply, kind = await attempt(call, target, asking, facts, reply)
        if call.upload is not None and call.upload.refused is not None:
            raise call.upload.refused
        if call.unrecorded is not None:
            raise call.unrecorded
        if kind is not None and call.bounded:
            doubt(call, request)
        if kind is not None and reply.judged:
            spares.append(Spare(call, reply, call.target))
        if kind is None or call.exchange.gone or call.overdue():
            break
        if kind in SURFACED and not await _elsewhere(call, request, turns, facts, kind):
            break
    if spares and kind is not None and not call.exchange.gone:
        reply, kind = spares.pop().bring_back(call), None
    if reply is None:
        reply, kind = Reply(call.plane.now, None), ErrorKind.UPSTREAM_CONNECT
    return reply, kind, unfit if call.target is None else None


async def _elsewhere(
    call: Call, request: envelope.Request, turns: Turns, facts: HeaderFacts, kind: ErrorKind
) -> bool:
    """Whether others may be asked after a failure that all targets of a call would repeat."""
    if kind is not ErrorKind.CONTENT_FILTERED:
        return turns.larger(kind)
    if not call.on_content_filter:
        return False
    try:
        resolved = call.plane.fleet.resolve(call.on_content_filter)
        if call.plane.bound:
            check_model(call, call.on_content_filter, resolved)
        # What the caller and policies want of targets holds for these, too.
        _, resolved = await narrow(call, call.original or request, resolved, facts)
    except GatewayError:
        return False  # its provider is not active, or may not be asked: the caller is told
    call.on_content_filter = ""
    return turns.reroute(resolved)


def fit(call: Call, request: envelope.Request, target: Target) -> Asking | None:
    """What ``target`` is to be sent; None where it takes a closer look, or long, to know that.

    Raises :class:`GatewayError` (400) where it can't be asked.
    """
    call.forget_receipt()
    if call.bounded and (why := unbounded(call, request, target)):
        raise GatewayError(400, ErrorKind.UNPRICED, why, param="model")
    if call.too_long == "error" and not gives(target, request.max_output):
        raise too_much(request.max_output, target)
    if len(request.body) >= LARGE or not surely_fits(request.body, target):
        return None
    return _asked(call, target, ask(call, request, target, None), call.slot)


async def fitted(call: Call, request: envelope.Request, target: Target) -> Asking:
    """The same of any request."""
    found = fit(call, request, target)
    if found is not None:
        return found
    slot = call.slot
    fits = surely_fits(request.body, target)
    crowded = None if fits else await crowd(call, request, target)
    if takes_long(call, request, target, crowded):  # beside the loop, so that others go on
        loop = asyncio.get_running_loop()
        asking = await loop.run_in_executor(None, ask, call, request, target, crowded)
    else:
        asking = ask(call, request, target, crowded)
    return _asked(call, target, asking, slot)


def _asked(call: Call, target: Target, asking: Asking | None, slot: int) -> Asking:
    if asking is None:
        raise _not_offered(call, target)
    asking.receipt, asking.slot = call.receipt, slot
    return asking


def _not_offered(call: Call, target: Target) -> GatewayError:
    return GatewayError(
        400,
        ErrorKind.UNSUPPORTED,
        f"{target.provider} does not offer {call.endpoint}. Choose another provider's model.",
        param="model",
    )


async def attempt(
    call: Call, target: Target, asking: Asking, facts: HeaderFacts, reply: Reply
) -> tuple[Reply, ErrorKind | None]:
    """Ask one target. Returns its ``reply``, and how it failed (None = fit to be delivered)."""
    now = call.plane.now
    runtime = target.runtime
    started = now()
    sent = started
    steps: list[float] = []
    begin(call, target, started)
    why = await runtime.signer.ready(time.time()) if runtime.signer is not None else ""
    if why:
        reply.fault = Fault(FaultKind.CONNECT, why)
    else:
        headed = asking.own and not runtime.betas_in_body
        forwarded = facts.forwarded if headed else facts.translated
        if call.trace is not None or call.baggage:
            forwarded += passed_on(call, target, started)
        if runtime.signer is not None:
            forwarded += runtime.signature(asking.head, asking.body, time.time())
            sent = now()
        connection = runtime.pool.take()
        if connection is None:
            connection = await _connect(call, reply, runtime.pool, steps)
            sent = now()
        elif _send(call, reply, connection, asking, forwarded):
            await reply.ready
            # A kept connection may have been closed by the upstream just now: when it fails before
            # one byte of a reply, the request is sent once more, on a new one.
            fault = reply.fault
            connection = None
            if fault is not None and fault.fresh and fault.kind is FaultKind.CLOSED:
                reply.again()
                connection = await _connect(call, reply, runtime.pool, steps)
                sent = now()
        if connection is not None and _send(call, reply, connection, asking, forwarded):
            await reply.ready
    body = reply.body if call.watched else b""
    kind = ErrorKind.UPSTREAM_AUTH if why else _verdict(call, asking, reply, runtime)
    if kind is None and call.watched:
        kind = judged(call, asking, reply, body)
        reply.judged = kind is not None
    if call.racers:  # others may have changed what is the call's
        call.slot, call.receipt = asking.slot, asking.receipt
        if kind is ErrorKind.CANCELLED and not call.exchange.gone:
            kind = ErrorKind.SUPERSEDED
            if reply.connection is None:
                return reply, kind
    ended = now()
    call.waited += ended - started
    note(call, target, reply, kind, started, ended)
    if kind is not None and asking.tap is not None and asking.tap.broken:
        call.plane.metrics.left_out(target.provider, asking.tap.broken)
    reply.place = len(call.attempts)
    times = Times(started, sent, ended, steps)
    call.attempts.append(recorded(call, target, asking.slot, reply, kind, times))
    if kind is not None:
        # Asked, and not refused: it may have worked, and charge for it.
        refused = reply.status >= 300 or reply.connection is None
        whole = refused or (reply.judged and reply.used is not None)
        call.attempts[-1] = told(call, call.attempts[-1], target, asking.slot, reply, whole)
    return reply, kind


async def _connect(
    call: Call, reply: Reply, pool: Pool, steps: list[float]
) -> ClientConnection | None:
    seconds = call.connect or call.plane.fleet.snapshot.timeouts.connect
    left = call.deadline() - call.plane.now()
    try:
        return await pool.connect(min(seconds, max(left, 0.0)), steps)
    except Fault as fault:
        # Timers may go off a millisecond early: then it is not overdue by the clock yet.
        late = left < seconds and (call.overdue() or fault.message.startswith(SLOW))
        reply.on_fault(Fault(FaultKind.TIMEOUT, USED_UP) if late else fault)
        return None


def _send(
    call: Call, reply: Reply, connection: ClientConnection, asking: Asking, forwarded: bytes
) -> bool:
    """Send the request, unless the caller has gone; True when ``reply.ready`` is to be awaited."""
    exchange = call.exchange
    if exchange.gone or reply.fault is not None or call.unrecorded is not None:  # meanwhile
        connection.cancel()
        reply.leave()
        return False
    reply.connection = connection
    call.sent = reply
    exchange.on_gone = call.leave if call.racers else call.parting(reply)
    fleet = call.plane.fleet
    first_byte, idle = call.first_byte or fleet.first_byte, call.idle or fleet.idle
    total = call.deadline()
    if call.upload is not None:
        assert call.target is not None
        source = call.upload.reader(call.target.model)
        head = asking.head + forwarded
        connection.send_upload(reply, head, source, first_byte, idle, total)
        return True
    body = asking.body
    head = b"%b%d\r\n%b\r\n" % (asking.head, len(body), forwarded)
    connection.send(reply, head, body, first_byte, idle, total)
    return True


def _verdict(call: Call, asking: Asking, reply: Reply, runtime: Runtime) -> ErrorKind | None:
    """How an attempt failed, or None when its reply is fit to be delivered."""
    fault = reply.fault
    if fault is not None:
        if reply.streaming and reply.tap is not None and reply.tap.content:
            return None  # something was said: the caller gets that, and an error event after it
        if fault.kind is FaultKind.CLOSED and reply.first_byte < 0:
            return ErrorKind.UPSTREAM_CONNECT
        return _FAULTS[fault.kind]
    if not 200 <= reply.status < 300:
        return kind_of_reply(reply.status, reply.headers, reply.body)
    if reply.streaming:
        tap = reply.tap
        assert tap is not None
        if asking.translation is not None or runtime.aws_chunks:
            reply.headers = _with_type(reply.headers, EVENTS)
        if tap.failure is not None and not tap.content:
            return tap.failure.kind
        if reply.ended and not tap.done and not tap.content:
            return ErrorKind.UPSTREAM_TRUNCATED
        return None
    try:
        kind, reply.usage = read_whole(call, asking, reply, runtime)
    except ReplyError as error:
        reply.fault = Fault(FaultKind.PROTOCOL, error.message)
        return error.kind
    if asking.translation is not None:
        reply.headers = _with_type(reply.headers, asking.translation.media_type)
    return kind


def _with_type(headers: Headers, media_type: bytes) -> Headers:
    """A reply's headers once its body is put into another format."""
    rest = [pair for pair in headers if pair[0] != b"content-type"]
    return [(b"content-type", media_type), *rest]


def _internal() -> GatewayError:
    text = "The gateway failed to handle this call; its log says more under the request id."
    return GatewayError(500, ErrorKind.INTERNAL, text)
