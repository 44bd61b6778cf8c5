"""A provider's answer in the caller's format, when the two differ: whole, or event by event."""

import os

from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.events import (
    Begin,
    Count,
    Data,
    Delta,
    End,
    Event,
    Failed,
    Finish,
    FinishReason,
    Open,
    Reply,
)
from ferryman.ir.fold import OutputFromTool, output_from_tool, unfold
from ferryman.ir.grammar import Grammar, GrammarError
from ferryman.ir.request import Refusal, Text, Thinking
from ferryman.ir.usage import Usage
from ferryman.wire.format import ClientSide, ProviderSide, ReplyContext, ReplyError
from ferryman.wire.tap import StreamTap

check_grammar = os.environ.get("FERRYMAN_CHECK_GRAMMAR") == "1"
"""True puts the grammar's checker between decoder and encoder, as in the tests."""


def translate_whole(
    body: bytes, provider: ProviderSide, client: ClientSide, context: ReplyContext
) -> tuple[bytes, Usage | None]:
    """A whole reply in the caller's format, and its usage. Raises :class:`ReplyError`."""
    reply = _decode(body, provider, context)
    return client.encode_reply(reply, context), reply.usage


def translate_to_stream(
    body: bytes, provider: ProviderSide, client: ClientSide, context: ReplyContext
) -> tuple[bytes, Usage | None]:
    """The same as a stream, for a provider that answers whole when asked for a stream."""
    reply = _decode(body, provider, context)
    encoder = client.stream_encoder(context)
    return b"".join([encoder.encode(event) for event in unfold(reply)]), reply.usage


def _decode(body: bytes, provider: ProviderSide, context: ReplyContext) -> Reply:
    reply = provider.decode_reply(body)
    for choice in reply.choices:
        if choice.finish.reason is FinishReason.ERROR:
            raise ReplyError(ErrorKind.UPSTREAM_ERROR, gave_up(choice.finish))
        _tell(choice.finish, context)
    if context.receipt.output_tool:
        reply = output_from_tool(reply, context.receipt.output_tool)
    return reply


def gave_up(finish: Finish) -> str:
    """What to say of an answer that its own end says to be none."""
    return f"the provider gave the answer up ({finish.detail or 'it did not say why'})"


def _tell(finish: Finish, context: ReplyContext) -> None:
    """Note what of the reply has no place in the caller's format."""
    for each in finish.beside:
        if each.origin == context.request.origin:
            continue
        if each.carried:
            context.receipt.alter(each.name, each.carried)
        else:
            context.receipt.drop(each.name)


class TranslatingTap(StreamTap):
    """Reads a provider's stream and gives the caller's: a tap whose output is another format."""

    __slots__ = ("_client", "_context", "_decoder", "_encoder", "_grammar", "_ours", "_tool")

    def __init__(
        self,
        provider: ProviderSide,
        client: ClientSide,
        context: ReplyContext,
        media_types: tuple[bytes, ...],
    ) -> None:
        super().__init__(hide_usage=False)
        self.media_types = media_types
        self._client = client
        self._context = context
        self._decoder = provider.stream_decoder()
        self._encoder = self.encoder = client.stream_encoder(context)
        tool = context.receipt.output_tool
        self._tool = OutputFromTool(tool) if tool else None
        self._grammar = Grammar() if check_grammar else None
        self._ours = False
        """True once it has failed by other than the decoder's word."""

    @property
    def broken(self) -> int:
        """Events that could not be read; 0 where not the provider's stream failed, but what came
        of it here: the decoder has then read on, as far as the last piece went."""
        return 0 if self._ours else self._decoder.broken

    def feed(self, data: bytes) -> bytes:
        """Take bytes as they come, return what the caller gets now. Never raises."""
        if self.done or self.failure is not None:
            return b""
        return self._take(self._decoder.feed(data))

    def close(self) -> None:
        """The body is complete."""
        if not self.done and self.failure is None:
            out = self._take(self._decoder.close())
            if self.done:
                self.ending = out + self.ending

    def _take(self, events: list[Event]) -> bytes:
        out = []
        watch = self.watch
        for event in events:
            if isinstance(event, Failed):
                self.failure = event
                break
            if isinstance(event, Finish) and event.reason is FinishReason.ERROR:
                self._fail(Failed(kind=ErrorKind.UPSTREAM_ERROR, message=gave_up(event)))
                break
            if self._grammar is not None and (wrong := _wrong(self._grammar, event)):
                self._fail(wrong)
                break
            if isinstance(event, Count | Begin):
                self.usage = event.usage
            elif isinstance(event, Finish):
                self._content = True
                _tell(event, self._context)
            elif not self._content:
                self._content = _says_something(event)
            if watch is not None:
                watch.take(event)
                self._content = watch.said if watch.picky else self._content
            if self._tool is not None:
                turned = self._tool.take(event)
                if turned is None:
                    continue
                event = turned
            try:
                data = self._encoder.encode(event)
            except ReplyError as error:
                self._fail(Failed(kind=error.kind, message=error.message))
                break
            if isinstance(event, End):
                self.done = True
                self.ending = data
                break
            out.append(data)
        return b"".join(out)

    def _fail(self, failed: Failed) -> None:
        self._ours = True
        self.failure = failed

    def error_event(self, error: GatewayError, request_id: str) -> bytes:
        # The encoder knows what has been sent, and may number its events.
        failed = Failed(kind=error.kind, message=error.message)
        return self._encoder.encode(failed) or self._client.error_event(error, request_id)


def _wrong(grammar: Grammar, event: Event) -> Failed | None:
    try:
        grammar.check(event)
    except GrammarError as error:
        return Failed(kind=ErrorKind.INTERNAL, message=f"a decoder broke the grammar: {error}")
    return None


def _says_something(event: Event) -> bool:
    """False for the opening of a text or a thought that has no words yet."""
    if isinstance(event, Open):
        block = event.block
        if isinstance(block, Text | Refusal):
            return bool(block.text)
        return not isinstance(block, Thinking) or block.encrypted or bool(block.text)
    return isinstance(event, Delta | Data)
