"""A conversation as items of a request's ``input``.

https://platform.openai.com/docs/api-reference/responses/create (``input``). System and developer
text stays where it is. Items go without ids but for thoughts: made-up ids are refused.
"""

import re
from typing import Any

from msgspec import Raw

from ferryman.ir.receipt import Receipt
from ferryman.ir.request import (
    Block,
    CacheMark,
    Media,
    MediaKind,
    Opaque,
    Refusal,
    Request,
    Role,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)
from ferryman.wire.carry import data_url, unsupported
from ferryman.wire.format import Aim
from ferryman.wire.openai_chat.media import PLAIN_AUDIO, audio_format, file_name_for
from ferryman.wire.openai_responses.parts import NAME, TTLS
from ferryman.wire.openai_responses.tools import own_name
from ferryman.wire.tool_ids import fit

Wire = dict[str, Any]
_ID = re.compile(r"[!-~]{1,64}")
"""Ids of calls that the API takes."""


class History:
    """Writes the items of one request."""

    def __init__(self, request: Request, aim: Aim, receipt: Receipt) -> None:
        self._request = request
        self._aim = aim
        self._receipt = receipt
        self._own = request.origin == NAME
        self._marks = self._own or "cache_breakpoint" in aim.quirks
        self._tools = {tool.name: tool for tool in request.tools if isinstance(tool, Tool)}
        self._free: set[str] = set()
        """Ids of calls with free text: their results are of another kind as well."""
        self._items: list[Wire | Raw] = []
        self._parts: list[Wire] = []
        """Of a message that isn't complete yet."""
        self._message = 0
        self._block = 0

    def items(self) -> list[Wire | Raw]:
        """All items. Raises :class:`GatewayError` (400)."""
        for number, message in enumerate(self._request.messages):
            self._message = number
            if message.name:
                self._receipt.drop(f"messages[{number}].name")
            role, blocks = message.role, message.blocks
            if len(blocks) == 1 and isinstance(blocks[0], Text) and _is_plain(blocks[0]):
                self._items.append({"type": "message", "role": role, "content": blocks[0].text})
                continue
            for index, block in enumerate(blocks):
                self._block = index
                self._write(block, role)
            if self._parts or not blocks:
                self._end_message(role)
        return self._items

    @property
    def _path(self) -> str:
        return f"messages[{self._message}].blocks[{self._block}]"

    def _write(self, block: Block, role: Role) -> None:
        if isinstance(block, Text):
            self._text(block, role)
            return
        if isinstance(block, Media):
            if role is Role.ASSISTANT:
                self._receipt.drop(f"{self._path}.{block.kind}")  # its turns hold words only
            else:
                self._parts.append(self._medium(block, self._path))
            return
        if self._parts:
            self._end_message(role)
        if isinstance(block, ToolCall):
            self._call(block)
        elif isinstance(block, ToolResult):
            self._result(block)
        elif isinstance(block, Thinking):
            self._thought(block)
        elif isinstance(block, Refusal):
            refusal = {"type": "refusal", "refusal": block.text}
            self._items.append(_message(Role.ASSISTANT, [refusal]))
        elif block.origin == NAME:
            self._items.append(Raw(block.raw))
        else:
            self._receipt.drop(f"{self._path}.{block.kind}")

    def _end_message(self, role: Role) -> None:
        self._items.append(_message(role, self._parts))
        self._parts = []

    def _text(self, block: Text, role: Role) -> None:
        if block.signature is not None:
            self._receipt.drop(f"{self._path}.signature")
        if role is not Role.ASSISTANT:
            part: Wire = {"type": "input_text", "text": block.text}
            if block.cache is not None:
                self._mark(part, block.cache, self._path)
            self._parts.append(part)
            return
        # Each text of the model is a message: then it can be a plain string, which all accept.
        annotations = [Raw(one.raw) for one in block.citations if one.raw and one.origin == NAME]
        if block.citations and len(annotations) < len(block.citations):
            self._receipt.drop(f"{self._path}.citations")
        part = {"type": "output_text", "text": block.text}
        if block.cache is not None:
            self._mark(part, block.cache, self._path)
        if annotations:
            part["annotations"] = annotations
        self._items.append(_message(role, [part]))

    def _mark(self, part: Wire, mark: CacheMark, path: str) -> None:
        if not self._marks:
            self._receipt.drop(f"{path}.cache")
            return
        point = {"mode": "explicit"}
        if mark.ttl:
            point["ttl"] = "30m" if mark.ttl <= TTLS["30m"] else "12h"
            if TTLS[point["ttl"]] != mark.ttl:
                self._receipt.alter(f"{path}.cache", point["ttl"])
        part["prompt_cache_breakpoint"] = point

    def _medium(self, block: Media, path: str) -> Wire:
        source = block.source
        if block.kind is MediaKind.VIDEO:
            raise unsupported(f"'{path}' is a video; this target's format takes none.", path)
        if source.file_id and source.origin != NAME:
            raise unsupported(
                f"'{path}' is a file stored with another provider; send its bytes or its URL.", path
            )
        if block.cite:
            self._receipt.drop(f"{path}.cite")
        if block.kind is MediaKind.AUDIO:
            part = self._sound(block, path)
        elif source.text:
            self._receipt.alter(f"{path}.document", "text")
            words = [word for word in (block.name, block.context, source.text) if word]
            part = {"type": "input_text", "text": "\n\n".join(words)}
        else:
            part = self._shown(block, path)
        if block.cache is not None and block.kind is MediaKind.AUDIO:
            self._receipt.drop(f"{path}.cache")
        elif block.cache is not None:
            self._mark(part, block.cache, path)
        return part

    def _shown(self, block: Media, path: str) -> Wire:
        source, image = block.source, block.kind is MediaKind.IMAGE
        if block.context:
            self._receipt.drop(f"{path}.context")
        if block.name and image:
            self._receipt.drop(f"{path}.name")
        part: Wire = {"type": "input_image" if image else "input_file"}
        if source.file_id:
            part["file_id"] = source.file_id
        elif source.url:
            part["image_url" if image else "file_url"] = source.url
        elif image:
            part["image_url"] = data_url(source.media_type or "image/png", source.data)
        else:
            part["file_data"] = data_url(source.media_type or "application/pdf", source.data)
            part["filename"] = block.name or file_name_for(source.media_type)
        if block.name and not image:
            part["filename"] = block.name
        if block.detail:
            part["detail"] = block.detail
        return part

    def _sound(self, block: Media, path: str) -> Wire:
        form = audio_format(block.source.media_type)
        if not (self._own or "audio" in self._aim.abilities):
            raise unsupported(f"'{path}' is sound, which this target isn't known to take.", path)
        if not block.source.data or form not in PLAIN_AUDIO:
            raise unsupported(
                f"'{path}' is sound; this target takes it as bytes only (base64, wav or mp3).", path
            )
        return {"type": "input_audio", "input_audio": {"data": block.source.data, "format": form}}

    def _call(self, block: ToolCall) -> None:
        if block.signature is not None:
            self._receipt.drop(f"{self._path}.signature")
        if block.cache is not None:
            self._receipt.drop(f"{self._path}.cache")
        tool = self._tools.get(block.name)
        item: Wire = {
            "type": "custom_tool_call" if block.free else "function_call",
            "call_id": fit(block.id, _ID),
            "name": own_name(tool) if tool else block.name,
        }
        if block.free:
            self._free.add(block.id)
            item["input"] = block.arguments
        else:
            item["arguments"] = block.arguments or "{}"
        if tool is not None and tool.namespace:
            item["namespace"] = tool.namespace
        self._items.append(item)

    def _result(self, block: ToolResult) -> None:
        if block.error:
            self._receipt.drop(f"{self._path}.error")
        if block.cache is not None:
            self._receipt.drop(f"{self._path}.cache")
        kind = "custom_tool_call_output" if block.call_id in self._free else "function_call_output"
        said = block.blocks
        output: list[Wire] | str
        if len(said) == 1 and isinstance(said[0], Text) and said[0].cache is None:
            output = said[0].text
        else:
            output = self._given(said)
        self._items.append({"type": kind, "call_id": fit(block.call_id, _ID), "output": output})

    def _given(self, blocks: tuple[Text | Media | Opaque, ...]) -> list[Wire] | str:
        """What a tool gave back, in parts."""
        parts: list[Wire] = []
        for number, part in enumerate(blocks):
            at = f"{self._path}.blocks[{number}]"
            if isinstance(part, Text):
                text: Wire = {"type": "input_text", "text": part.text}
                if part.cache is not None:
                    self._mark(text, part.cache, at)
                parts.append(text)
            elif isinstance(part, Media):
                parts.append(self._medium(part, at))
            else:
                self._receipt.drop(f"{at}.{part.kind}")
        return _content(parts)

    def _thought(self, block: Thinking) -> None:
        signature = block.signature
        item: Wire = {"type": "reasoning"}
        if block.id:
            item["id"] = block.id
        if signature is not None and signature.origin == NAME:
            summary = [{"type": "summary_text", "text": block.text}] if block.text else []
            self._items.append({**item, "summary": summary, "encrypted_content": signature.value})
        elif signature is None and block.text and "reasoning_content" in self._aim.quirks:
            content = [{"type": "reasoning_text", "text": block.text}]
            self._items.append({**item, "summary": [], "content": content})
        else:
            self._receipt.drop(f"messages[{self._message}].thinking")


def _is_plain(block: Text) -> bool:
    return block.cache is None and block.signature is None and not block.citations


def _content(parts: list[Wire]) -> list[Wire] | str:
    """A single plain text as a string, which is shorter, and which all accept."""
    if not parts:
        return ""
    if len(parts) == 1 and len(parts[0]) == 2 and "text" in parts[0]:
        text: str = parts[0]["text"]
        return text
    return parts


def _message(role: Role, parts: list[Wire]) -> Wire:
    return {"type": "message", "role": role, "content": _content(parts)}
