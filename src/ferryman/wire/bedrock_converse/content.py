"""Messages of the Converse format, made from those of the common language.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ContentBlock.html. Roles
alternate, so neighbours of one role become one message; results of tools stand first in it. Blank
text is refused by the provider and left out, but for results, which may be empty.
"""

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw

from ferryman.ir.receipt import Receipt
from ferryman.ir.request import (
    Block,
    CacheMark,
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
from ferryman.wire.bedrock_converse.marks import CachePoints
from ferryman.wire.bedrock_converse.media import MediaWriter
from ferryman.wire.bedrock_converse.types import ORIGIN
from ferryman.wire.carry import bad_request, object_arguments, unsupported, words_alone
from ferryman.wire.tool_ids import fit

TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_TOOL_ID = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")
_SIGNED_BY = (ORIGIN, "anthropic_messages")
"""Formats whose thoughts with signature are the same model's."""
_encode = msgspec.json.Encoder().encode
_APPLICATION = (Role.SYSTEM, Role.DEVELOPER)

Wire = dict[str, Any]


class Conversation:
    """What the messages of one request become, one after another."""

    def __init__(self, receipt: Receipt, points: CachePoints) -> None:
        self.system: list[Wire | Raw] = []
        self.messages: list[Wire] = []
        self.called: dict[str, None] = {}
        """Names of the tools that were called, in order."""
        self._receipt = receipt
        self._points = points
        self._media = MediaWriter(receipt)
        self._role = ""
        self._results: list[Wire] = []
        self._rest: list[Wire | Raw] = []

    def write(self, messages: Sequence[Message]) -> None:
        """Take all messages. Raises :class:`~ferryman.ir.errors.GatewayError` (400)."""
        leading = True
        alone = words_alone(messages)
        for number, message in enumerate(messages):
            text = alone[number]
            if text:
                leading = False
                self._words(text, "assistant" if message.role is Role.ASSISTANT else "user")
                continue
            path = f"messages[{number}]"
            if message.name:
                self._receipt.drop(f"{path}.name")
            if message.role in _APPLICATION:
                if leading:
                    self._system(message, path)
                    continue
                self._receipt.alter(f"{path}.role", "user")
            leading = False
            role = "assistant" if message.role is Role.ASSISTANT else "user"
            if role != self._role:
                self._end_message()
                self._role = role
            for block in message.blocks:
                self._block(block, path)
        self._end_message()
        if not self.messages:
            raise bad_request(
                "'messages' holds nothing to answer; give one that says something.", "messages"
            )

    def _words(self, text: str, role: str) -> None:
        """A message that is nothing but a text."""
        pending = bool(self._results or self._rest)
        if pending and role != self._role:
            self._end_message()
            pending = False
        if pending or (self.messages and self.messages[-1]["role"] == role):
            self._rest.append({"text": text})
        else:
            self.messages.append({"role": role, "content": [{"text": text}]})
        self._role = role

    def _end_message(self) -> None:
        content = [*self._results, *self._rest]
        self._results, self._rest = [], []
        if not content:
            self._role = self.messages[-1]["role"] if self.messages else ""
            return
        if self.messages and self.messages[-1]["role"] == self._role:
            self.messages[-1]["content"] += content  # what stood between was all blank
        else:
            self.messages.append({"role": self._role, "content": content})
        content = self.messages[-1]["content"]
        kinds = {kind for block in content if isinstance(block, dict) for kind in block}
        if "document" in kinds and "text" not in kinds:
            # the provider refuses documents without a text beside them
            content.append({"text": "(See the document.)"})
            self._receipt.alter("messages", "text added beside a document")

    def _system(self, message: Message, path: str) -> None:
        for block in message.blocks:
            if isinstance(block, Text):
                if self._says(block.text, path):
                    self.system.append({"text": block.text})
                point = self._points.point(block.cache, path)
                if point is not None and self.system:
                    self.system.append(point)
            elif isinstance(block, Opaque) and block.origin == ORIGIN:
                self.system.append(Raw(block.raw))
            else:
                self._receipt.drop(f"{path}.{_kind(block)}")

    def _block(self, block: Block, path: str) -> None:
        if isinstance(block, Text):
            self._text(block, path)
        elif isinstance(block, Media):
            self._medium(block, path)
        elif isinstance(block, ToolCall):
            self._call(block, path)
        elif isinstance(block, ToolResult):
            self._result(block, path)
        elif isinstance(block, Thinking):
            self._thinking(block, path)
        elif isinstance(block, Refusal):
            if self._says(block.text, path):
                self._receipt.alter(f"{path}.refusal", "text")
                self._rest.append({"text": block.text})
        elif block.origin == ORIGIN:
            self._rest.append(Raw(block.raw))
        else:
            self._receipt.drop(f"{path}.{block.kind}")

    def _says(self, text: str, path: str) -> bool:
        if text and not text.isspace():
            return True
        if text:
            self._receipt.drop(f"{path}.text")  # an empty one says nothing that could be lost
        return False

    def _mark(self, cache: CacheMark | None, path: str) -> None:
        point = self._points.point(cache, path)
        if point is not None and (self._rest or self._results):
            self._rest.append(point)

    def _text(self, block: Text, path: str) -> None:
        if self._says(block.text, path):
            own = [Raw(c.raw) for c in block.citations if c.origin == ORIGIN and c.raw]
            if len(own) < len(block.citations):
                self._receipt.drop(f"{path}.citations")
            if own:
                content = {"content": [{"text": block.text}], "citations": own}
                self._rest.append({"citationsContent": content})
            else:
                self._rest.append({"text": block.text})
        self._unsigned(block, path)
        self._mark(block.cache, path)

    def _unsigned(self, block: Text | Media | ToolCall, path: str) -> None:
        if block.signature is not None:
            self._receipt.drop(f"{path}.signature")

    def _medium(self, block: Media, path: str) -> None:
        if self._role == "assistant":
            self._receipt.drop(f"{path}.{block.kind}")  # only users may show something
            return
        self._rest.append(self._media.block(block, path))
        self._unsigned(block, path)
        self._mark(block.cache, path)

    def _call(self, block: ToolCall, path: str) -> None:
        if not TOOL_NAME.fullmatch(block.name):
            raise unsupported(
                f"'{path}' calls '{block.name[:80]}'; this model's provider takes names of 1 to 64 "
                "letters, digits, - and _.",
                path,
            )
        if block.free:
            arguments = Raw(_encode({"input": block.arguments}))
            self._receipt.alter(f"{path}.{block.name}", "JSON with one member input")
        else:
            arguments = object_arguments(block.arguments, block.name, path)
        self.called[block.name] = None
        call_id = fit(block.id, _TOOL_ID)
        call = {"toolUseId": call_id, "name": block.name, "input": arguments}
        self._rest.append({"toolUse": call})
        self._unsigned(block, path)
        self._mark(block.cache, path)

    def _result(self, block: ToolResult, path: str) -> None:
        content: list[Wire | Raw] = []
        cache = block.cache
        for part in block.blocks:
            if isinstance(part, Text):
                content.append({"text": part.text})
            elif isinstance(part, Media):
                if part.kind is MediaKind.AUDIO:
                    self._receipt.drop(f"{path}.{part.kind}")
                    continue
                content.append(self._media.block(part, path))
            elif part.origin == ORIGIN:
                content.append(Raw(part.raw))
            else:
                self._receipt.drop(f"{path}.{part.kind}")
                continue
            if not isinstance(part, Opaque):
                cache = part.cache or cache
        result: Wire = {"toolUseId": fit(block.call_id, _TOOL_ID), "content": content}
        if block.error:
            # "success" is left unsaid: not every model takes a status
            result["status"] = "error"
            if not content:
                content.append({"text": "The tool failed."})
                self._receipt.alter(path, "text added to an empty error")
        self._results.append({"toolResult": result})
        point = self._points.point(cache, path)
        if point is not None:
            self._results.append(point)

    def _thinking(self, block: Thinking, path: str) -> None:
        signature = block.signature
        if signature is None or signature.origin not in _SIGNED_BY:
            self._receipt.drop(f"{path}.thinking")
        elif not block.encrypted:
            text = {"text": block.text, "signature": signature.value}
            self._rest.append({"reasoningContent": {"reasoningText": text}})
        elif signature.origin == ORIGIN:
            self._rest.append({"reasoningContent": {"redactedContent": signature.value}})
        else:
            self._receipt.drop(f"{path}.thinking")


def _kind(block: Block) -> str:
    if isinstance(block, Media):
        return str(block.kind)
    return block.kind if isinstance(block, Opaque) else type(block).__name__.lower()
