"""Why an answer ended, from and to ``finishReason``.

https://ai.google.dev/api/generate-content#FinishReason. A stop with calls in the answer is a stop
for their results' sake; which sequence stopped it, the format doesn't say. Towards callers of the
format a refusal is ``SAFETY``, with its words as text and a ``finishMessage`` that says so: a
``STOP`` would be read as an ordinary answer.
"""

from ferryman.ir.events import Finish, FinishReason

_STOP = "STOP"
_FILTERED = frozenset(
    {
        "SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "MODEL_ARMOR", "ESCALATION",
    }
)  # fmt: skip
_FAILED = frozenset(
    {
        "MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS",
        "MISSING_THOUGHT_SIGNATURE", "MALFORMED_RESPONSE",
    }
)  # fmt: skip
_OTHER = frozenset(
    {
        "FINISH_REASON_UNSPECIFIED", "LANGUAGE", "OTHER", "IMAGE_OTHER", "NO_IMAGE",
        "PUP_LIMITED_DISABLED",
    }
)  # fmt: skip
_FAMILY = {
    FinishReason.CONTENT_FILTER: _FILTERED,
    FinishReason.ERROR: _FAILED,
    FinishReason.OTHER: _OTHER,
    FinishReason.PAUSE: frozenset({"CONTINUATION"}),
}
"""Words of the format that a detail may name."""
_PLAIN = {
    FinishReason.STOP: _STOP,
    FinishReason.STOP_SEQUENCE: _STOP,
    FinishReason.TOOL_CALLS: _STOP,
    FinishReason.LENGTH: "MAX_TOKENS",
    FinishReason.CONTEXT: "MAX_TOKENS",
    FinishReason.REFUSAL: "SAFETY",
    FinishReason.CONTENT_FILTER: "SAFETY",
}
_MESSAGES = {
    FinishReason.CONTEXT: "The context window is full.",
    FinishReason.REFUSAL: "The model declined to answer.",
    FinishReason.PAUSE: "The provider paused; send the conversation again for it to go on.",
}


def finish_of(word: str, message: str, called: bool, choice: int) -> Finish:
    """What ``finishReason`` and ``finishMessage`` say of a choice; ``called``: it has calls."""
    if word == _STOP:
        reason = FinishReason.TOOL_CALLS if called else FinishReason.STOP
        return Finish(reason=reason, choice=choice)
    detail = f"{word}: {message}" if message else word
    if word == "MAX_TOKENS":
        return Finish(reason=FinishReason.LENGTH, choice=choice)
    if word in _FILTERED:
        reason = FinishReason.CONTENT_FILTER
    elif word in _FAILED:
        reason = FinishReason.ERROR
    elif word == "CONTINUATION":
        reason = FinishReason.PAUSE
    else:
        reason = FinishReason.OTHER
    return Finish(reason=reason, detail=detail, choice=choice)


def blocked(reason: str, message: str) -> Finish:
    """The end of an answer that never began: the prompt was blocked."""
    detail = f"{reason}: {message}" if message else reason
    return Finish(reason=FinishReason.CONTENT_FILTER, detail=detail or "blocked")


def wire_finish(finish: Finish) -> tuple[str, str | None]:
    """``finishReason`` and ``finishMessage`` for callers of the format."""
    reason = finish.reason
    word, _, rest = finish.detail.partition(": ")
    if word in _FAMILY.get(reason, ()):
        return word, rest or None
    plain = _PLAIN.get(reason, "OTHER")
    if plain == _STOP:
        return plain, None
    return plain, finish.detail or _MESSAGES.get(reason)
