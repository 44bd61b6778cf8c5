"""What is read of the Cohere format's JSON; unknown members are skipped.

Whole replies: https://docs.cohere.com/reference/chat, streams:
https://docs.cohere.com/reference/chat-stream. Nearly every member may be missing or null.
"""

from typing import TypeAlias

from msgspec import Raw, Struct

ORIGIN = "cohere_chat"


class Units(Struct):
    """Tokens as billed, or as processed; numbers come as floats."""

    input_tokens: float | None = None
    output_tokens: float | None = None


class WireUsage(Struct):
    """``usage``: billed are the caller's own tokens, processed also those of the prompt's frame."""

    billed_units: Units | None = None
    tokens: Units | None = None
    cached_tokens: float | None = None


class Logprobs(Struct):
    """A piece of text and the log-probability of each of its tokens."""

    text: str | None = None
    logprobs: list[float] | None = None


class Document(Struct):
    """What a cited document says of itself, as far as it is told; values may be of any type."""

    title: object = None
    url: object = None


class WireSource(Struct):
    """A document of the request, or a tool's result."""

    type: str | None = None
    id: str | None = None
    document: Document | None = None


class WireCitation(Struct):
    """A citation of ``start`` to ``end`` of a block of the answer."""

    start: int | None = None
    end: int | None = None
    sources: list[WireSource] | None = None
    content_index: int | None = None
    type: str | None = None


class Function(Struct):
    """A call's tool and arguments."""

    name: str | None = None
    arguments: str | None = None


class WireCall(Struct):
    """A tool call, whole or a fragment."""

    id: str | None = None
    function: Function | None = None


class Content(Struct):
    """A block of text or thoughts, whole or a fragment."""

    type: str | None = None
    text: str | None = None
    thinking: str | None = None


class WireMessage(Struct):
    """The answer's message."""

    content: list[Raw] | None = None
    tool_plan: str | None = None
    tool_calls: list[WireCall] | None = None
    citations: list[Raw] | None = None


class WireReply(Struct):
    """A whole reply."""

    message: WireMessage
    id: str | None = None
    finish_reason: str | None = None
    usage: WireUsage | None = None
    logprobs: list[Logprobs] | None = None


class Failure(Struct):
    """An error in place of a reply or an event."""

    message: str
    id: str | None = None


# --- events of streams --------------------------------------------------------------------------


class ContentMessage(Struct):
    """``delta.message`` of a block's events."""

    content: Content | None = None


class ContentDelta(Struct):
    """``delta`` of a block's events."""

    message: ContentMessage | None = None


class PlanMessage(Struct):
    """``delta.message`` of a plan's events."""

    tool_plan: str | None = None


class PlanDelta(Struct):
    """``delta`` of a plan's events."""

    message: PlanMessage | None = None


class CallMessage(Struct):
    """``delta.message`` of a call's events."""

    tool_calls: WireCall | None = None


class CallDelta(Struct):
    """``delta`` of a call's events."""

    message: CallMessage | None = None


class CitationMessage(Struct):
    """``delta.message`` of a citation's event; mostly one, said as an object."""

    citations: Raw = Raw()


class CitationDelta(Struct):
    """``delta`` of a citation's event."""

    message: CitationMessage | None = None


class EndDelta(Struct):
    """``delta`` of the last event."""

    error: str | None = None
    finish_reason: str | None = None
    usage: WireUsage | None = None


class Event(Struct, tag_field="type"):
    """An event of a stream."""


class MessageStart(Event, tag="message-start"):
    """The first event."""

    id: str | None = None


class ContentStart(Event, tag="content-start"):
    """A block of text or thoughts begins."""

    index: int | None = None
    delta: ContentDelta | None = None


class ContentMore(Event, tag="content-delta"):
    """More of it."""

    index: int | None = None
    delta: ContentDelta | None = None
    logprobs: Logprobs | None = None


class ContentEnd(Event, tag="content-end"):
    """It is complete; citations of it may still come."""

    index: int | None = None


class PlanMore(Event, tag="tool-plan-delta"):
    """More of the plan that precedes calls."""

    delta: PlanDelta | None = None


class CallStart(Event, tag="tool-call-start"):
    """A call begins."""

    index: int | None = None
    delta: CallDelta | None = None


class CallMore(Event, tag="tool-call-delta"):
    """More of its arguments."""

    index: int | None = None
    delta: CallDelta | None = None


class CallEnd(Event, tag="tool-call-end"):
    """It is complete."""

    index: int | None = None


class CitationStart(Event, tag="citation-start"):
    """A citation, all of it."""

    index: int | None = None
    delta: CitationDelta | None = None


class MessageEnd(Event, tag="message-end"):
    """The last event."""

    id: str | None = None
    delta: EndDelta | None = None


KnownEvent: TypeAlias = (
    MessageStart
    | ContentStart
    | ContentMore
    | ContentEnd
    | PlanMore
    | CallStart
    | CallMore
    | CallEnd
    | CitationStart
    | MessageEnd
)


class AnyEvent(Struct):
    """An event, as far as all have it; one that stands for an error has words instead."""

    type: str | None = None
    message: object = None
