"""Why an answer ended: https://platform.claude.com/docs/en/build-with-claude/handling-stop-reasons.

The vendor's clients must expect words that are new to them. What the format has no word for ends
in ``other``, so that it is never taken for a normal end; a provider's filter ends in ``refusal``,
which is the format's word for classifiers that step in.
"""

import re
from typing import Any

from ferryman.ir.events import Finish, FinishReason
from ferryman.ir.receipt import Receipt
from ferryman.wire.anthropic_messages.types import StopDetails

OTHER = "other"

_REASONS = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP_SEQUENCE,
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.CONTEXT,
    "tool_use": FinishReason.TOOL_CALLS,
    "refusal": FinishReason.REFUSAL,
    "pause_turn": FinishReason.PAUSE,
}
_WORDS = {reason: word for word, reason in _REASONS.items()}
_OWN_WORDS = frozenset(("compaction",))
"""Words of the format's that the common language has none for."""
_CATEGORY = re.compile(r"[a-z][a-z_]*")


def finish_of(reason: str | None, sequence: str | None, details: StopDetails | None) -> Finish:
    """The end of an answer in the common language."""
    known = _REASONS.get(reason or "")
    if known is None:
        return Finish(reason=FinishReason.OTHER, detail=reason or "")
    detail = (details.category or "") if details is not None else ""
    return Finish(reason=known, stop_sequence=sequence or "", detail=detail)


def stop_out(finish: Finish, refused: bool, receipt: Receipt) -> dict[str, Any]:
    """``stop_reason`` and what belongs to it; ``refused``: words of a refusal have been said.

    For an answer that ended in an error see the callers: it is none.
    """
    reason = finish.reason
    details: tuple[str | None, str | None] | None = None
    word = _WORDS.get(reason)
    if reason is FinishReason.CONTENT_FILTER:
        word, why = "refusal", f" ({finish.detail})" if finish.detail else ""
        details = (None, f"The provider's content filter stopped the answer{why}.")
        receipt.alter("stop_reason", "refusal for a content filter")
    elif word is None:
        word = finish.detail if finish.detail in _OWN_WORDS else OTHER
        if word is OTHER:
            receipt.alter("stop_reason", f"{OTHER} for {finish.detail or 'an unknown end'}")
    elif reason is FinishReason.STOP and refused:
        word = "refusal"
    if word == "refusal" and details is None:
        details = (finish.detail if _CATEGORY.fullmatch(finish.detail) else None, None)
    return {
        "stop_reason": word,
        "stop_sequence": finish.stop_sequence or None,
        "stop_details": None
        if details is None
        else {"type": "refusal", "category": details[0], "explanation": details[1]},
    }
