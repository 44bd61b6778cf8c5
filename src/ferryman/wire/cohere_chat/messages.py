"""Messages of the Cohere format, made from those of the common language.

https://docs.cohere.com/reference/chat (``messages``). Results of tools are messages of their own,
before whatever else the user says. Thoughts have no signature: those that came without one go back,
as the plan of a message that calls tools, else as thoughts.
"""

import base64
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw

from ferryman.ir.receipt import Receipt
from ferryman.ir.request import (
    Block,
    Media,
    MediaKind,
    Message,
    Opaque,
    Refusal,
    Role,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from ferryman.ir.unreadable import UNREADABLE
from ferryman.wire.carry import data_url, type_by_beginning, unsupported, words_alone
from ferryman.wire.cohere_chat.blocks import DOCUMENT_ID
from ferryman.wire.cohere_chat.types import ORIGIN

_IMAGES = ("image/png", "image/jpeg", "image/webp", "image/gif")
_TEXTS = ("text/", "application/json", "application/xml")
_fields = msgspec.json.Decoder(dict[str, Raw])
_encode = msgspec.json.Encoder().encode

Wire = dict[str, Any]


class Conversation:
    """What the messages of one request become."""

    def __init__(self, receipt: Receipt) -> None:
        self.messages: list[Wire] = []
        self.documents: list[Wire] = []
        """Documents that users showed, in their order."""
        self._receipt = receipt

    def write(self, messages: Sequence[Message]) -> None:
        """Take all messages. Raises :class:`~ferryman.ir.errors.GatewayError` (400).

        Neighbours of the assistant become one message, since results must follow all its calls.
        """
        alone = words_alone(messages)
        place = 0
        while place < len(messages):
            role, text = messages[place].role, alone[place]
            if text:
                self.messages.append({"role": role, "content": text})
                place += 1
                continue
            end = place + 1
            while end < len(messages) and messages[end].role is role:
                end += 1
            self._run(role, [(messages[at], f"messages[{at}]") for at in range(place, end)])
            place = end

    def _run(self, role: Role, said: Sequence[tuple[Message, str]]) -> None:
        """Neighbours of one role."""
        for message, at in said:
            if message.name:
                self._receipt.drop(f"{at}.name")
        if role is Role.ASSISTANT:
            self._assistant([(block, at) for message, at in said for block in message.blocks])
            return
        name = "user" if role is Role.USER else "system"
        for message, at in said:
            for block in message.blocks:
                if isinstance(block, ToolResult):
                    self._result(block, at)
        for message, at in said:
            parts = self._parts(message.blocks, at, name)
            if parts:
                self.messages.append({"role": name, "content": _content(parts)})

    def _cache(self, block: Text | Media | ToolCall | ToolResult, at: str) -> None:
        if block.cache is not None:
            self._receipt.drop(f"{at}.cache_control")
        if not isinstance(block, ToolResult) and block.signature is not None:
            self._receipt.drop(f"{at}.signature")

    def _parts(self, blocks: Sequence[Block], at: str, role: str) -> list[Wire | Raw]:
        parts: list[Wire | Raw] = []
        for block in blocks:
            if isinstance(block, Text):
                self._cache(block, at)
                if block.text:
                    parts.append({"type": "text", "text": block.text})
            elif isinstance(block, Media) and role == "user":
                self._cache(block, at)
                part = self._medium(block, f"{at}.{block.kind}")
                if part is not None:
                    parts.append(part)
            elif isinstance(block, Opaque) and block.origin == ORIGIN:
                parts.append(Raw(block.raw))
            elif not isinstance(block, ToolResult):
                self._receipt.drop(f"{at}.{_kind(block)}")
        return parts

    def _medium(self, media: Media, at: str) -> Wire | None:
        """An image; a document becomes one of the request's own instead."""
        if media.kind is MediaKind.DOCUMENT:
            self.documents.append(
                {"id": DOCUMENT_ID.format(len(self.documents)), "data": _document(media, at)}
            )
            self._receipt.alter(at, "one of the request's documents")
            return None
        if media.kind is not MediaKind.IMAGE:
            raise unsupported(f"'{at}': this model's provider takes no {media.kind}.", at)
        source = media.source
        if source.data:
            kind = source.media_type.lower() or type_by_beginning(source.data)
            if kind not in (*_IMAGES, "image/jpg"):
                problem = f"is of type {kind}" if kind else "doesn't say its type"
                raise unsupported(f"'{at}' {problem}; it takes {', '.join(_IMAGES)}.", at)
            url = data_url(kind, source.data)
        elif source.url:
            url = source.url
        else:
            raise unsupported(f"'{at}' is a file stored at another provider; send its bytes.", at)
        image = {"url": url}
        if media.detail:
            image["detail"] = media.detail
        if media.context:
            self._receipt.drop(f"{at}.context")
        return {"type": "image_url", "image_url": image}

    def _result(self, result: ToolResult, at: str) -> None:
        self._cache(result, at)
        if result.error:
            self._receipt.drop(f"{at}.tool_result.error")
        parts: list[Wire | Raw] = []
        for block in result.blocks:
            if isinstance(block, Text):
                self._cache(block, at)
                parts.append({"type": "text", "text": block.text})
            elif isinstance(block, Media) and block.kind is MediaKind.DOCUMENT:
                document = {"data": _document(block, f"{at}.tool_result.document")}
                parts.append({"type": "document", "document": document})
            elif isinstance(block, Opaque) and block.origin == ORIGIN:
                parts.append(Raw(block.raw))
            else:
                self._receipt.drop(f"{at}.tool_result.{_kind(block)}")
        content = _content(parts) if parts else ""
        self.messages.append({"role": "tool", "tool_call_id": result.call_id, "content": content})

    def _assistant(self, blocks: list[tuple[Block, str]]) -> None:
        parts: list[Wire | Raw] = []
        calls: list[Wire] = []
        plan: list[str] = []
        citations: list[Raw] = []
        plans = ToolCall in [type(block) for block, _ in blocks]
        for block, at in blocks:
            if isinstance(block, Text):
                self._cache(block, at)
                if block.text:
                    citations += self._citations(block, len(parts), at)
                    parts.append({"type": "text", "text": block.text})
            elif isinstance(block, ToolCall):
                self._cache(block, at)
                calls.append(self._call(block, at))
            elif isinstance(block, Thinking):
                if block.encrypted or block.signature is not None:
                    self._receipt.drop(f"{at}.thinking")
                elif plans and block.text:
                    plan.append(block.text)
                elif block.text:
                    parts.append({"type": "thinking", "thinking": block.text})
            elif isinstance(block, Refusal):
                self._receipt.alter(f"{at}.refusal", "text")
                parts.append({"type": "text", "text": block.text})
            elif isinstance(block, Opaque) and block.origin == ORIGIN:
                parts.append(Raw(block.raw))
            else:
                self._receipt.drop(f"{at}.{_kind(block)}")
        message: Wire = {"role": "assistant"}
        if parts:
            message["content"] = _content(parts)
        if plan:
            message["tool_plan"] = "".join(plan)
        if calls:
            message["tool_calls"] = calls
        if citations:
            message["citations"] = citations
        if len(message) > 1:
            self.messages.append(message)

    def _call(self, call: ToolCall, at: str) -> Wire:
        arguments = call.arguments or "{}"
        if call.free:
            arguments = _encode({"input": call.arguments}).decode()
            self._receipt.alter(f"{at}.{call.name}", "JSON with one member input")
        function = {"name": call.name, "arguments": arguments}
        return {"id": call.id, "type": "function", "function": function}

    def _citations(self, text: Text, place: int, at: str) -> list[Raw]:
        """Its own citations as they came, but for the place of their text."""
        found: list[Raw] = []
        for citation in text.citations:
            if citation.origin != ORIGIN:
                self._receipt.drop(f"{at}.citations")
            elif citation.raw:
                try:
                    members = _fields.decode(citation.raw)
                except UNREADABLE:
                    self._receipt.drop(f"{at}.citations")
                    continue
                if "content_index" in members:
                    members["content_index"] = Raw(b"%d" % place)
                found.append(Raw(_encode(members)))
        return found


def _content(parts: list[Wire | Raw]) -> str | list[Wire | Raw]:
    if len(parts) == 1 and isinstance(parts[0], dict) and parts[0]["type"] == "text":
        text: str = parts[0]["text"]
        return text
    return parts


def _document(media: Media, at: str) -> Wire:
    """Members of a document: the model is shown names and values."""
    source = media.source
    text = source.text
    if not text and source.data and source.media_type.lower().startswith(_TEXTS):
        try:
            text = base64.b64decode(source.data, validate=True).decode()
        except ValueError:
            raise unsupported(f"'{at}' is not text in UTF-8.", at) from None
    if not text:
        what = source.media_type or "a file"
        raise unsupported(
            f"'{at}' is {what}; this model's provider takes documents as text only.", at
        )
    document: Wire = {}
    if media.name:
        document["title"] = media.name
    if media.context:
        document["context"] = media.context
    document["text"] = text
    return document


def _kind(block: Block) -> str:
    if isinstance(block, Media):
        return str(block.kind)
    return block.kind if isinstance(block, Opaque) else type(block).__name__.lower()
