"""Why an answer ended, in the chat format's five words and in those of compatible servers.

https://platform.openai.com/docs/api-reference/chat/object; more words: https://docs.mistral.ai
(``model_length``), https://openrouter.ai/docs/api/reference/overview (``error``, and the provider's
own in ``native_finish_reason``), https://api-docs.deepseek.com, https://docs.bigmodel.cn
(``sensitive``, ``network_error``), https://ai.google.dev/gemini-api/docs/openai
(``function_call_filter: UNEXPECTED_TOOL_CALL``), https://docs.vllm.ai (``stop_reason``).
"""

from ferryman.ir.events import Finish, FinishReason
from ferryman.wire.openai_chat.types import SaidChoice

_READ = {
    "stop": FinishReason.STOP,
    "eos": FinishReason.STOP,
    "eos_token": FinishReason.STOP,
    "end_turn": FinishReason.STOP,
    "complete": FinishReason.STOP,
    "completed": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP_SEQUENCE,
    "length": FinishReason.LENGTH,
    "max_tokens": FinishReason.LENGTH,
    "max_output_tokens": FinishReason.LENGTH,
    "model_length": FinishReason.CONTEXT,
    "context_length_exceeded": FinishReason.CONTEXT,
    "model_context_window_exceeded": FinishReason.CONTEXT,
    "tool_calls": FinishReason.TOOL_CALLS,
    "tool_call": FinishReason.TOOL_CALLS,
    "tool_use": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "refusal": FinishReason.REFUSAL,
    "content_filter": FinishReason.CONTENT_FILTER,
    "content_filtered": FinishReason.CONTENT_FILTER,
    "sensitive": FinishReason.CONTENT_FILTER,
    "safety": FinishReason.CONTENT_FILTER,
    "pause_turn": FinishReason.PAUSE,
    "error": FinishReason.ERROR,
    "network_error": FinishReason.ERROR,
    "insufficient_system_resource": FinishReason.ERROR,
    "abort": FinishReason.ERROR,
    "function_call_filter": FinishReason.ERROR,
}
_FINER = frozenset(
    [FinishReason.STOP_SEQUENCE, FinishReason.CONTEXT, FinishReason.REFUSAL, FinishReason.PAUSE]
)
"""What a router's own word says no more, and its ``native_finish_reason`` does."""

WORDS = {
    FinishReason.STOP: "stop",
    FinishReason.STOP_SEQUENCE: "stop",
    FinishReason.LENGTH: "length",
    FinishReason.CONTEXT: "length",
    FinishReason.TOOL_CALLS: "tool_calls",
    FinishReason.REFUSAL: "stop",
    FinishReason.CONTENT_FILTER: "content_filter",
    FinishReason.PAUSE: "length",
    FinishReason.OTHER: "stop",
}
"""What callers are told. A pause is told as an answer that is not complete, and an error as one:
there is no word for it."""
EXACT = frozenset(
    [
        FinishReason.STOP,
        FinishReason.LENGTH,
        FinishReason.TOOL_CALLS,
        FinishReason.CONTENT_FILTER,
        FinishReason.REFUSAL,
    ]
)
"""Reasons that their word, or the refusal beside it, says in full."""
DECLINED = "The model declined to answer."
"""Stands for the words of a refusal that came without any."""


def refusal_words(finish: Finish) -> str:
    """What stands as ``refusal`` of an answer whose own blocks refuse nothing; empty = nothing.

    Of a filter's ``detail`` that is what follows its word, as in ``SAFETY: the words``.
    """
    if finish.reason is FinishReason.CONTENT_FILTER:
        return finish.detail.partition(": ")[2]
    return finish.detail or DECLINED if finish.reason is FinishReason.REFUSAL else ""


def read_finish(choice: SaidChoice, number: int, *, called: bool, refused: bool) -> Finish:
    """What a provider says of the end of a choice that ``called`` tools, or ``refused``.

    A choice that calls a tool because it had to ends in ``stop`` at some providers, and one that
    refuses at all of them: these are told apart here.
    """
    word = choice.finish_reason or ""
    reason = _READ.get(word.lower().partition(":")[0], FinishReason.OTHER)
    native = _word(choice.native_finish_reason) or _native(choice.stop_reason)
    finer = _READ.get(native.lower())
    sequence = ""
    if finer in _FINER:
        reason = finer
    elif reason is FinishReason.STOP:
        sequence = _sequence(choice.stop_reason) or _word(choice.matched_stop)
        if refused:
            reason = FinishReason.REFUSAL
        elif called:
            reason = FinishReason.TOOL_CALLS
        elif sequence:
            reason = FinishReason.STOP_SEQUENCE
    said = native or word
    if reason is FinishReason.REFUSAL and _READ.get(said.lower()) is FinishReason.STOP:
        said = ""  # the refusal stands beside it: the word says nothing of what it is about
    return Finish(
        reason=reason,
        stop_sequence=sequence if reason is FinishReason.STOP_SEQUENCE else "",
        detail="" if said == reason else said,
        choice=number,
    )


def _word(value: object) -> str:
    return value if isinstance(value, str) else ""


def _native(value: object) -> str:
    """``stop_reason`` where it is another word for the reason."""
    word = _word(value)
    return word if word.lower() in _READ else ""


def _sequence(value: object) -> str:
    """``stop_reason`` where it is the sequence that was met."""
    word = _word(value)
    return "" if word.lower() in _READ else word
