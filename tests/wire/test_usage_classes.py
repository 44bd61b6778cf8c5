"""Every format's usage comes apart into classes that have nothing in common: they add up to what
the vendor counts, whichever way it nests its numbers."""

import json
import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from ferryman.ir.usage import CLASSES, Usage, counts
from ferryman.wire.anthropic_messages import usage as anthropic
from ferryman.wire.bedrock_converse import usage as converse
from ferryman.wire.bedrock_converse.types import WireUsage as ConverseUsage
from ferryman.wire.cohere_chat import usage as cohere
from ferryman.wire.cohere_chat.types import WireUsage as CohereUsage
from ferryman.wire.gemini_generate import usage as gemini
from ferryman.wire.openai_chat import usage as openai

Said = tuple[dict[str, Any], int, int]
"""A vendor's object, and all tokens in and out that it stands for."""


def chat(draw: random.Random) -> Said:
    cached, written, heard, fresh, seen = (draw.randrange(1000) for _ in range(5))
    reasoned, spoken, drawn, text = (draw.randrange(1000) for _ in range(4))
    given, made = cached + written + heard + fresh + seen, reasoned + spoken + drawn + text
    read = {"cached_tokens": cached, "cache_write_tokens": written, "audio_tokens": heard,
            "image_tokens": seen}  # fmt: skip
    said = {"reasoning_tokens": reasoned, "audio_tokens": spoken, "image_tokens": drawn}
    wire = {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made,
            "prompt_tokens_details": read, "completion_tokens_details": said}  # fmt: skip
    return wire, given, made


def responses(draw: random.Random) -> Said:
    cached, fresh, reasoned, text = (draw.randrange(1000) for _ in range(4))
    wire = {"input_tokens": cached + fresh, "output_tokens": reasoned + text,
            "input_tokens_details": {"cached_tokens": cached},
            "output_tokens_details": {"reasoning_tokens": reasoned}}  # fmt: skip
    return wire, cached + fresh, reasoned + text


def messages(draw: random.Random) -> Said:
    fresh, read, short, long, text, thought = (draw.randrange(1000) for _ in range(6))
    return {"input_tokens": fresh, "cache_read_input_tokens": read,
            "cache_creation_input_tokens": short + long,
            "cache_creation": {"ephemeral_5m_input_tokens": short,
                               "ephemeral_1h_input_tokens": long},
            "output_tokens": text + thought,
            "output_tokens_details": {"thinking_tokens": thought}}, (
        fresh + read + short + long), text + thought  # fmt: skip


def generate(draw: random.Random) -> Said:
    text, heard, heard_before, cached_text, tools = (draw.randrange(1000) for _ in range(5))
    said, spoken, thoughts = (draw.randrange(1000) for _ in range(3))
    prompt = text + heard + heard_before + cached_text
    return {"promptTokenCount": prompt, "cachedContentTokenCount": cached_text + heard_before,
            "toolUsePromptTokenCount": tools, "candidatesTokenCount": said + spoken,
            "thoughtsTokenCount": thoughts,
            "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": heard + heard_before}],
            "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": heard_before}],
            "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": spoken}],
            "totalTokenCount": prompt + tools + said + spoken + thoughts}, (
        prompt + tools), said + spoken + thoughts  # fmt: skip


def conversed(draw: random.Random) -> Said:
    fresh, read, short, long, made = (draw.randrange(1000) for _ in range(5))
    return {"inputTokens": fresh, "outputTokens": made, "cacheReadInputTokens": read,
            "cacheWriteInputTokens": short + long,
            "cacheDetails": [{"ttl": "5m", "inputTokens": short},
                             {"ttl": "1h", "inputTokens": long}]}, (
        fresh + read + short + long), made  # fmt: skip


def v2chat(draw: random.Random) -> Said:
    fresh, cached, made, frame = (draw.randrange(1000) for _ in range(4))
    return {"billed_units": {"input_tokens": fresh + cached, "output_tokens": made},
            "tokens": {"input_tokens": fresh + cached + frame, "output_tokens": made},
            "cached_tokens": cached}, fresh + cached, made  # fmt: skip


def _decoded(kind: Any) -> Callable[[bytes], Any]:
    return msgspec.json.Decoder(kind).decode


FORMATS: dict[str, tuple[Callable[[random.Random], Said], Callable[[bytes], Usage | None]]] = {
    "openai_chat": (chat, lambda raw: openai.read_usage(Raw(raw))),
    "openai_responses": (responses, lambda raw: openai.read_usage(Raw(raw))),
    "anthropic_messages": (
        messages, lambda raw: anthropic.usage_of(anthropic.read_usage(Raw(raw)))),
    "gemini_generate": (generate, gemini.read_usage),
    "bedrock_converse": (conversed, lambda raw: converse.usage_of(_decoded(ConverseUsage)(raw))),
    "cohere_chat": (v2chat, lambda raw: cohere.usage_of(_decoded(CohereUsage)(raw))),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
def test_classes_add_up_to_what_the_vendor_counts(name: str) -> None:
    made_up, read = FORMATS[name]
    draw = random.Random(name)
    for _ in range(200):
        said, given, made = made_up(draw)
        usage = read(json.dumps(said).encode())
        assert usage is not None
        assert (usage.total_input, usage.total_output) == (given, made), said
        tokens = {**dict.fromkeys(CLASSES, 0), **counts(usage)}
        assert min(count for count in tokens.values() if isinstance(count, int)) >= 0
