"""What a target is sent, and how its reply is read: the caller's own bytes, or a translation."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Raw

from ferryman.catalog.quirks import betas_in_body
from ferryman.catalog.tokens import Gauge, estimate
from ferryman.flow.bounds import characters
from ferryman.flow.call import NOTHING, Call
from ferryman.flow.counting import COUNTS
from ferryman.flow.guarded import guarded_side
from ferryman.flow.keeping import PREVIOUS, unknown
from ferryman.flow.tasks import TaskTranslation, ask_task
from ferryman.flow.uploads import Upload
from ferryman.flow.window import compressed, gives, too_long
from ferryman.guard.talk import guarded_request
from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.receipt import Receipt
from ferryman.ir.request import Request as Conversation
from ferryman.ir.usage import Usage
from ferryman.upstream.fleet import Runtime, Target
from ferryman.upstream.reply import Reply
from ferryman.wire import envelope
from ferryman.wire.format import ClientSide, ProviderSide, ReplyContext
from ferryman.wire.formats import client_of, provider_of, relay_of
from ferryman.wire.framing import as_text
from ferryman.wire.gemini_generate.embeddings import naming
from ferryman.wire.invoke import UnwrappingTap
from ferryman.wire.openai_chat.media_relay import SpeechTap
from ferryman.wire.openai_responses.request import needs_store
from ferryman.wire.paths import CONVERSATIONS, EVENTS, JSON, MAIN, WAYS
from ferryman.wire.tap import StreamTap
from ferryman.wire.translate import TranslatingTap, translate_to_stream, translate_whole
from ferryman.wire.watch import Watch, WatchedTap

Crowd = tuple[GatewayError, Gauge]
"""Why a request does not fit, and how many of its bytes are a token."""


class Translation:
    """Both sides of one attempt whose target speaks another format than the caller."""

    def __init__(
        self, client: ClientSide, provider: ProviderSide, format_name: str, context: ReplyContext
    ) -> None:
        self.client = client
        self.provider = provider
        self.context = context
        self.media_types: tuple[bytes, ...] = WAYS[format_name].media_types
        self.media_type = EVENTS if context.request.stream else JSON
        """What a reply that came whole is, in the caller's format."""

    def whole(self, reply: Reply) -> Usage | None:
        """Put a whole reply into the caller's format. Raises :class:`ReplyError`."""
        translate = translate_to_stream if self.context.request.stream else translate_whole
        body, usage = translate(reply.body, self.provider, self.client, self.context)
        reply.rewrite(body)
        return usage


class Asking:
    """One attempt's request: its head up to the length, its body, and who listens to the reply."""

    __slots__ = ("body", "head", "own", "receipt", "slot", "tap", "translation")

    def __init__(
        self,
        head: bytes,
        body: bytes,
        tap: StreamTap | None,
        translation: Translation | TaskTranslation | None,
    ) -> None:
        self.head = head
        self.body = body
        self.tap = tap
        self.translation = translation
        self.own = translation is None
        """Whether the target is asked in the caller's format, and gets that format's headers."""
        self.receipt: Receipt | None = None
        """The call's, like ``slot``: they are of this attempt, and others may run beside it."""
        self.slot = 0


async def crowd(call: Call, request: envelope.Request, target: Target) -> Crowd | None:
    """What makes the request too long for ``target``, if the call has it compressed then.

    Raises that as a :class:`GatewayError` (400) if it has not; None when the request seems to fit.
    """
    if call.endpoint not in CONVERSATIONS:
        return None
    try:
        if len(request.body) < LARGE:
            conversation = conversation_of(call, request)
        else:
            loop = asyncio.get_running_loop()
            conversation = await loop.run_in_executor(None, conversation_of, call, request)
    except GatewayError:
        return None  # what we can't read, we can't measure: the provider will say
    found = await too_long(conversation, target)
    if found is not None and call.too_long != "compress":
        raise found[0]
    return found


