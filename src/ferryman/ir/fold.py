"""Events folded into a whole reply, and a whole reply told as events. Pure."""

from collections.abc import Iterable, Iterator

from msgspec import Raw
from msgspec.structs import replace

from ferryman.ir.events import (
    Begin,
    Choice,
    Cite,
    Close,
    Count,
    Data,
    Delta,
    End,
    Event,
    Failed,
    Finish,
    FinishReason,
    Open,
    Probs,
    Reply,
    Seal,
)
from ferryman.ir.request import (
    Block,
    Citation,
    Opaque,
    Refusal,
    Signature,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)


class FailedReplyError(Exception):
    """The events end in :class:`Failed`, or not at all: there is no whole reply."""

    def __init__(self, failed: Failed | None) -> None:
        super().__init__(failed.message if failed else "the answer has no end")
        self.failed = failed


class Piece:
    """A block while it is being put together."""

    __slots__ = ("block", "citations", "data", "signature", "texts")

    def __init__(self, block: Block) -> None:
        self.block = block
        self.texts: list[str] = []
        self.data: list[str] = []
        self.citations: list[Citation] = []
        self.signature: Signature | None = None

    def take(self, event: Delta | Data | Cite | Seal) -> None:
        """More of it."""
        if isinstance(event, Delta):
            self.texts.append(event.text)
        elif isinstance(event, Data):
            self.data.append(event.data)
        elif isinstance(event, Cite):
            self.citations.append(event.citation)
        else:
            self.signature = event.signature

    def whole(self) -> Block:
        """The block with all that came for it."""
        block, text = self.block, "".join(self.texts)
        if isinstance(block, Refusal):
            return replace(block, text=block.text + text)
        if isinstance(block, ToolResult | Opaque):
            return block
        signature = self.signature or block.signature
        if isinstance(block, Text):
            citations = (*block.citations, *self.citations)
            return replace(block, text=block.text + text, citations=citations, signature=signature)
        if isinstance(block, Thinking):
            return replace(block, text=block.text + text, signature=signature)
        if isinstance(block, ToolCall):
            return replace(block, arguments=block.arguments + text, signature=signature)
        source = replace(block.source, data=block.source.data + "".join(self.data))
        transcript = block.transcript + text
        return replace(block, source=source, transcript=transcript, signature=signature)


def fold(events: Iterable[Event]) -> Reply:
    """The whole reply. Raises :class:`FailedReplyError` when the events don't come to their end."""
    begin, usage, ended = Begin(), None, False
    open_: dict[int, Piece] = {}
    blocks: dict[int, list[Block]] = {}
    probs: dict[int, list[Raw]] = {}
    finishes: dict[int, Finish] = {}
    for event in events:
        if isinstance(event, Delta | Data | Cite | Seal):
            open_[event.choice].take(event)
        elif isinstance(event, Begin):
            begin, usage = event, event.usage
        elif isinstance(event, Open):
            open_[event.choice] = Piece(event.block)
        elif isinstance(event, Close):
            blocks.setdefault(event.choice, []).append(open_.pop(event.choice).whole())
        elif isinstance(event, Count):
            usage = event.usage
        elif isinstance(event, Finish):
            finishes[event.choice] = event
        elif isinstance(event, Probs):
            probs.setdefault(event.choice, []).extend(event.tokens)
        elif isinstance(event, Failed):
            raise FailedReplyError(event)
        else:
            ended = True
    if not ended:
        raise FailedReplyError(None)
    choices = tuple(
        Choice(
            blocks=tuple(blocks.get(choice, ())),
            finish=finishes[choice],
            logprobs=tuple(probs.get(choice, ())),
        )
        for choice in sorted(finishes)
    )
    return Reply(begin=begin, choices=choices, usage=usage)


def unfold(reply: Reply) -> Iterator[Event]:
    """The events of a whole reply, for a caller who asked for a stream."""
    yield reply.begin
    for number, choice in enumerate(reply.choices):
        if choice.logprobs:
            yield Probs(index=0, tokens=choice.logprobs, choice=number)
        for index, block in enumerate(choice.blocks):
            yield from unfold_block(block, index, number)
        yield replace(choice.finish, choice=number)
    if reply.usage is not None:
        yield Count(usage=reply.usage)
    yield End()


def unfold_block(block: Block, index: int, choice: int = 0) -> Iterator[Event]:
    """The events of one whole block."""
    text = ""
    citations: tuple[Citation, ...] = ()
    signature: Signature | None = None
    opening: Block = block
    if isinstance(block, Text):
        text, citations, signature = block.text, block.citations, block.signature
        opening = replace(block, text="", citations=(), signature=None)
    elif isinstance(block, Thinking) and not block.encrypted:
        text, signature = block.text, block.signature
        opening = replace(block, text="", signature=None)
    elif isinstance(block, ToolCall):
        text, signature = block.arguments, block.signature
        opening = replace(block, arguments="", signature=None)
    elif isinstance(block, Refusal):
        text, opening = block.text, replace(block, text="")
    yield Open(index=index, block=opening, choice=choice)
    if text:
        yield Delta(index=index, text=text, choice=choice)
    for citation in citations:
        yield Cite(index=index, citation=citation, choice=choice)
    if signature is not None:
        yield Seal(index=index, signature=signature, choice=choice)
    yield Close(index=index, choice=choice)


class OutputFromTool:
    """Turns calls of one tool back into text, event by event: it stood for structured output."""

    __slots__ = ("_calls", "_name", "_only")

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: set[tuple[int, int]] = set()
        self._only: dict[int, bool] = {}
        """Choice → whether no other tool was called."""

    def take(self, event: Event) -> Event | None:
        """``event`` as the caller shall see it; None for nothing."""
        if isinstance(event, Open) and isinstance(event.block, ToolCall):
            if event.block.name != self._name:
                self._only[event.choice] = False
                return event
            self._calls.add((event.choice, event.index))
            self._only.setdefault(event.choice, True)
            return replace(event, block=Text(text=event.block.arguments))
        if isinstance(event, Seal) and (event.choice, event.index) in self._calls:
            return None
        if (
            isinstance(event, Finish)
            and event.reason is FinishReason.TOOL_CALLS
            and self._only.get(event.choice)
        ):
            return replace(event, reason=FinishReason.STOP, detail="")
        return event


def output_from_tool(reply: Reply, name: str) -> Reply:
    """The same for a whole reply."""
    turn = OutputFromTool(name)
    return fold([out for event in unfold(reply) if (out := turn.take(event)) is not None])
