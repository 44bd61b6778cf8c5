"""Stored calls as examples for fine-tuning: messages and answer in the chat format."""

from typing import Any, Final

import msgspec

from ferryman.ir.errors import GatewayError
from ferryman.ir.events import Delta, Open, Reply
from ferryman.ir.fold import FailedReplyError, fold
from ferryman.ir.receipt import Receipt
from ferryman.ir.request import Text
from ferryman.ir.unreadable import UNREADABLE
from ferryman.store.bodies import Body
from ferryman.wire.format import Aim, ReplyContext, ReplyError
from ferryman.wire.formats import client_of, provider_of
from ferryman.wire.paths import CONVERSATIONS

CHAT: Final = "chat.completions"
_MESSAGE: Final = ("role", "content", "refusal", "tool_calls")
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


def example(body: Body, endpoint: str, model: str, request_id: str) -> dict[str, Any] | None:
    """``messages`` with the answer as the last one, and ``tools`` if there are any; None for what
    is no conversation, is cut, or failed."""
    name = CONVERSATIONS.get(endpoint)
    if name is None or body.cut or not body.whole or body.status != 200:
        return None
    try:
        request = client_of(endpoint).decode_request(body.request, model, _streamed(body))
        asked = _decode(
            provider_of("openai_chat").encode_request(request, Aim(model=model), Receipt())
        )
        context = ReplyContext(request=request, receipt=Receipt(), request_id=request_id)
        said = _decode(client_of(CHAT).encode_reply(_reply(body, name), context))
        told = said["choices"][0]["message"]
    except (GatewayError, ReplyError, FailedReplyError, KeyError, IndexError, *UNREADABLE):
        return None
    answer = {key: told[key] for key in _MESSAGE if told.get(key) is not None}
    found: dict[str, Any] = {"messages": [*asked["messages"], answer]}
    return found | ({"tools": asked["tools"]} if asked.get("tools") else {})


def text_of(body: Body, endpoint: str) -> str:
    """What the caller was told in words, of a conversation, as far as it came and can be read."""
    name = CONVERSATIONS.get(endpoint)
    if name is None:
        return ""
    if _streamed(body):
        texts = []
        speaks = False
        for event in provider_of(name).stream_decoder().feed(body.reply):
            if isinstance(event, Open):
                speaks = isinstance(event.block, Text)
                texts.append(event.block.text if isinstance(event.block, Text) else "")
            elif isinstance(event, Delta) and speaks:
                texts.append(event.text)
        return "".join(texts)
    try:
        reply = provider_of(name).decode_reply(body.reply)
    except (ReplyError, *UNREADABLE):
        return ""
    blocks = reply.choices[0].blocks if reply.choices else ()
    return "".join([block.text for block in blocks if isinstance(block, Text)])


def _streamed(body: Body) -> bool:
    return body.media_type.startswith("text/event-stream")


def _reply(body: Body, name: str) -> Reply:
    """The answer in the common language. Raises ``ReplyError``, ``FailedReplyError``."""
    side = provider_of(name)
    if not _streamed(body):
        return side.decode_reply(body.reply)
    decoder = side.stream_decoder()
    return fold([*decoder.feed(body.reply), *decoder.close()])
