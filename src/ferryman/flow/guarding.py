"""Guards on a call: what is asked is checked before anything else sees it, what is answered before
the caller does."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from msgspec.structs import replace

from ferryman.config.guard_row import Guard
from ferryman.config.snapshot import Snapshot
from ferryman.flow.asking import conversation_of
from ferryman.flow.call import Call, settle
from ferryman.flow.deliver import refuse, used_in_vain
from ferryman.flow.headers import HeaderFacts
from ferryman.flow.policies import metadata_of, metadatum
from ferryman.flow.uploads import UPLOADS
from ferryman.guard.engine import (
    REPLY,
    REQUEST,
    TOOLS,
    BlockedError,
    Engine,
    Session,
    TextCheck,
)
from ferryman.guard.reading import Clean, checked
from ferryman.guard.talk import definitions_of, guarded_request, heard, text_of
from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.telemetry.record import Labels
from ferryman.upstream.fleet import Resolved
from ferryman.upstream.reply import Reply
from ferryman.wire import envelope
from ferryman.wire.paths import CONVERSATIONS

APART: Final = 16_384
"""Bytes of a body that is checked beside the loop, so that other calls go on;"""
APART_JUDGED: Final = 2_048
"""and where whole texts are judged, which takes longer."""
_WAYS: Final = ("parallel", "before")
"""Those that need not be waited for are asked first."""
_UNSEEN: Final = (*UPLOADS, "completions")
"""Endpoints of whose calls or answers no guard sees the text."""


def engine_of(snapshot: Snapshot, own: Iterable[str]) -> Engine | None:
    """The snapshot's guards; None where it has none. ``own``: the gateway's own secrets."""
    if not snapshot.guards:
        return None
    return Engine(snapshot.guards, own)


async def guard(
    call: Call, request: envelope.Request, facts: HeaderFacts, resolved: Resolved
) -> envelope.Request:
    """Check what is asked, for what leads to ``resolved``; the request that may go on.

    Raises :class:`GatewayError` (400) where a guard stops it, or can't check it.
    """
    engine = call.plane.guards
    assert engine is not None
    session = call.session = Session(engine, (*engine.always, *call.guards))
    models = _models(call, request, resolved)
    began = time.perf_counter()
    try:
        judged = any(guard.name in engine.judges for guard in session.at(REQUEST, main=True))
        if len(request.body) < (APART_JUDGED if judged else APART):
            checked = _checked(call, request, facts, session, models)
        else:
            loop = asyncio.get_running_loop()
            checked = await loop.run_in_executor(
                None, _checked, call, request, facts, session, models
            )
        session.took(REQUEST, began)
        if session.remote:
            await _ask(call, checked, session)
        return checked
    except BlockedError as why:
        raise GatewayError(400, ErrorKind.GUARDRAIL, str(why)) from None
    finally:
        if call.labels is not None:
            call.labels = _labels(call.labels, session)


async def _ask(call: Call, request: envelope.Request, session: Session) -> None:
    """Have classifiers judge what is left of the request, some while the call goes on."""
    asked = {way: [each for each in session.remote if each.run == way] for way in _WAYS}
    for way, guards in asked.items():
        said = [(guard, text) for guard in guards if (text := _said(call, request, guard.turns))]
        if not said:
            continue
        asking = asyncio.gather(*(session.ask(*each, call.id, call.key) for each in said))
        if way == "before":
            await asking
            continue
        call.cache_for, call.rescue = 0.0, False
        asking.add_done_callback(lambda done: done.cancelled() or done.exception())
        session.pending = asking


def _said(call: Call, request: envelope.Request, turns: str) -> str:
    if call.conversation is not None:
        return heard(call.conversation, turns)
    if call.endpoint in UPLOADS:
        return ""
    said: list[str] = []

    def note(text: str) -> str:
        said.append(text)
        return text

    _json(request, note)
    return "\n".join(said)


async def stopped(call: Call, session: Session, reply: Reply, kind: ErrorKind | None) -> bool:
    """Wait for what runs beside the call, and for classifiers of its answer; True: they have
    stopped it, and the caller knows.

    Raises :class:`GatewayError` (503) where that can't be written down.
    """
    try:
        if session.pending is not None:
            await session.pending
        if kind is None and session.listeners:
            await _listen(call, session, reply)
    except BlockedError as why:
        if kind is None:
            reply.leave()
        usage, whole = used_in_vain(call, reply, kind)
        settle(call, 400, ErrorKind.GUARDRAIL, usage, whole)
        refuse(call, GatewayError(400, ErrorKind.GUARDRAIL, str(why)))
        return True
    return False


async def _listen(call: Call, session: Session, reply: Reply) -> None:
    """Have classifiers judge the answer; a stream that none of them could stop goes on, and is
    judged at its end. Raises :class:`BlockedError`."""
    if reply.streaming:
        if not any(_stops(guard) for guard in session.listeners):
            return
        began = call.plane.now()
        await reply.over
        call.waited += call.plane.now() - began
    if not call.exchange.gone:
        await _judge(call, session)


def _stops(guard: Guard) -> bool:
    return guard.action == "block" or guard.on_error == "block"


async def _judge(call: Call, session: Session) -> None:
    text = session.heard().strip()
    if text:
        asks = (session.ask(each, text, call.id, call.key, REPLY) for each in session.listeners)
        await asyncio.gather(*asks)


def judged_at_end(
    call: Call, session: Session, keeps: Callable[[bytes], Awaitable[None]] | None
) -> Callable[[bytes], Awaitable[None]]:
    """``keeps``, and before it classifiers judge what a stream has said that none of them stops."""

    async def end(last: bytes) -> None:
        await _judge(call, session)
        if keeps is not None:
            await keeps(last)

    return end


def _models(call: Call, request: envelope.Request, resolved: Resolved) -> set[str]:
    """Names of what is asked for: as it came, as a policy has it, and of the target that it is."""
    alone = () if resolved.route is not None else resolved.targets
    return {request.model, call.use or request.model, *(target.name for target in alone)}


def _checked(
    call: Call, request: envelope.Request, facts: HeaderFacts, session: Session, models: set[str]
) -> envelope.Request:
    given = metadata_of(facts.metadata)
    if call.endpoint in _UNSEEN:
        strict = [each.name for each in session.guards if each.on_error == "block"]
        if strict:
            raise BlockedError(
                f"The guard '{strict[0]}' stops this call: it can't check calls of "
                f"{call.endpoint}. Whoever runs the gateway can allow them (on_error: allow)."
            )
    talk = None
    if call.endpoint in CONVERSATIONS:
        talk = conversation_of(call, request)
        said = text_of(talk)
        session.avoid = f"{said}\n{definitions_of(talk)}"
    size = len(said) if talk is not None else len(request.body)
    session.check_call(models, lambda name: metadatum(given, request, name), size)
    if call.endpoint in UPLOADS:
        return request
    if talk is None:
        return _walked(call, request, session)
    call.conversation = guarded_request(talk, session)
    answers = session.at(REPLY, main=True) or session.at(TOOLS, main=True) or session.restores
    answers = answers or session.listeners
    if session.listeners:
        call.hedge = 0.0  # what is judged is what one target says
    call.guarded = bool(answers) or call.conversation != talk
    if call.guarded:
        call.cache_for, call.rescue = 0.0, False
    return request


def _labels(labels: Labels, session: Session) -> Labels:
    """What the caller says of the call, as its record may have it."""
    return replace(
        labels,
        end_user=session.label(labels.end_user),
        task=session.label(labels.task),
        metadata={name: session.label(value) for name, value in labels.metadata.items()},
    )


def _walked(call: Call, request: envelope.Request, session: Session) -> envelope.Request:
    """The request of another task, every text in its body checked. Nothing is put back there."""
    if not session.at(REQUEST):
        return request
    data = _json(request, lambda text: TextCheck(session, REQUEST, answer=False).whole(text))
    if data is request.body:
        return request
    if call.endpoint in _NAMED:
        return envelope.decode_named(data, request.model, request.stream)
    return envelope.decode(call.endpoint, data)


def _json(request: envelope.Request, clean: Clean) -> bytes:
    """The body, every text in it ``clean``. Raises :class:`BlockedError`."""
    try:
        return checked(request.body, clean, request.model)
    except (ValueError, RecursionError):
        why = "its body can't be read, or is nested too deep"
        raise BlockedError(f"The guards stop this call: {why}.") from None


_NAMED: Final = ("embed_content", "batch_embed_contents", "count_content")
"""Endpoints whose model stands in the URL."""
