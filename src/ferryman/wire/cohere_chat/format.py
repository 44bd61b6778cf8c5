"""The Cohere format as one value. No caller speaks it."""

from ferryman.wire.cohere_chat.reply import decode_reply
from ferryman.wire.cohere_chat.request import encode_request
from ferryman.wire.cohere_chat.stream import StreamDecoder
from ferryman.wire.cohere_chat.types import ORIGIN
from ferryman.wire.format import Format, ProviderSide

FORMAT = Format(ORIGIN, None, ProviderSide(encode_request, decode_reply, StreamDecoder))
