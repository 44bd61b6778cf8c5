"""The Converse format as one value. No caller speaks it."""

from ferryman.wire.bedrock_converse.reply import decode_reply
from ferryman.wire.bedrock_converse.request import encode_request
from ferryman.wire.bedrock_converse.stream import StreamDecoder
from ferryman.wire.bedrock_converse.types import ORIGIN
from ferryman.wire.format import Format, ProviderSide

FORMAT = Format(ORIGIN, None, ProviderSide(encode_request, decode_reply, StreamDecoder))
