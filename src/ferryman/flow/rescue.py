"""Mid-stream rescue: another target goes on with a streamed text that broke off."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from ferryman.catalog.tokens import estimate
from ferryman.flow.asking import Asking, Translation, conversation_of, format_of
from ferryman.flow.call import Call
from ferryman.flow.queueing import give_back, line_up
from ferryman.flow.turns import Turns
from ferryman.http1.client import USED_UP
from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.receipt import Receipt
from ferryman.ir.request import Message, OutputKind, Role, Text
from ferryman.ir.request import Request as Conversation
from ferryman.upstream.fleet import Target
from ferryman.upstream.reply import Reply
from ferryman.wire import envelope
from ferryman.wire.format import ReplyContext, StreamEncoder
from ferryman.wire.formats import client_of, provider_of
from ferryman.wire.invoke import UnwrappingTap
from ferryman.wire.openai_chat.errors import SURFACED
from ferryman.wire.openai_responses.request import needs_store
from ferryman.wire.openai_responses.stream import ResponsesDecoder
from ferryman.wire.openai_responses.writer import ResponsesEncoder
from ferryman.wire.paths import MAIN
from ferryman.wire.splice import SplicingTap
from ferryman.wire.tap import StreamTap
from ferryman.wire.watch import Watch

CONTINUES: Final = ("anthropic_messages",)
"""Formats in which a last message of the model's is the beginning of its answer:
https://platform.claude.com/docs/en/build-with-claude/prefill-claudes-response. Models that refuse
it are asked afresh."""


Attempting = Callable[[Target, Asking, Reply], Awaitable[tuple[Reply, ErrorKind | None]]]


def go_on(
    call: Call, request: envelope.Request, turns: Turns, attempt: Attempting
) -> Callable[[Reply, ErrorKind], Awaitable[Reply | None]]:
    """What is given a stream that broke off, and why, and finds a reply that goes on with it.

    ``attempt`` asks one target. None = nobody goes on: the call is as it was.
    """

    async def find(cut: Reply, why: ErrorKind) -> Reply | None:
        tap, first = cut.tap, call.target
        if tap is None or first is None or not can_go_on(call, request, cut, why):
            return None
        watch, slot, receipt, place = tap.watch, call.slot, call.receipt, len(call.attempts) - 1
        assert watch is not None
        encoder = encoder_of(call, request, tap, watch)
        if encoder is None:
            return None
        reply, kind = cut, why
        while (target := turns.next(reply, kind)) is not None and not call.exchange.gone:
            if turns.wait > 0:
                give_back(call)
                await asyncio.sleep(turns.wait)
            if (call.plane.queues or call.narrow) and await line_up(
                call, target, request
            ) is not None:
                continue
            for afresh in (False, True) if target.runtime.provider.format in CONTINUES else (True,):
                asking = ask_on(call, request, target, watch, encoder, afresh=afresh)
                if asking is None or call.exchange.gone:
                    break
                call.target = target
                turns.asked = True
                reply = Reply(call.plane.now, asking.tap)
                reply, failed = await attempt(target, asking, reply)
                if failed is None:
                    call.exchange.write(comment(target))
                    return reply
                kind = failed
                if kind is not ErrorKind.INVALID_REQUEST:
                    break
        call.target, call.slot, call.receipt, call.answer = first, slot, receipt, place
        return None

    return find


def can_go_on(call: Call, request: envelope.Request, cut: Reply, kind: ErrorKind) -> bool:
    """Whether what the caller has is a mere text that can be gone on with."""
    tap = cut.tap
    watch = tap.watch if tap is not None else None
    if tap is None or watch is None or tap.raw or kind in SURFACED or call.overdue():
        return False
    if cut.fault is not None and cut.fault.message == USED_UP:
        return False
    if not watch.plain or watch.lost or watch.finish or not watch.words:
        return False
    if watch.open < 0 or not watch.speaks:
        return False
    conversation = conversation_of(call, request)
    if call.endpoint == "responses" and needs_store(conversation):
        return False  # only its provider knows what was said before
    output = conversation.output
    return output is None or output.kind is OutputKind.TEXT


def encoder_of(
    call: Call, request: envelope.Request, tap: StreamTap, watch: Watch
) -> StreamEncoder | None:
    """What goes on with the caller's stream: its own encoder, or one that is brought to there.

    None when it can't be."""
    if tap.encoder is not None:
        return tap.encoder
    context = _context(call, conversation_of(call, request), Receipt())
    encoder = client_of(call.endpoint).stream_encoder(context)
    watch.join()
    for event in watch.events:
        encoder.encode(event)
    decoder = watch.decoder
    if isinstance(decoder, ResponsesDecoder) and isinstance(encoder, ResponsesEncoder):
        return encoder if encoder.take_over(decoder.last) else None
    return encoder


def ask_on(
    call: Call,
    request: envelope.Request,
    target: Target,
    watch: Watch,
    encoder: StreamEncoder,
    *,
    afresh: bool,
) -> Asking | None:
    """What to send to ``target`` so that it goes on; None when it can't be asked such a thing."""
    runtime = target.runtime
    conversation = conversation_of(call, request)
    name = format_of(call, conversation, target)
    head = runtime.head(MAIN[name], target.model, True, call.slot)
    if head is None:
        return None
    words = "".join(watch.words)
    asked = conversation if afresh else _continued(conversation, words.rstrip(), target)
    receipt = call.receipt = Receipt()
    receipt.alter("stream", f"{target.provider}/{target.model} goes on after {len(words)} letters")
    context = _context(call, asked, receipt)
    side, client = provider_of(name, runtime.usage_quirks), client_of(call.endpoint)
    translation = Translation(client, side, name, context)
    try:
        body = side.encode_request(asked, target.aim, receipt)
    except GatewayError:
        return None
    if call.strict and receipt.dropped:
        return None
    if runtime.request_quirks:
        body = envelope.with_quirks(body, runtime.request_quirks)
    tap: StreamTap = SplicingTap(
        side.stream_decoder(),
        client,
        encoder,
        watch,
        words if afresh else words[len(words.rstrip()) :],
        afresh=afresh,
        media_types=translation.media_types,
    )
    if runtime.aws_chunks:
        tap = UnwrappingTap(tap)
    asking = Asking(head, body, tap, translation)
    asking.receipt, asking.slot = receipt, call.slot
    return asking


def comment(target: Target) -> bytes:
    """What tells of the splice within the stream; every SDK passes over it."""
    return b": ferryman: %b goes on\n\n" % target.provider.encode()


def _continued(conversation: Conversation, words: str, target: Target) -> Conversation:
    last = Message(role=Role.ASSISTANT, blocks=(Text(text=words),))
    limit = conversation.max_output
    if limit:
        limit = max(limit - target.gauge.tokens(len(words.encode())), 1)
    messages = (*conversation.messages, last)
    return msgspec.structs.replace(conversation, messages=messages, max_output=limit)


def _context(call: Call, conversation: Conversation, receipt: Receipt) -> ReplyContext:
    target = call.target
    assert target is not None
    return ReplyContext(
        request=conversation,
        receipt=receipt,
        request_id=call.id,
        now=int(time.time()),
        input_estimate=estimate(conversation, target.gauge),
    )
