"""What the official Cohere SDK says of requests, replies and streams of its format."""

import json
from collections.abc import Iterator
from typing import Any, get_type_hints

import httpx
from cohere import ClientV2
from cohere.types.chat_message_v2 import (
    AssistantChatMessageV2,
    SystemChatMessageV2,
    ToolChatMessageV2,
    UserChatMessageV2,
)
from cohere.v2.client import V2Client
from cohere.v2.types import v2chat_stream_response as events
from cohere.v2.types.v2chat_response import V2ChatResponse
from pydantic import BaseModel, TypeAdapter

_PARAMETERS = get_type_hints(V2Client.chat_stream, include_extras=True)
_ROLES = {
    "assistant": AssistantChatMessageV2,
    "system": SystemChatMessageV2,
    "tool": ToolChatMessageV2,
    "user": UserChatMessageV2,
}
_EVENTS = {
    kind.model_fields["type"].default: kind
    for kind in vars(events).values()
    if isinstance(kind, type) and issubclass(kind, BaseModel) and "type" in kind.model_fields
}


def judge_request(body: bytes) -> dict[str, Any]:
    """The body as JSON, after the SDK's types have found every member of it."""
    wire: dict[str, Any] = json.loads(body)
    for name, value in wire.items():
        if name == "messages":
            for message in value:
                _judge(_ROLES[message["role"]], message)
        elif name != "stream":
            _judge(_PARAMETERS[name], value)
    assert {"model", "messages", "stream"} <= set(wire)
    return wire


def _judge(kind: Any, value: Any) -> None:
    read = TypeAdapter(kind).validate_python(value)
    for extra in _extras(read):
        raise AssertionError(f"{extra} in {value}")


def _extras(read: Any) -> Iterator[str]:
    """Names of members that the SDK does not know."""
    if isinstance(read, BaseModel):
        yield from read.model_extra or ()
        for name in type(read).model_fields:
            yield from _extras(getattr(read, name))
    elif isinstance(read, list | tuple):
        for each in read:
            yield from _extras(each)


def judge_reply(body: bytes) -> V2ChatResponse:
    """What the SDK's client makes of a whole reply, without members that it does not know."""
    _judge(V2ChatResponse, json.loads(body))
    return _client(body, "application/json").chat(model="m", messages=[])


def judge_stream(data: bytes) -> list[Any]:
    """What the SDK's client makes of a stream of server-sent events."""
    read = list(_client(data, "text/event-stream").chat_stream(model="m", messages=[]))
    for event in read:
        _judge(_EVENTS[event.type], event.model_dump(exclude_unset=True, by_alias=True))
    return read


def _client(body: bytes, content_type: str) -> ClientV2:
    """The SDK's own client at a server that always answers ``body``."""
    answer = httpx.Response(200, content=body, headers={"content-type": content_type})
    transport = httpx.MockTransport(lambda request: answer)
    return ClientV2(api_key="k", httpx_client=httpx.Client(transport=transport))
