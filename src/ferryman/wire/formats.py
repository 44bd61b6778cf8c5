"""Every wire format, registered: its two sides, and how the same format is relayed.

A further format is a folder beside the others and a row of ``paths.WAYS``
(docs/adding-a-provider.md).
"""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any, Final, NamedTuple

from ferryman.ir.errors import ErrorKind
from ferryman.ir.usage import Usage
from ferryman.wire.anthropic_messages import tap as messages_tap
from ferryman.wire.cohere_chat import embeddings as cohere_embed
from ferryman.wire.cohere_chat import rerank
from ferryman.wire.format import ClientSide, Format, ProviderSide
from ferryman.wire.gemini_generate import tap as generate_tap
from ferryman.wire.openai_chat import media_relay
from ferryman.wire.openai_chat import relay as chat_relay
from ferryman.wire.openai_chat import reply as chat_reply
from ferryman.wire.openai_chat import stream as chat_stream
from ferryman.wire.openai_responses import relay as responses_relay
from ferryman.wire.paths import CALLERS, WAYS
from ferryman.wire.tap import Quirks, StreamTap

FORMATS: dict[str, Format] = {
    name: import_module(f"ferryman.wire.{name}.format").FORMAT for name in WAYS
}


def provider_of(name: str, usage_quirks: Quirks = ()) -> ProviderSide:
    """The side that asks providers of the format ``name``; ``usage_quirks``: how one counts."""
    provider = FORMATS[name].provider
    assert provider is not None, "every format is some provider's"
    if usage_quirks and name == "openai_chat":
        return provider._replace(
            decode_reply=partial(chat_reply.decode_reply, quirks=usage_quirks),
            stream_decoder=partial(chat_stream.ChatStreamDecoder, usage_quirks),
        )
    return provider


class Relay(NamedTuple):
    """How replies of an endpoint go through to callers of the same format."""

    tap: Callable[..., StreamTap]
    """Called with ``hide_usage`` and ``quirks``."""
    read_whole: Callable[[bytes, Any], tuple[ErrorKind | None, Usage | None]]
    always: bool = False
    """Whether the tap listens to replies that nobody asked to be streamed."""


_PLAIN: Final = Relay(chat_relay.ChatTap, chat_relay.read_whole)
_PICTURES = Relay(media_relay.MediaTap, media_relay.read_pictures)
_WRITTEN = Relay(media_relay.MediaTap, media_relay.read_written)
_COMPLETIONS = Relay(chat_relay.ChatTap, chat_relay.read_answer)
_RELAYS: Final = {
    "chat.completions": _COMPLETIONS,
    "completions": _COMPLETIONS,
    "responses": Relay(responses_relay.ResponsesTap, responses_relay.read_whole),
    "messages": Relay(messages_tap.MessagesTap, messages_tap.read_whole),
    "generate_content": Relay(generate_tap.GenerateTap, generate_tap.read_whole),
    "embed_content": Relay(generate_tap.GenerateTap, generate_tap.read_whole),
    "batch_embed_contents": Relay(generate_tap.GenerateTap, generate_tap.read_whole),
    "embed": Relay(chat_relay.ChatTap, cohere_embed.read_whole),
    "rerank": Relay(chat_relay.ChatTap, rerank.read_whole),
    "images.generations": _PICTURES,
    "images.edits": _PICTURES,
    "images.variations": _PICTURES,
    "audio.speech": Relay(media_relay.SpeechTap, chat_relay.read_whole, always=True),
    "audio.transcriptions": _WRITTEN,
    "audio.translations": _WRITTEN,
}


def relay_of(endpoint: str) -> Relay:
    """How replies of ``endpoint`` are relayed."""
    return _RELAYS.get(endpoint, _PLAIN)


def client_of(endpoint: str) -> ClientSide:
    """The side that callers of ``endpoint`` see; the chat's where it has none of its own."""
    client = FORMATS[CALLERS.get(endpoint, "openai_chat")].client
    assert client is not None, "every conversation has a client side"
    return client
