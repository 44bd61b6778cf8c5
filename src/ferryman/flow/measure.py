"""How many tokens a conversation is: counted by the model's vocabulary where we have it."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from ferryman.catalog.tokenizer import count, function_tokens, vocabulary_of
from ferryman.catalog.tokens import estimate, media_tokens, text_bytes
from ferryman.ir.errors import GatewayError
from ferryman.ir.receipt import Receipt
from ferryman.ir.request import Request
from ferryman.upstream.fleet import Target
from ferryman.wire.formats import provider_of
from ferryman.wire.openai_chat.counting import weigh

CHAT = "openai_chat"
LARGEST = 8 << 20
"""Bytes of text that are counted at most, since more than that fits into no window."""
_thread = ThreadPoolExecutor(1, "ferryman-tokens")
"""One at a time: counting may never take more than one core from the calls."""


async def measure(conversation: Request, target: Target) -> tuple[int, bool]:
    """(tokens of input that ``conversation`` is to ``target``, whether that is exact)."""
    if vocabulary_of(target.model) and text_bytes(conversation)[0] <= LARGEST:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(_thread, _count, conversation, target)
        if found is not None:
            return found
    return estimate(conversation, target.gauge), False


def _count(conversation: Request, target: Target) -> tuple[int, bool] | None:
    """None without the tokenizer, or when the conversation can't be put as a chat."""
    model = target.model
    if count([], vocabulary_of(model)) is None:
        return None
    try:
        chat = provider_of(CHAT).encode_request(conversation, target.aim, Receipt())
    except GatewayError:
        return None
    texts, frame, exact = weigh(chat, function_tokens(model))
    tokens = count(texts, vocabulary_of(model))
    assert tokens is not None
    media = sum(media_tokens(message.blocks) for message in conversation.messages)
    return tokens + frame + media, exact and target.runtime.provider.format == CHAT
