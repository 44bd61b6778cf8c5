"""Messages in the common language, written in the chat format.

https://platform.openai.com/docs/api-reference/chat/create. Results of tools become messages of
their own, which follow at once on the message with the calls, as the format demands; an assistant's
neighbouring messages become one where calls are among them.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

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
    Request,
    Role,
    Signature,
    Source,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from ferryman.wire.carry import data_url, unsupported, words_alone
from ferryman.wire.openai_chat.media import PLAIN_AUDIO, audio_format, file_name_for
from ferryman.wire.openai_chat.thoughts import NAME, details, extra_content
from ferryman.wire.tool_ids import fit

Body = dict[str, Any]
_ID = re.compile(r"[!-~]{1,40}")
_SHORT_ID = re.compile(r"[a-zA-Z0-9]{9}")
_FILES = (NAME, "openai_responses")
"""Formats whose file ids mean the same."""
_MORE_THAN_HALF_AN_HOUR = 1801


def cache_control(mark: CacheMark) -> Body:
    """``cache_control`` as routers take it (https://openrouter.ai/docs)."""
    out: Body = {"type": "ephemeral"}
    if mark.ttl:
        hours, rest = divmod(mark.ttl, 3600)
        out["ttl"] = f"{hours}h" if not rest else f"{mark.ttl // 60}m"
    return out


class MessageWriter:
    """Writes the messages of one request."""

    __slots__ = ("_messages", "_out", "_quirks", "_receipt")

    def __init__(self, request: Request, quirks: frozenset[str], receipt: Receipt) -> None:
        self._messages = request.messages
        self._quirks = quirks
        self._receipt = receipt
        self._out: list[Body] = []

    def write(self) -> list[Body]:
        """All messages. Raises :class:`GatewayError` (400)."""
        messages = self._messages
        alone = words_alone(messages)
        at = 0
        while at < len(messages):
            text = alone[at]
            if text:
                self._out.append({"role": messages[at].role, "content": text})
                at += 1
                continue
            end = at + 1
            role = messages[at].role
            while end < len(messages) and messages[end].role is role:
                end += 1
            run = range(at, end)
            if role is Role.USER:
                self._users(run)
            elif role is Role.ASSISTANT:
                self._assistants(run)
            else:
                for place in run:
                    self._system(messages[place], place)
            at = end
        return self._out

    def _add(self, role: str, message: Message, content: str | list[Any] | None) -> Body:
        out: Body = {"role": role, "content": content}
        if message.name:
            out["name"] = message.name
        self._out.append(out)
        return out

    def _system(self, message: Message, place: int) -> None:
        developer = message.role is Role.DEVELOPER and "system_role" not in self._quirks
        content = self._content(message.blocks, place)
        self._add("developer" if developer else "system", message, content)

    # --- users and results ----------------------------------------------------------------------

    def _users(self, run: Iterable[int]) -> None:
        """Neighbouring messages of the user: all results first, they belong to the calls before."""
        aside: list[Body] = []
        for place in run:
            for block in self._messages[place].blocks:
                if isinstance(block, ToolResult):
                    self._result(block, place, aside)
        if aside:
            self._out.append({"role": "user", "content": aside})
        for place in run:
            message = self._messages[place]
            rest = [block for block in message.blocks if not isinstance(block, ToolResult)]
            if rest or not message.blocks:
                self._add("user", message, self._content(rest, place))

    def _result(self, result: ToolResult, place: int, aside: list[Body]) -> None:
        at = f"messages[{place}]"
        if result.error:
            self._receipt.drop(f"{at}.tool_result.error")
        blocks: Sequence[Block] = result.blocks
        media = [block for block in blocks if isinstance(block, Media)]
        if media and "tool_images" not in self._quirks:
            blocks = [block for block in blocks if not isinstance(block, Media)]
            found = self._content(media, place)
            aside.extend(found if isinstance(found, list) else ())
            self._receipt.alter(f"{at}.tool_result", "media follow in a user message")
            if not blocks:
                blocks = [Text(text="(The result follows in the next message.)")]
        if result.cache is not None and blocks and "cache_control" in self._quirks:
            content = self._content(blocks, place, result.cache)
        else:
            if result.cache is not None:
                self._receipt.drop(f"{at}.cache_control")
            content = self._content(blocks, place)
        call_id = self._id(result.call_id)
        self._out.append({"role": "tool", "tool_call_id": call_id, "content": content})

    # --- assistants -----------------------------------------------------------------------------

    def _assistants(self, run: Iterable[int]) -> None:
        """Neighbouring messages of the assistant: one where calls or thoughts are among them."""
        groups: list[list[int]] = []
        for place in run:
            if groups and self._belongs(groups[-1][-1], place):
                groups[-1].append(place)
            else:
                groups.append([place])
        for group in groups:
            self._assistant(group)

    def _belongs(self, before: int, place: int) -> bool:
        one, other = self._messages[before], self._messages[place]
        return one.name == other.name and not (_is_plain(one) and _is_plain(other))

    def _assistant(self, group: list[int]) -> None:
        parts: list[Any] = []
        said: dict[str, Any] = {}
        calls: list[Body] = []
        thought: list[tuple[Thinking, int]] = []
        count = 0
        for place in group:
            at = f"messages[{place}]"
            texts: list[Text] = []
            for block in self._messages[place].blocks:
                if isinstance(block, Text):
                    texts.append(block)
                elif isinstance(block, ToolCall):
                    calls.append(self._call(block, f"{at}.tool_calls[{len(calls)}]"))
                elif isinstance(block, Thinking):
                    if self._returns(block, at):
                        thought.append((block, count))
                elif isinstance(block, Refusal):
                    said["refusal"] = said.get("refusal", "") + block.text
                elif isinstance(block, Media) and block.source.file_id and _is_sound(block):
                    said["audio"] = {"id": block.source.file_id}
                elif isinstance(block, Opaque) and block.origin == NAME:
                    parts.append(Raw(block.raw))
                else:
                    self._receipt.drop(f"{at}.{_kind(block)}")
                count += 1
            self._texts(texts, at, parts, said)
        if not (parts or said or calls or thought) and count:
            return  # all that it held had to be left out, as the receipt says
        content: str | list[Any] | None = parts
        if len(parts) == 1 and isinstance(parts[0], dict) and len(parts[0]) == 2:
            content = parts[0]["text"]
        elif not parts:
            content = None if said or calls else ""
        if isinstance(content, list) and "flat_content" in self._quirks:
            words = [part["text"] for part in parts if isinstance(part, dict)]
            if len(words) < len(parts):
                self._receipt.drop(f"messages[{group[0]}].content")
            content = "\n\n".join(words)
        out = self._add("assistant", self._messages[group[0]], content)
        out.update(said)
        if calls:
            out["tool_calls"] = calls
        self._think(out, thought)

    def _texts(self, texts: list[Text], at: str, parts: list[Any], said: Body) -> None:
        """An assistant's texts within one message are pieces of one text."""
        if not texts:
            return
        for text in texts:
            if text.citations:
                self._receipt.drop(f"{at}.citations")
            signed = self._signature(text.signature, f"{at}.signature")
            if signed is not None:
                said["extra_content"] = signed
        part: Body = {"type": "text", "text": "".join(text.text for text in texts)}
        marks = [text.cache for text in texts if text.cache is not None]
        if marks:
            self._mark(part, marks[-1], at)
        parts.append(part)

    def _call(self, call: ToolCall, at: str) -> Body:
        out: Body = {"id": self._id(call.id)}
        if call.free:
            out["type"] = "custom"
            out["custom"] = {"name": call.name, "input": call.arguments}
        else:
            out["type"] = "function"
            out["function"] = {"name": call.name, "arguments": call.arguments or "{}"}
        signed = self._signature(call.signature, f"{at}.signature")
        if signed is not None:
            out["extra_content"] = signed
        if call.cache is not None:
            self._receipt.drop(f"{at}.cache_control")
        return out

    def _signature(self, signature: Signature | None, at: str) -> object:
        if signature is None:
            return None
        if signature.origin == NAME and "extra_content" in self._quirks:
            return extra_content(signature)
        self._receipt.drop(at)
        return None

    def _returns(self, block: Thinking, at: str) -> bool:
        """Whether thoughts go back to the provider; the receipt says what doesn't."""
        signature = block.signature
        ours = signature is None or signature.origin == NAME
        if "reasoning_details" in self._quirks and ours:
            return True
        if "echo_reasoning_content" in self._quirks and block.text and not block.encrypted:
            if signature is not None:
                self._receipt.drop(f"{at}.thinking.signature")
            return True
        self._receipt.drop(f"{at}.thinking")
        return False

    def _think(self, out: Body, thought: list[tuple[Thinking, int]]) -> None:
        if "reasoning_details" in self._quirks:
            found = [
                detail
                for block, index in thought
                if block.signature is None or block.signature.origin == NAME
                for detail in details(block, index)
            ]
            if found:
                out["reasoning_details"] = found
        if "echo_reasoning_content" in self._quirks:
            text = "".join(block.text for block, _ in thought if not block.encrypted)
            if text:
                out["reasoning_content"] = text

    def _id(self, call_id: str) -> str:
        if "short_tool_ids" in self._quirks:
            return fit(call_id, _SHORT_ID, "", 9)
        return fit(call_id, _ID)

    # --- content --------------------------------------------------------------------------------

    def _content(
        self, blocks: Sequence[Block], place: int, last: CacheMark | None = None
    ) -> str | list[Any]:
        """Content of any role but the assistant's; ``last``: a mark for the last part."""
        if len(blocks) == 1 and last is None:
            only = blocks[0]
            if isinstance(only, Text) and only.cache is None:
                return only.text
        at = f"messages[{place}]"
        parts: list[Any] = []
        for block in blocks:
            part = self._part(block, at)
            if part is None:
                continue
            mark = getattr(block, "cache", None)
            if mark is not None:
                self._mark(part, mark, at)
            parts.append(part)
        if last is not None and parts and isinstance(parts[-1], dict):
            self._mark(parts[-1], last, at)
        if all(isinstance(part, dict) and part["type"] == "text" for part in parts):
            plain = all(len(part) == 2 for part in parts)
            if not parts or "flat_content" in self._quirks or (len(parts) == 1 and plain):
                return "\n\n".join(part["text"] for part in parts)
        return parts

    def _mark(self, part: Any, mark: CacheMark, at: str) -> None:
        if isinstance(part, dict):
            if "cache_control" in self._quirks:
                part["cache_control"] = cache_control(mark)
                return
            if "cache_breakpoint" in self._quirks:
                breakpoint_: Body = {"mode": "explicit"}
                if mark.ttl >= _MORE_THAN_HALF_AN_HOUR:
                    breakpoint_["ttl"] = "12h"
                part["prompt_cache_breakpoint"] = breakpoint_
                return
        self._receipt.drop(f"{at}.cache_control")

    def _part(self, block: Block, at: str) -> Body | Raw | None:
        if isinstance(block, Text):
            return {"type": "text", "text": block.text}
        if isinstance(block, Media):
            return self._media(block, at)
        if isinstance(block, Opaque) and block.origin == NAME:
            return Raw(block.raw)
        self._receipt.drop(f"{at}.{_kind(block)}")
        return None

    def _media(self, media: Media, at: str) -> Body:
        source = media.source
        at = f"{at}.{media.kind}"
        if source.file_id and source.origin not in _FILES and not source.data:
            raise unsupported(
                f"The file '{source.file_id[:80]}' is stored at another provider; send its bytes to"
                " reach this target.",
                at,
            )
        if media.cite:
            self._receipt.drop(f"{at}.citations")
        if media.kind is MediaKind.IMAGE:
            link = self._link(source, at)
            if media.detail:
                link["detail"] = media.detail
            return {"type": "image_url", "image_url": link}
        if media.kind is MediaKind.AUDIO:
            return self._audio(source, at)
        if media.kind is MediaKind.VIDEO:
            if "video_url" not in self._quirks:
                raise unsupported("This target takes no video in a chat message.", at)
            return {"type": "video_url", "video_url": self._link(source, at)}
        return self._document(media, at)

    def _link(self, source: Source, at: str) -> Body:
        if source.data:
            return {"url": data_url(source.media_type, source.data)}
        if source.url:
            return {"url": source.url}
        raise unsupported("This target takes a URL or bytes here, not the id of a file.", at)

    def _audio(self, source: Source, at: str) -> Body:
        if source.data:
            form = audio_format(source.media_type)
            if form not in PLAIN_AUDIO and "audio_formats" not in self._quirks:
                raise unsupported(f"This target takes sound as wav or mp3, not as {form!r}.", at)
            return {"type": "input_audio", "input_audio": {"data": source.data, "format": form}}
        if source.url and "audio_url" in self._quirks:
            return {"type": "audio_url", "audio_url": {"url": source.url}}
        raise unsupported("This target takes sound as bytes only (base64, wav or mp3).", at)

    def _document(self, media: Media, at: str) -> Body:
        source = media.source
        if source.text:
            self._receipt.alter(at, "text")
            words = [word for word in (media.name, media.context, source.text) if word]
            return {"type": "text", "text": "\n\n".join(words)}
        if media.context:
            self._receipt.drop(f"{at}.context")
        file: Body
        if source.data:
            name = media.name or file_name_for(source.media_type)
            file = {"filename": name, "file_data": data_url(source.media_type, source.data)}
        elif source.file_id:
            file = {"file_id": source.file_id}
        elif source.url and "file_url" in self._quirks:
            file = {"file_data": source.url}
            if media.name:
                file["filename"] = media.name
        else:
            raise unsupported(
                "This target takes documents as bytes (base64), not by their address.", at
            )
        return {"type": "file", "file": file}


def _is_plain(message: Message) -> bool:
    return all(isinstance(block, Text | Refusal) for block in message.blocks)


def _is_sound(media: Media) -> bool:
    return media.kind is MediaKind.AUDIO and media.source.origin == NAME


def _kind(block: Block) -> str:
    if isinstance(block, Opaque):
        return block.kind
    if isinstance(block, Media):
        return str(block.kind)
    return {Refusal: "refusal", Thinking: "thinking", ToolCall: "tool_call"}.get(
        type(block), "block"
    )
