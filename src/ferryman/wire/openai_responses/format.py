"""The Responses API as a wire format: its two sides."""

from ferryman.wire.format import ClientSide, Format, ProviderSide
from ferryman.wire.openai_responses.encode import encode_request
from ferryman.wire.openai_responses.errors import error_body, error_event
from ferryman.wire.openai_responses.parts import NAME
from ferryman.wire.openai_responses.reply import decode_reply, encode_reply
from ferryman.wire.openai_responses.request import decode_request
from ferryman.wire.openai_responses.stream import ResponsesDecoder
from ferryman.wire.openai_responses.writer import ResponsesEncoder

FORMAT = Format(
    NAME,
    ClientSide(decode_request, encode_reply, ResponsesEncoder, error_body, error_event),
    ProviderSide(encode_request, decode_reply, ResponsesDecoder),
)
