"""``countTokens``: https://ai.google.dev/api/tokens#method:-models.counttokens."""

import msgspec

from ferryman.ir.request import Request
from ferryman.ir.unreadable import UNREADABLE
from ferryman.wire.carry import shape_error
from ferryman.wire.gemini_generate.request import decode_request
from ferryman.wire.gemini_generate.types import CountBody

_body = msgspec.json.Decoder(CountBody).decode
_encode = msgspec.json.Encoder().encode


def decode_count(body: bytes, model: str) -> Request:
    """What is to be counted: contents alone, or a whole ``generateContentRequest``.

    Raises :class:`GatewayError` (400) that names the member.
    """
    try:
        said = _body(body)
    except UNREADABLE as error:
        raise shape_error(error) from None
    whole = bytes(said.generate_content_request or said.proto_request)
    if whole and whole != b"null":
        return decode_request(whole, model, False)
    return decode_request(body, model, False)


def encode_count(tokens: int) -> bytes:
    """The reply."""
    return _encode({"totalTokens": tokens})
