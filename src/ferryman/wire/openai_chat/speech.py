"""Callers of OpenAI's speech, answered by providers of other dialects.

https://platform.openai.com/docs/api-reference/audio/createSpeech. Sound that comes as samples can
be given as ``pcm`` and ``wav``; to make another format of it would take an encoder.
"""

import struct
from base64 import b64encode
from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct

from ferryman.ir.media import SpeechReply, SpeechRequest
from ferryman.ir.receipt import Receipt
from ferryman.ir.unreadable import UNREADABLE
from ferryman.wire.carry import Reader, bad_request, shape_error
from ferryman.wire.paths import EVENTS
from ferryman.wire.task import TaskClient

_encode = msgspec.json.Encoder().encode
_text = msgspec.json.Decoder(str).decode
BUILT_IN = frozenset(
    {
        "alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx",
        "sage", "shimmer", "verse",
    }
)  # fmt: skip
"""Voices that no other provider has."""


class _Body(Struct, forbid_unknown_fields=True, kw_only=True):
    input: str
    model: str = ""
    voice: Raw = Raw(b'""')
    instructions: str | None = None
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] | None = None
    speed: float | None = None
    stream_format: Literal["sse", "audio"] | None = None


_body: Reader[_Body] = Reader(_Body)


def decode_request(body: bytes, model: str) -> SpeechRequest:
    """What is to be said. Raises :class:`GatewayError` (400)."""
    unknown: list[str] = []
    said = _body.read(body, "", unknown)
    if not said.input:
        raise bad_request("'input' is empty; send the text to be said.", "input")
    voice = _voice(said.voice)
    if voice is None or voice in BUILT_IN:
        unknown.append("voice")
        voice = ""
    return SpeechRequest(
        text=said.input,
        voice=voice,
        instructions=said.instructions or "",
        response_format=said.response_format or "",
        speed=1.0 if said.speed is None else said.speed,
        events=said.stream_format == "sse",
        unknown=tuple(unknown),
    )


def _voice(raw: Raw) -> str | None:
    """The voice's name; None for a voice of the caller's own, kept at the provider it names."""
    start = bytes(raw)[:1]
    if start == b"{":
        return None
    if start != b'"':
        raise bad_request("'voice' must be a string, or an object with an id.", "voice")
    try:
        return _text(raw)
    except UNREADABLE as error:
        raise shape_error(error, "voice") from None


def encode_reply(reply: SpeechReply, asked: SpeechRequest, receipt: Receipt) -> tuple[bytes, bytes]:
    """Content-type and body: the sound, or events that carry it."""
    if asked.response_format == "pcm":
        media_type, sound = b"audio/pcm", reply.pcm
        if reply.rate != 24_000:
            receipt.alter("response_format", f"pcm of {reply.rate} Hz")
    else:
        media_type, sound = b"audio/wav", _wav(reply)
    if not asked.events:
        return media_type, sound
    done: dict[str, Any] = {"type": "speech.audio.done"}
    if reply.usage is not None:
        given, made = reply.usage.total_input, reply.usage.total_output
        counts = {"input_tokens": given, "output_tokens": made, "total_tokens": given + made}
        done["usage"] = counts
    delta = {"type": "speech.audio.delta", "audio": b64encode(sound).decode()}
    return EVENTS, b"data: %b\n\ndata: %b\n\n" % (_encode(delta), _encode(done))


def _wav(reply: SpeechReply) -> bytes:
    """The samples behind a header (RIFF, one chunk ``fmt`` of PCM)."""
    size = len(reply.pcm)
    rate = reply.rate
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    return b"".join(
        (struct.pack("<4sI4s", b"RIFF", 36 + size, b"WAVE"), form,
         struct.pack("<4sI", b"data", size), reply.pcm)
    )  # fmt: skip


CLIENT = TaskClient(decode_request=decode_request, encode_reply=encode_reply)
