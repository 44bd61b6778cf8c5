"""A conversation for a provider: https://platform.claude.com/docs/en/api/messages/create.

System text goes to the front. Between the turns it keeps its role where the target takes that
(ability or quirk ``system_messages``:
https://platform.claude.com/docs/en/build-with-claude/mid-conversation-system-messages), else it
becomes a user's. Results of tools follow their calls at once and come first in their message, as
https://platform.claude.com/docs/en/agents-and-tools/tool-use/overview demands.
"""

import re
from typing import Any

from msgspec import Raw

from ferryman.ir.request import (
    Block,
    Media,
    Message,
    Opaque,
    Refusal,
    Role,
    Signature,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from ferryman.wire.anthropic_messages.media import media_out
from ferryman.wire.anthropic_messages.scope import Scope
from ferryman.wire.anthropic_messages.types import NAME
from ferryman.wire.carry import object_arguments, unsupported, words_alone
from ferryman.wire.tool_ids import fit

OPENER = "Hello."
"""What a user says first where the conversation begins with the model: it may not."""
FREE_TEXT = "input"
"""The member that stands for the arguments of a tool that takes free text."""

_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_THOUGHTS_OF = (NAME, "bedrock_converse")
"""Formats whose signatures of readable thoughts are the same models'."""
Turn = dict[str, Any]
"""``role`` and ``content``: a text, or a list of blocks."""


def history_out(scope: Scope) -> tuple[str | list[Any] | None, list[Turn]]:
    """``system`` and ``messages``."""
    messages = scope.request.messages
    front = 0
    while front < len(messages) and messages[front].role in (Role.SYSTEM, Role.DEVELOPER):
        front += 1
    if front == len(messages) and front and not scope.native:
        front -= 1  # there must be a message
    system: list[Any] = []
    for place in range(front):
        system += _texts(scope, messages[place], place)
    turns: list[Turn] = []
    for place, text in enumerate(words_alone(messages)[front:], front):
        role = "assistant" if messages[place].role is Role.ASSISTANT else "user"
        if text and not (turns and turns[-1]["role"] == role):
            turns.append({"role": role, "content": text})
        else:
            if turns:
                turns[-1]["content"] = _long(turns[-1]["content"])
            _add(scope, turns, messages[place], place)
    if not scope.native:
        _check_calls(turns)
        if turns and turns[0]["role"] == "assistant":
            turns.insert(0, {"role": "user", "content": [{"type": "text", "text": OPENER}]})
            scope.receipt.alter("messages", "a user message in front")
        _trim_last(scope, turns)
    for turn in turns:
        content = turn["content"]
        if not isinstance(content, str):
            if turn["role"] == "user" and _is_result(content[0]):
                _results_first(content)  # others may have been joined since
            turn["content"] = _short(content)
    return (_short(system) if system else None), turns


def _short(blocks: list[Any]) -> str | list[Any]:
    """Plain words as a string."""
    if len(blocks) == 1 and isinstance(blocks[0], dict) and set(blocks[0]) == {"type", "text"}:
        return str(blocks[0]["text"])
    return blocks


def _long(content: str | list[Any]) -> list[Any]:
    """The same as blocks."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _add(scope: Scope, turns: list[Turn], message: Message, place: int) -> None:
    last = turns[-1]["role"] if turns else ""
    role = "assistant" if message.role is Role.ASSISTANT else "user"
    if message.role in (Role.SYSTEM, Role.DEVELOPER):
        blocks = _texts(scope, message, place)
        if scope.native or (scope.can("system_messages") and last == "user"):
            role = "system"
        else:
            scope.receipt.alter(f"messages[{place}].role", "user")
    else:
        blocks = _blocks(scope, message, place)
    if message.name:
        scope.receipt.drop(f"messages[{place}].name")
    if not blocks:
        if message.blocks:
            scope.receipt.drop(f"messages[{place}]")
        return
    # Neighbours of one role are joined by the API itself; but results must all come first.
    results = role == "user" and any(_is_result(block) for block in blocks)
    before = turns[-1]["content"] if role == last == "user" else []
    if before and (results or _is_result(before[0])):
        before += blocks
        blocks = before
    else:
        turns.append({"role": role, "content": blocks})
    if results and not _is_result(blocks[0]):
        _results_first(blocks)


def _is_result(block: Any) -> bool:
    return isinstance(block, dict) and block["type"] == "tool_result"


def _results_first(blocks: list[Any]) -> None:
    blocks.sort(key=lambda block: not _is_result(block))


def _texts(scope: Scope, message: Message, place: int) -> list[Any]:
    """A message that may hold text only."""
    for number, block in enumerate(message.blocks):
        if not isinstance(block, Text):
            path = f"messages[{place}].content[{number}]"
            raise unsupported(f"'{path}': a system message may hold text only.", path)
    return _blocks(scope, message, place)


def _blocks(scope: Scope, message: Message, place: int) -> list[Any]:
    out: list[Any] = []
    saying = message.role is Role.ASSISTANT
    for number, block in enumerate(message.blocks):
        if isinstance(block, Text) and not block.citations and not block.signature:
            if _says(scope, block.text, place, number):
                part: dict[str, Any] = {"type": "text", "text": block.text}
                if block.cache is not None:
                    scope.mark(part, block.cache, f"messages[{place}].content[{number}]")
                out.append(part)
            continue
        written = _block(scope, block, place, number, saying)
        if written is not None:
            out.append(written)
    return out


def _says(scope: Scope, text: str, place: int, number: int) -> bool:
    """Whether text is to be sent: the API refuses blocks without words."""
    if scope.native or not (text.isspace() or not text):
        return True
    if text:
        scope.receipt.drop(f"messages[{place}].content[{number}]")
    return False


def _block(scope: Scope, block: Block, place: int, number: int, saying: bool) -> Any:
    """A block as the format has it; None when it is left out."""
    path = f"messages[{place}].content[{number}]"
    receipt = scope.receipt
    if isinstance(block, ToolResult):
        return _result(scope, block, path)
    if isinstance(block, ToolCall):
        if block.signature is not None:
            receipt.drop(f"messages[{place}].signature")
        return _call(scope, block, path)
    if isinstance(block, Thinking):
        written = _thinking(block)
        if written is None:
            receipt.drop(f"messages[{place}].thinking")
        return written
    if isinstance(block, Text):
        if not _says(scope, block.text, place, number):
            return None
        if block.signature is not None:
            receipt.drop(f"messages[{place}].signature")
        part: dict[str, Any] = {"type": "text", "text": block.text}
        own = [Raw(each.raw) for each in block.citations if each.origin == NAME and each.raw]
        if own and (saying or scope.native):
            part["citations"] = own
        if len(part.get("citations", ())) < len(block.citations):
            receipt.drop(f"{path}.citations")
        return scope.mark(part, block.cache, path)
    if isinstance(block, Refusal):
        receipt.alter(f"messages[{place}].refusal", "text")
        return {"type": "text", "text": block.text} if block.text.strip() else None
    if isinstance(block, Media):
        if saying and not scope.native:
            receipt.drop(path)  # the model itself makes no media in this format
            return None
        return media_out(scope, block, path)
    return _opaque(scope, block, path, saying)


def _opaque(scope: Scope, block: Opaque, path: str, saying: bool) -> Any:
    if block.origin == NAME:
        return Raw(block.raw)
    if saying:
        scope.receipt.drop(f"{path}.{block.kind}")
        return None
    raise unsupported(f"'{path}': a part of type {block.kind} can't be sent to this model.", path)


def _thinking(block: Thinking) -> dict[str, Any] | None:
    signature: Signature | None = block.signature
    if signature is None:
        return None
    if block.encrypted and not block.text:
        if signature.origin != NAME:
            return None
        return {"type": "redacted_thinking", "data": signature.value}
    if signature.origin not in _THOUGHTS_OF:
        return None
    return {"type": "thinking", "thinking": block.text, "signature": signature.value}


def _call(scope: Scope, block: ToolCall, path: str) -> dict[str, Any]:
    given: Any
    if block.free:
        given = {FREE_TEXT: block.arguments}
        scope.receipt.alter(f"{path}.{block.name}", f"free text as member {FREE_TEXT}")
    else:
        given = object_arguments(block.arguments, block.name, f"{path}.arguments")
    call = {"type": "tool_use", "id": _fit(scope, block.id), "name": block.name, "input": given}
    return scope.mark(call, block.cache, path)


def _fit(scope: Scope, call_id: str) -> str:
    return call_id if scope.native else fit(call_id, _ID, "toolu_")


def _result(scope: Scope, block: ToolResult, path: str) -> dict[str, Any]:
    out: dict[str, Any] = {"type": "tool_result", "tool_use_id": _fit(scope, block.call_id)}
    parts: list[Any] = []
    for number, part in enumerate(block.blocks):
        where = f"{path}.content[{number}]"
        if isinstance(part, Text):
            if part.text or (scope.native and len(block.blocks) == 1):
                parts.append(scope.mark({"type": "text", "text": part.text}, part.cache, where))
        elif isinstance(part, Media):
            parts.append(media_out(scope, part, where))
        else:
            parts.append(_opaque(scope, part, where, saying=False))
    if parts:
        out["content"] = _short(parts)
    if block.error:
        out["is_error"] = True
    return scope.mark(out, block.cache, path)


def _check_calls(turns: list[Turn]) -> None:
    """The API demands that each call's result follows in the next message, and no other."""
    open_: dict[str, None] = {}
    for turn in (*turns, {"role": "", "content": []}):
        content = turn["content"]
        if isinstance(content, str):
            if not open_:
                continue
            content = ()
        blocks = [block for block in content if isinstance(block, dict)]
        given = dict.fromkeys(b["tool_use_id"] for b in blocks if b["type"] == "tool_result")
        for call in given:
            if call not in open_:
                raise unsupported(
                    f"The result of the tool call {call} doesn't follow the message with that "
                    "call; this model's format demands that it does.",
                    "messages",
                )
        lacking = [call for call in open_ if call not in given]
        if lacking:
            raise unsupported(
                f"The tool call {lacking[0]} has no result in the message after it; this model's "
                "format demands one.",
                "messages",
            )
        open_ = {block["id"]: None for block in blocks if block["type"] == "tool_use"}


def _trim_last(scope: Scope, turns: list[Turn]) -> None:
    """The API refuses white space at the end of an answer that it shall go on with."""
    last = turns[-1] if turns else None
    if last is None or last["role"] != "assistant":
        return
    last["content"] = _long(last["content"])
    block = last["content"][-1]
    if isinstance(block, dict) and block["type"] == "text":
        trimmed = block["text"].rstrip()
        if trimmed != block["text"]:
            block["text"] = trimmed
            scope.receipt.alter("messages[-1]", "without white space at its end")
