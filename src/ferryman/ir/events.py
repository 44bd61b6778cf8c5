"""Answers in the common language: events as they come, and the whole that they fold into."""

from enum import StrEnum
from typing import TypeAlias

from msgspec import Raw, Struct

from ferryman.ir.errors import ErrorKind
from ferryman.ir.request import Block, Citation, Signature
from ferryman.ir.usage import Usage


class FinishReason(StrEnum):
    """Why a choice ended. None of them ever stands in for another."""

    STOP = "stop"
    """The model had said all."""
    STOP_SEQUENCE = "stop_sequence"
    LENGTH = "length"
    """The output limit."""
    CONTEXT = "context"
    """The context window is full."""
    TOOL_CALLS = "tool_calls"
    REFUSAL = "refusal"
    """The model declined."""
    CONTENT_FILTER = "content_filter"
    """The provider's filter stepped in; ``detail`` has its word (safety, blocklist…)."""
    PAUSE = "pause"
    """The provider wants to be asked again to go on (its own tools run long)."""
    ERROR = "error"
    """The provider gave up; ``detail`` has its word."""
    OTHER = "other"
    """A reason that this list has no word for: ``detail`` has the provider's."""


class Begin(Struct, frozen=True, kw_only=True, tag="begin"):
    """The first event of an answer, once."""

    id: str = ""
    model: str = ""
    """The model that answers, as the provider names it."""
    created: int = 0
    """Unix seconds; 0 = the provider doesn't say."""
    service_tier: str = ""
    fingerprint: str = ""
    """``system_fingerprint``."""
    usage: Usage | None = None
    """What is known of the usage at the start (the input), in formats that say it then."""


class Open(Struct, frozen=True, kw_only=True, tag="open"):
    """A block begins: what is known of it so far, mostly its kind, a tool's id and name."""

    index: int
    """Position within its choice: 0, 1, 2… without gaps."""
    block: Block
    choice: int = 0


class Delta(Struct, frozen=True, kw_only=True, tag="delta"):
    """More of the open block's main text: words, thoughts, arguments, a transcript."""

    index: int
    text: str
    choice: int = 0


class Data(Struct, frozen=True, kw_only=True, tag="data"):
    """More of the open medium's base64."""

    index: int
    data: str
    choice: int = 0


class Cite(Struct, frozen=True, kw_only=True, tag="cite"):
    """A citation of the open text."""

    index: int
    citation: Citation
    choice: int = 0


class Probs(Struct, frozen=True, kw_only=True, tag="probs"):
    """Log-probabilities of tokens just said: items of the chat format's ``logprobs.content``."""

    index: int
    tokens: tuple[Raw, ...]
    """Each ``{token, logprob, bytes, top_logprobs}`` as JSON, the most widely spoken form."""
    choice: int = 0


class Seal(Struct, frozen=True, kw_only=True, tag="seal"):
    """The open block's signature (all of it, once per block)."""

    index: int
    signature: Signature
    choice: int = 0


class Close(Struct, frozen=True, kw_only=True, tag="close"):
    """The open block is complete."""

    index: int
    choice: int = 0


class Count(Struct, frozen=True, kw_only=True, tag="count"):
    """Usage so far, for the whole call; a later one replaces an earlier one."""

    usage: Usage


class Beside(Struct, frozen=True, kw_only=True):
    """A member of a reply that only its own format has: what the provider's own tools looked up."""

    origin: str
    """The format."""
    name: str
    """The member's path there."""
    raw: Raw
    carried: str = ""
    """How callers of other formats get it; empty = not at all."""


class Finish(Struct, frozen=True, kw_only=True, tag="finish"):
    """A choice is over."""

    reason: FinishReason
    stop_sequence: str = ""
    """The sequence that stopped it, where the provider says which."""
    detail: str = ""
    """The provider's own word, where ``reason`` says less."""
    beside: tuple[Beside, ...] = ()
    choice: int = 0


class End(Struct, frozen=True, kw_only=True, tag="end"):
    """The answer is complete: every choice has finished. The last event."""


class Failed(Struct, frozen=True, kw_only=True, tag="failed"):
    """The answer will not be completed. The last event, instead of :class:`End`."""

    kind: ErrorKind
    message: str
    """The provider's words, or ours about what is wrong with its stream."""
    code: str = ""
    """The provider's own code or type."""


Event: TypeAlias = (
    Begin | Open | Delta | Data | Cite | Probs | Seal | Close | Count | Finish | End | Failed
)


class Choice(Struct, frozen=True, kw_only=True):
    """One whole answer."""

    blocks: tuple[Block, ...] = ()
    finish: Finish
    logprobs: tuple[Raw, ...] = ()
    """As in :class:`Probs`."""


class Reply(Struct, frozen=True, kw_only=True):
    """A whole reply: the fold of its events."""

    begin: Begin
    choices: tuple[Choice, ...]
    """By their index."""
    usage: Usage | None = None
    """None = the provider didn't say: unknown, not zero."""
