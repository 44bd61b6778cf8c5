"""The generateContent format, both sides."""

from ferryman.wire.format import ClientSide, Format, ProviderSide
from ferryman.wire.gemini_generate.encode import encode_request
from ferryman.wire.gemini_generate.encoder import StreamEncoder
from ferryman.wire.gemini_generate.errors import error_body, error_event
from ferryman.wire.gemini_generate.reply import decode_reply, encode_reply
from ferryman.wire.gemini_generate.request import decode_request
from ferryman.wire.gemini_generate.stream import StreamDecoder
from ferryman.wire.gemini_generate.types import NAME

FORMAT = Format(
    name=NAME,
    client=ClientSide(
        decode_request=decode_request,
        encode_reply=encode_reply,
        stream_encoder=StreamEncoder,
        error_body=error_body,
        error_event=error_event,
    ),
    provider=ProviderSide(
        encode_request=encode_request, decode_reply=decode_reply, stream_decoder=StreamDecoder
    ),
)
