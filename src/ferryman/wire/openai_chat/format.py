"""The chat format, both sides: https://platform.openai.com/docs/api-reference/chat."""

from ferryman.wire.format import ClientSide, Format, ProviderSide
from ferryman.wire.openai_chat.chunks import ChunkEncoder
from ferryman.wire.openai_chat.decode import decode_request
from ferryman.wire.openai_chat.encode import encode_request
from ferryman.wire.openai_chat.errors import error_body, error_event
from ferryman.wire.openai_chat.reply import decode_reply, encode_reply
from ferryman.wire.openai_chat.stream import ChatStreamDecoder
from ferryman.wire.openai_chat.thoughts import NAME

FORMAT = Format(
    NAME,
    ClientSide(decode_request, encode_reply, ChunkEncoder, error_body, error_event),
    ProviderSide(encode_request, decode_reply, ChatStreamDecoder),
)
