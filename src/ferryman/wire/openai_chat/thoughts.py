"""Thoughts and their signatures in chat messages, both ways.

The format itself has none. What is spoken widely instead: ``reasoning_content`` (text), and
``reasoning_details`` (https://openrouter.ai/docs/guides/best-practices/reasoning-tokens), an array
that carries signatures and encrypted thoughts. A tool call's or text's own signature stands in
``extra_content`` (https://ai.google.dev/gemini-api/docs/thought-signatures).

``index`` is the block's place among all blocks of its answer, so that thoughts between other blocks
find their way back. Those who count the details alone fit in, for they come first.
"""

from collections.abc import Iterable, Sequence

from ferryman.ir.request import Block, Signature, Thinking
from ferryman.ir.signature import unwrap, wrap
from ferryman.wire.openai_chat.types import Detail, ExtraContent, Google

NAME = "openai_chat"
TEXT, SUMMARY, ENCRYPTED = "reasoning.text", "reasoning.summary", "reasoning.encrypted"
_FORMATS = {
    "anthropic_messages": "anthropic-claude-v1",
    "bedrock_converse": "anthropic-claude-v1",
    "gemini_generate": "google-gemini-v1",
    "openai_responses": "openai-responses-v1",
}
"""Origin of a signature → what ``format`` says."""
_BAR = "|"


def packed(detail: Detail, beside_summary: bool) -> Signature | None:
    """The signature of a provider's ``detail``; what it must return with stands before it.

    Within this format's own signatures ``FORMAT|value`` is a signature or the encrypted thoughts,
    ``FORMAT||value`` encrypted thoughts whose summary is the block's text.
    """
    value = detail.signature or detail.data
    if not value:
        return None
    bars = _BAR * 2 if beside_summary else _BAR
    return Signature(f"{detail.format or ''}{bars}{value}", NAME)


def details(block: Thinking, index: int) -> list[Detail]:
    """The items of ``reasoning_details`` for ``block``, the ``index``-th of its answer."""
    signature = block.signature
    ident = block.id or None
    form: str | None = None
    if signature is None:
        return [Detail(type=TEXT, text=block.text, id=ident, index=index)] if block.text else []
    hidden = block.encrypted
    if signature.origin == NAME:
        form, bar, value = signature.value.partition(_BAR)
        if not bar:
            form, value = "", signature.value
        if value.startswith(_BAR):
            hidden, value = True, value[1:]
        form = form or None
    else:
        value = wrap(signature, NAME)
        form = _FORMATS.get(signature.origin)
    if not hidden:
        return [
            Detail(
                type=TEXT,
                text=block.text or None,
                signature=value,
                id=ident,
                format=form,
                index=index,
            )
        ]
    out = [Detail(type=ENCRYPTED, data=value, id=ident, format=form, index=index)]
    if block.text:
        out.insert(0, Detail(type=SUMMARY, summary=block.text, id=ident, format=form, index=index))
    return out


class Thought:
    """A block of thoughts while its details are put together."""

    __slots__ = ("encrypted", "id", "index", "signature", "texts")

    def __init__(self, index: int | None) -> None:
        self.index = index
        self.texts: list[str] = []
        self.signature: Signature | None = None
        self.encrypted = False
        self.id = ""

    def takes(self, detail: Detail) -> bool:
        """Whether ``detail`` belongs to the same block."""
        if detail.index is None or detail.index != self.index:
            return False
        return self.signature is None

    def take(self, detail: Detail, *, wrapped: bool) -> None:
        """Add what ``detail`` says; ``wrapped``: a foreign signature may be in an envelope."""
        text = detail.text or detail.summary
        if text:
            self.texts.append(text)
        self.id = detail.id or self.id
        value = detail.signature or detail.data
        if not value:
            return
        foreign = unwrap(value, NAME) if wrapped else None
        hidden = bool(detail.data)
        if foreign is not None and foreign.origin != NAME:
            self.signature, self.encrypted = foreign, hidden
            return
        beside = hidden and bool(self.texts)
        self.signature, self.encrypted = packed(detail, beside), hidden and not beside

    def block(self) -> Thinking:
        """The whole block."""
        return Thinking(
            text="".join(self.texts),
            signature=self.signature,
            encrypted=self.encrypted,
            id=self.id,
        )


def thoughts(items: Iterable[Detail], *, wrapped: bool) -> list[tuple[int, Thinking]]:
    """The blocks that ``reasoning_details`` tell of, with the place that each had (-1: not said).

    Fragments of one block, as streams bring them and clients collect them, are joined.
    """
    found: list[Thought] = []
    for detail in items:
        if not (detail.text or detail.summary or detail.signature or detail.data):
            continue
        if not found or not found[-1].takes(detail):
            found.append(Thought(detail.index))
        found[-1].take(detail, wrapped=wrapped)
    return [(-1 if t.index is None else t.index, t.block()) for t in found]


def in_place(found: Sequence[tuple[int, Thinking]], rest: Iterable[Block]) -> tuple[Block, ...]:
    """Thoughts and the other blocks of a message, in the order of the answer they came in."""
    others = iter(rest)
    out: list[Block] = []
    for index, thought in found:
        while len(out) < index:
            other = next(others, None)
            if other is None:
                break
            out.append(other)
        out.append(thought)
    out.extend(others)
    return tuple(out)


def signature_in(extra: ExtraContent | None, *, wrapped: bool) -> Signature | None:
    """The signature of a call or text."""
    if extra is None or extra.google is None or not extra.google.thought_signature:
        return None
    value = extra.google.thought_signature
    return unwrap(value, NAME) if wrapped else Signature(value, NAME)


def extra_content(signature: Signature | None) -> ExtraContent | None:
    """``extra_content`` with the signature of a call or text."""
    if signature is None:
        return None
    return ExtraContent(google=Google(thought_signature=wrap(signature, NAME)))
