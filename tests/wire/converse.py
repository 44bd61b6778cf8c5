"""Requests in the common language, for the tests of the Converse format, and their judge."""

import base64
from typing import Any

from msgspec import Raw

from ferryman.ir.receipt import Receipt
from ferryman.ir.request import (
    Media,
    Message,
    Opaque,
    Request,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolMode,
    ToolResult,
)
from ferryman.wire.bedrock_converse.request import encode_request
from ferryman.wire.format import Aim
from tests.wire.judges_bedrock_converse import judge_request
from tests.wire.turns import model, texts, user

OWN = "bedrock_converse"
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n0000").decode()
PDF = base64.b64encode(b"%PDF-1.7").decode()
CLAUDE = Aim(model="eu.anthropic.claude-sonnet-4-5-20250929-v1:0", quirks=("claude_fields",))
ADAPTIVE = Aim(
    model="anthropic.claude-opus-4-6-v1",
    quirks=("claude_fields", "adaptive_thinking", "effort_max"),
)
ALWAYS = Aim(
    model="anthropic.claude-fable-5",
    quirks=("claude_fields", "adaptive_only", "adaptive_thinking", "no_sampling"),
)
NATIVE = Aim(
    model="anthropic.claude-x", abilities=("tools", "prompt_cache"), quirks=("output_format",)
)
NOVA = Aim(
    model="amazon.nova-pro-v1:0", abilities=("tools", "json_schema"), quirks=("claude_fields",)
)


def call(name: str = "look", arguments: str = "{}", call_id: str = "c1") -> ToolCall:
    return ToolCall(id=call_id, name=name, arguments=arguments)


def result(
    *blocks: Text | Media | Opaque | str, call_id: str = "c1", error: bool = False
) -> ToolResult:
    return ToolResult(call_id=call_id, blocks=texts(blocks), error=error)


def encode(*messages: Message, aim: Aim = CLAUDE, **more: Any) -> tuple[dict[str, Any], list[str]]:
    """The judged body, and the receipt: what was dropped, then what was altered."""
    receipt = Receipt()
    request = Request(model="m", messages=messages, origin="openai_chat", **more)
    wire = judge_request(encode_request(request, aim, receipt))
    return wire, [*receipt.dropped, *receipt.altered]


TOOL = Tool(name="look", description="Looks.", parameters=Raw(b'{"type":"object","a":1}'))
SPEC = {"toolSpec": {"name": "look", "description": "Looks.",
                     "inputSchema": {"json": {"type": "object", "a": 1}}}}  # fmt: skip
SAID_SPEC = {"toolSpec": {"name": "look", "inputSchema": {"json": {"type": "object"}}}}
ADDED = "tools=look added, since an earlier turn calls it"

JSON_RESULT = Opaque(origin=OWN, kind="json", raw=b'{"json":{"a":1}}')
GUARDED = Opaque(origin=OWN, kind="guardContent", raw=b'{"guardContent":{"text":{"text":"x"}}}')
HISTORY = [user("q"), model(call()), user(result("r"))]


def choice(mode: str, *allowed: str) -> ToolChoice:
    return ToolChoice(mode=ToolMode(mode), allowed=allowed)