def ask(
    call: Call, request: envelope.Request, target: Target, crowded: Crowd | None
) -> Asking | None:
    """What to send to ``target``; None when it offers nothing for such a call.

    ``crowded`` is what :func:`crowd` has found. Raises :class:`GatewayError` (400) for a request
    that can't be put into the target's format.
    """
    runtime = target.runtime
    if call.upload is not None:
        return _form(call, call.upload, target)
    lower = call.too_long == "compress" and not gives(target, request.max_output)
    if crowded is not None:
        return _translated(call, request, target, crowded, lower=lower)
    head = runtime.head(call.endpoint, target.model, request.stream, call.slot)
    if (
        head is None
        or call.guarded
        or (call.endpoint in CONVERSATIONS and _carries_foreign(request.body))
        or (target.responses_only and call.endpoint == "chat.completions")
        or (call.endpoint == "generate_content" and _lacks_proof(request.body, target))
    ):
        return _translated(call, request, target, lower=lower)
    quirks = _quirks(call, runtime)
    if lower:
        call.receipt = Receipt()
        call.receipt.alter("max_output", str(target.max_output))
        quirks = (*quirks, lambda fields: envelope.lower_output(fields, target.max_output))
    if runtime.refused and call.endpoint in ("chat.completions", "embeddings"):
        left_out = [name for name in request.fields if name in runtime.refused]
        if left_out:
            quirks = (*quirks, _leave_out(call, left_out, target))
    if runtime.betas_in_body:
        quirks = (*quirks, _betas(call))
    if call.endpoint in NAMES_WITHIN:
        quirks = (*quirks, naming(target.model))
    body = envelope.encode(request, target.model_json, ask_usage=runtime.ask_usage, quirks=quirks)
    tap: StreamTap | None = None
    relay = relay_of(call.endpoint)
    if request.stream or relay.always:
        hide = request.hide_usage and runtime.ask_usage
        tap = relay.tap(hide_usage=hide, quirks=runtime.usage_quirks)
        if target.by_character and isinstance(tap, SpeechTap):
            tap.characters = characters(request)
        if call.watched:
            side = provider_of(CONVERSATIONS[call.endpoint], runtime.usage_quirks)
            tap = WatchedTap(tap, side.stream_decoder(), _watch(call))
        if runtime.aws_chunks:
            tap = UnwrappingTap(tap)
    return Asking(head, body, tap, None)


def _betas(call: Call) -> Callable[[dict[str, Raw]], None]:
    betas = [value for name, value in call.exchange.headers if name == b"anthropic-beta"]
    return betas_in_body(b",".join(betas).decode("latin-1"))


def _watch(call: Call) -> Watch:
    picky = call.retry_empty or bool(call.on_content_filter)
    return Watch(picky=picky, keep=call.rescue)


def _form(call: Call, upload: Upload, target: Target) -> Asking | None:
    head = target.runtime.head(call.endpoint, target.model, False, call.slot)
    if head is None:
        return None
    head = head[: head.rindex(b"content-length:")].replace(
        b"content-type: application/json", b"content-type: " + upload.content_type, 1
    )
    tap = relay_of(call.endpoint).tap(hide_usage=False, quirks=target.runtime.usage_quirks)
    return Asking(head, b"", tap, None)


LARGE: Final = 1 << 18
"""Bytes of a body that takes milliseconds to read, while other calls wait."""


def takes_long(
    call: Call, request: envelope.Request, target: Target, crowded: Crowd | None
) -> bool:
    """Whether :func:`ask` has to read, message by message, a body that is large."""
    body = request.body
    if len(body) < LARGE or call.endpoint not in CONVERSATIONS:
        return False
    if call.guarded or crowded is not None or not target.runtime.offers(call.endpoint):
        return True
    return target.responses_only or _carries_foreign(body) or _lacks_proof(body, target)


NAMES_WITHIN: Final[tuple[str, ...]] = ("embed_content", "batch_embed_contents")
"""Endpoints whose bodies name the model that the URL names."""


def _carries_foreign(body: bytes) -> bool:
    """Whether an earlier answer came from a provider of another format and left its proof here.

    This provider would refuse it: the request is put into its format anew, without that. For how
    such signatures begin, see ``ir/signature.py``; in base64 ``fm1`` is ``Zm0xO``.
    """
    text = as_text(body)
    if '"fm' in text and ('"fm1' in text or '"fm-of:' in text):
        return True
    # One letter is found several times as fast as six, and most bodies have none.
    return "Z" in text and '"Zm0xO' in text


def _lacks_proof(body: bytes, target: Target) -> bool:
    """Whether calls in Gemini's format may lack the signature that this model wants of each step.

    An older model made them, before the call came here. The encoder says which it is about.
    """
    if "need_signature" not in target.aim.quirks:
        return False
    calls = body.count(b'"functionCall"') + body.count(b'"function_call"')
    if not calls:
        return False
    return calls > body.count(b'"thoughtSignature"') + body.count(b'"thought_signature"')


def _leave_out(call: Call, names: list[str], target: Target) -> Callable[[dict[str, Raw]], None]:
    """Note what the provider would refuse; the function that takes it out of a request's members.

    Raises :class:`GatewayError` (400) when the call asks to be refused instead.
    """
    receipt = call.receipt = call.receipt or Receipt()
    for name in names:
        receipt.drop(name)
    _hold_to(call, receipt, target)

    def leave_out(fields: dict[str, Raw]) -> None:
        for name in names:
            fields.pop(name, None)

    return leave_out


def _quirks(call: Call, runtime: Runtime) -> tuple[Callable[[dict[str, Raw]], None], ...]:
    """What is done to a request's members, the caller's wishes put back where they are heeded."""
    preferences = call.preferences
    if preferences is None or not runtime.takes_preferences:
        return runtime.request_quirks

    def put(fields: dict[str, Raw]) -> None:
        fields["provider"] = preferences

    return (*runtime.request_quirks, put)


