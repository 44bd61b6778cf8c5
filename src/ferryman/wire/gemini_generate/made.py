"""What a reply to a request for images or sound holds.

https://ai.google.dev/api/generate-content#generatecontentresponse: media are parts with
``inlineData``.
"""

import msgspec

from ferryman.ir.errors import ErrorKind
from ferryman.ir.events import FinishReason
from ferryman.ir.unreadable import UNREADABLE
from ferryman.ir.usage import Usage
from ferryman.wire.carry import NOTHING
from ferryman.wire.format import ReplyError, unreadable
from ferryman.wire.gemini_generate.errors import failed
from ferryman.wire.gemini_generate.stops import blocked, finish_of
from ferryman.wire.gemini_generate.types import Response, SaidBlob
from ferryman.wire.gemini_generate.usage import read_usage

_read = msgspec.json.Decoder(Response).decode


def read_made(body: bytes, kind: str) -> tuple[list[SaidBlob], Usage | None]:
    """The media whose type begins with ``kind`` (at least one), and the usage.

    Raises :class:`ReplyError`: filtered, or no such media in it.
    """
    try:
        said = _read(body)
    except UNREADABLE as error:
        raise unreadable(error) from None
    if said.error and bytes(said.error) not in NOTHING:
        found = failed(body)
        raise ReplyError(found.kind, found.message)
    parts = [
        part
        for candidate in said.candidates or ()
        for part in (candidate.content and candidate.content.parts) or ()
        if not part.thought
    ]
    blobs = [part.inline_data for part in parts if part.inline_data is not None]
    made = [blob for blob in blobs if blob.data and (blob.mime_type or "").startswith(kind)]
    if not made:
        raise _nothing(said, " ".join(part.text for part in parts if part.text))
    return made, read_usage(said.usage_metadata)


def _nothing(said: Response, words: str) -> ReplyError:
    """Why there is nothing."""
    feedback = said.prompt_feedback
    if feedback is not None and feedback.block_reason:
        end = blocked(feedback.block_reason, feedback.block_reason_message or "")
        return ReplyError(ErrorKind.CONTENT_FILTERED, f"the prompt was blocked ({end.detail})")
    for candidate in said.candidates or ():
        reason, message = candidate.finish_reason or "", candidate.finish_message or ""
        end = finish_of(reason, message, False, 0)
        if end.reason is FinishReason.CONTENT_FILTER:
            return ReplyError(ErrorKind.CONTENT_FILTERED, f"the answer was blocked ({end.detail})")
        words = words or end.detail
    why = f"it said only: {words[:400]}" if words else "it doesn't say why"
    return ReplyError(ErrorKind.UPSTREAM_PROTOCOL, f"the model made nothing; {why}")
