"""Requests of other formats for providers of the Messages format, for its codec's tests."""

import json
from typing import Any

import pytest
from msgspec import Raw

from ferryman.ir.errors import GatewayError
from ferryman.ir.receipt import Receipt
from ferryman.ir.request import (
    Message,
    Request,
    Signature,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)
from ferryman.wire.anthropic_messages.encode import encode_request
from ferryman.wire.anthropic_messages.types import NAME
from ferryman.wire.format import Aim
from tests.wire.turns import texts, user

AWAY = "openai_chat"
OBJECT = Raw(b'{"type":"object","properties":{"a":{"type":"string"}}}')
CLOSED = Raw(
    b'{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],'
    b'"additionalProperties":false}'
)
BEYOND = Raw(b'{"type":"object","additionalProperties":false,"minProperties":1}')
SIGNED = Thinking(text="hm", signature=Signature("S", NAME))
F, G = Tool(name="f", parameters=OBJECT), Tool(name="g", parameters=OBJECT)


class Sent:
    """What an encoder made of a request."""

    def __init__(self, body: dict[str, Any], receipt: Receipt) -> None:
        self.body = body
        self.dropped, self.altered = receipt.dropped, receipt.altered
        self.receipt = receipt


def send(*messages: Message, aim: tuple[str, ...] = (), most: int = 0, **more: Any) -> Sent:
    request = Request(
        **{"model": "m", "messages": messages or (user("Hi"),), "max_output": 10_000,
           "origin": AWAY, **more}
    )  # fmt: skip
    receipt = Receipt()
    target = Aim(model="claude-aim", max_output=most, abilities=aim)
    return Sent(json.loads(encode_request(request, target, receipt)), receipt)


def refusal(*messages: Message, **more: Any) -> GatewayError:
    with pytest.raises(GatewayError) as refused:
        send(*messages, **more)
    assert refused.value.status == 400
    return refused.value


def call(call_id: str = "c", name: str = "f", arguments: str = "{}", **more: Any) -> ToolCall:
    return ToolCall(id=call_id, name=name, arguments=arguments, **more)


def result(call_id: str = "c", *blocks: Any, **more: Any) -> ToolResult:
    return ToolResult(call_id=call_id, blocks=texts(blocks), **more)