def _hold_to(call: Call, receipt: Receipt, target: Target) -> None:
    """Raise :class:`GatewayError` (400) when the call must lose nothing, and would."""
    if call.strict and receipt.dropped:
        raise GatewayError(
            400,
            ErrorKind.UNSUPPORTED,
            f"{target.provider}/{target.model} can't take {', '.join(receipt.dropped)}, and this "
            "call asks to be refused rather than to lose anything. Leave that out, or choose "
            "another model.",
        )


def _translated(
    call: Call,
    request: envelope.Request,
    target: Target,
    crowded: Crowd | None = None,
    *,
    lower: bool,
) -> Asking | None:
    """The request in the target's format; where it is ``crowded``, less of it, so that it fits.

    ``lower`` asks for no more output than the target gives.
    """
    runtime = target.runtime
    if call.endpoint not in CONVERSATIONS:
        return _task(call, request, target)
    conversation = conversation_of(call, request)
    name = format_of(call, conversation, target)
    head = runtime.head(MAIN[name], target.model, request.stream, call.slot)
    if head is None:
        return None
    if call.endpoint == "responses" and (elsewhere := needs_store(conversation)):
        raise unknown(elsewhere, answer=PREVIOUS in request.fields)
    receipt = Receipt()
    if crowded is not None:
        unfit, gauge = crowded
        shorter = compressed(conversation, target, gauge, receipt)
        if shorter is None:
            raise unfit
        conversation = shorter
    if lower and conversation.max_output:
        conversation = msgspec.structs.replace(conversation, max_output=target.max_output)
        receipt.alter("max_output", str(target.max_output))
    context = ReplyContext(
        request=conversation,
        receipt=receipt,
        request_id=call.id,
        provider=name,
        now=int(time.time()),
        input_estimate=estimate(conversation, target.gauge),
    )
    provider = provider_of(name, runtime.usage_quirks)
    if call.guarded and call.session is not None:
        provider = guarded_side(provider, call.session)
    translation = Translation(client_of(call.endpoint), provider, name, context)
    body = translation.provider.encode_request(conversation, target.aim, receipt)
    call.receipt = receipt
    _hold_to(call, receipt, target)
    quirks = _quirks(call, runtime)
    own = name == CONVERSATIONS[call.endpoint]
    if own and runtime.betas_in_body:
        quirks = (*quirks, _betas(call))
    if quirks:
        body = envelope.with_quirks(body, quirks)
    tap: StreamTap | None = None
    if request.stream:
        tap = TranslatingTap(
            translation.provider, translation.client, context, translation.media_types
        )
        tap.watch = _watch(call) if call.watched else None
        if runtime.aws_chunks:
            tap = UnwrappingTap(tap)
    asking = Asking(head, body, tap, translation)
    asking.own = own
    return asking


def format_of(call: Call, conversation: Conversation, target: Target) -> str:
    """The format in which the target is asked: the caller's own, or the provider's main one."""
    runtime = target.runtime
    name = (
        CONVERSATIONS[call.endpoint] if runtime.offers(call.endpoint) else runtime.provider.format
    )
    by_sister = target.responses_only or (
        bool(conversation.tools)
        and "tools_by_responses" in target.aim.quirks
        and runtime.offers("responses")
    )
    return "openai_responses" if by_sister and name == "openai_chat" else name


def _task(call: Call, request: envelope.Request, target: Target) -> Asking | None:
    asked = ask_task(call, request, target)
    if asked is None:
        return None
    head, body, translation = asked
    call.receipt = translation.receipt
    _hold_to(call, translation.receipt, target)
    quirks = target.runtime.request_quirks
    if quirks:
        body = envelope.with_quirks(body, quirks)
    return Asking(head, body, None, translation)


def conversation_of(call: Call, request: envelope.Request) -> Conversation:
    """The request in the common language, decoded once for all attempts."""
    if call.conversation is None:
        decode = client_of(call.endpoint).decode_request
        call.conversation = decode(request.body, request.model, request.stream)
        if call.guarded and call.session is not None:  # it was checked, and is read once more
            call.conversation = guarded_request(call.conversation, call.session)
    return call.conversation


def read_whole(
    call: Call, asking: Asking, reply: Reply, runtime: Runtime
) -> tuple[ErrorKind | None, Usage | None]:
    """What is wrong with a whole reply of status 2xx (None = nothing), and its usage.

    A translated reply is rewritten. Raises :class:`ReplyError` where it is none.
    """
    if asking.translation is not None:
        return None, asking.translation.whole(reply)
    if call.endpoint in COUNTS:
        return None, NOTHING
    return relay_of(call.endpoint).read_whole(reply.body, runtime.usage_quirks)
