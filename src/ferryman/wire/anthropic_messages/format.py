"""The Messages format, registered."""

from ferryman.wire.anthropic_messages.decoder import MessagesDecoder
from ferryman.wire.anthropic_messages.encode import encode_request
from ferryman.wire.anthropic_messages.encoder import MessagesEncoder
from ferryman.wire.anthropic_messages.errors import error_body, error_event
from ferryman.wire.anthropic_messages.reply import decode_reply, encode_reply
from ferryman.wire.anthropic_messages.request import decode_request
from ferryman.wire.anthropic_messages.types import NAME
from ferryman.wire.format import ClientSide, Format, ProviderSide

FORMAT = Format(
    NAME,
    ClientSide(decode_request, encode_reply, MessagesEncoder, error_body, error_event),
    ProviderSide(encode_request, decode_reply, MessagesDecoder),
)
