"""Chat requests for tests: written, read and compared."""

import json
from typing import Any

from ferryman.ir.receipt import Receipt
from ferryman.ir.request import (
    Request,
)
from ferryman.wire.format import Aim
from ferryman.wire.openai_chat.decode import decode_request
from ferryman.wire.openai_chat.encode import encode_request

ALL = (
    "cache_control", "reasoning_details", "extra_content", "tool_images", "video_url",
    "audio_url", "audio_formats", "file_url", "allowed_tools", "top_k", "reasoning_object",
    "metadata",
)  # fmt: skip
"""Quirks of a provider that takes all there is."""
PNG = "iVBORw0KGgo="


def decoded(body: dict[str, Any] | bytes) -> Request:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return decode_request(data, "", False)


def ask(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": list(messages) or [{"role": "user", "content": "hi"}], **more}


def encoded(
    request: Request, *quirks: str, abilities: tuple[str, ...] = ()
) -> tuple[dict[str, Any], Receipt]:
    receipt = Receipt()
    aim = Aim(model="m", quirks=quirks, abilities=abilities)
    body = json.loads(encode_request(request, aim, receipt))
    return body, receipt


def part(kind: str, value: object, **more: object) -> dict[str, Any]:
    return {"type": kind, kind: value, **more}


USER = {"role": "user", "content": "hi"}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1, "a": 2}'}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
