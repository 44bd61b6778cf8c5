"""Speech of models that converse.

https://ai.google.dev/gemini-api/docs/speech-generation: the sound is 16-bit PCM of one channel,
little-endian whatever ``audio/L16`` may mean elsewhere; its media type tells the rate.
"""

import base64
import binascii
import re

import msgspec

from ferryman.ir.errors import ErrorKind
from ferryman.ir.media import SpeechReply, SpeechRequest
from ferryman.ir.receipt import Receipt
from ferryman.wire.format import Aim, ReplyError
from ferryman.wire.gemini_generate.made import read_made
from ferryman.wire.task import TaskProvider

_encode = msgspec.json.Encoder().encode
_RATE = re.compile(r"rate=(\d{4,6})")
VOICE = "Kore"
"""The voice of those who name none."""


def encode_request(asked: SpeechRequest, aim: Aim, receipt: Receipt) -> bytes:
    """The body. How the text is to be said stands before it: there is no other place."""
    if asked.response_format not in ("wav", "pcm"):
        if asked.response_format:
            receipt.drop("response_format")
        receipt.alter("response_format", "wav")
    if asked.speed != 1.0:
        receipt.drop("speed")
    for path in asked.unknown:
        receipt.drop(path)
    text = asked.text
    if asked.instructions:
        receipt.alter("instructions", "before the text")
        text = f"{asked.instructions.rstrip().removesuffix(':')}:\n{text}"
    if not asked.voice:
        receipt.alter("voice", VOICE)
    voice = {"prebuiltVoiceConfig": {"voiceName": asked.voice or VOICE}}
    config = {"responseModalities": ["AUDIO"], "speechConfig": {"voiceConfig": voice}}
    turn = {"role": "user", "parts": [{"text": text}]}
    return _encode({"contents": [turn], "generationConfig": config})


def decode_reply(body: bytes, asked: SpeechRequest) -> SpeechReply:
    """The sound. Raises :class:`ReplyError`."""
    made, usage = read_made(body, "audio/")
    media_type = made[0].mime_type or ""
    if not media_type.lower().startswith(("audio/l16", "audio/pcm")):
        why = f"sound of the type {media_type[:40]}, where PCM was to come"
        raise ReplyError(ErrorKind.UPSTREAM_PROTOCOL, why)
    rate = _RATE.search(media_type)
    try:
        pcm = b"".join([base64.b64decode(blob.data or "", validate=True) for blob in made])
    except (binascii.Error, ValueError):
        raise ReplyError(ErrorKind.UPSTREAM_PROTOCOL, "the sound is no base64") from None
    return SpeechReply(pcm, int(rate[1]) if rate else 24_000, usage)


PROVIDER = TaskProvider(encode_request, decode_reply)
