"""Items of a request's input, as messages of the common language.

https://platform.openai.com/docs/api-reference/responses/create (``input``). Items that belong to
one turn of the model (thoughts, words, calls, searches) become one message, as do results that
follow each other. Ids and states of items are the API's own bookkeeping, and stay behind.
"""

from typing import get_args

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from ferryman.ir.request import (
    Block,
    HostedTool,
    Media,
    Message,
    Opaque,
    Refusal,
    Role,
    Signature,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)
from ferryman.ir.signature import unwrap
from ferryman.ir.unreadable import UNREADABLE
from ferryman.wire.carry import Reader, bad_request
from ferryman.wire.openai_responses.parts import NAME, blocks_of
from ferryman.wire.openai_responses.tools import flat_name, read_tool
from ferryman.wire.openai_responses.types import (
    CustomCall,
    EasyMessage,
    FunctionCall,
    FunctionOutput,
    InputAudio,
    InputFile,
    InputImage,
    Item,
    ItemHead,
    MessageItem,
    Part,
    ReasoningItem,
    RefusalPart,
)

ATTACHED = "fm1<"
"""Begins the ``encrypted_content`` of a reasoning item that is none: it carries the signature of
the block before it, for providers that sign text and calls."""

_all = msgspec.json.Decoder(list[Item]).decode
_all_easy = msgspec.json.Decoder(list[EasyMessage]).decode
_raws: Reader[list[Raw]] = Reader(list[Raw])
_text: Reader[str] = Reader(str)
_head: Reader[ItemHead] = Reader(ItemHead)
_item: Reader[Item] = Reader(Item)
_easy: Reader[EasyMessage] = Reader(EasyMessage)
_KINDS = frozenset(str(kind.__struct_config__.tag) for kind in get_args(Item))
_ROLES = {role.value: role for role in Role}
_OF_THE_APPLICATION = frozenset(
    {"item_reference", "configuration_update", "compaction_trigger", "mcp_approval_response"}
)
"""Items without ``_output`` at the end of their name that the model didn't make either."""


class Turns:
    """Puts items together to messages."""

    def __init__(self, unknown: list[str]) -> None:
        self.unknown = unknown
        self.tools: list[Tool | HostedTool] = []
        """Those that stand within the input."""
        self._messages: list[Message] = []
        self._role = Role.ASSISTANT
        self._blocks: list[Block] = []
        """The message that further items may join."""

    def read(self, raw: Raw) -> None:
        """Take the ``input``. Raises :class:`GatewayError` (400)."""
        first = bytes(memoryview(raw)[:1])
        if first == b'"':
            self.say(Role.USER, (Text(text=_text.read(raw, "input", self.unknown)),))
            return
        if first != b"[":
            raise bad_request("'input' must be a string or an array of items.", "input")
        try:
            items = _all(raw)
        except UNREADABLE:
            self._easy_ones(raw)
            return
        for number, item in enumerate(items):
            self._take(item, number)

    def _easy_ones(self, raw: Raw) -> None:
        """The same for an input of messages without type only, or else of all sorts."""
        try:
            items = _all_easy(raw)
        except UNREADABLE:
            self._one_by_one(raw)
            return
        for number, item in enumerate(items):
            self._said(item, number)

    def _one_by_one(self, raw: Raw) -> None:
        """The same for an input that holds other things, too: to be told, kept raw, or refused."""
        for number, item in enumerate(_raws.read(raw, "input", self.unknown)):
            path = f"input[{number}]"
            kind = _head.read(item, path, self.unknown).kind()
            if not kind:
                self._said(_easy.read(item, path, self.unknown), number)
            elif kind in _KINDS:
                self._take(_item.read(item, path, self.unknown), number)
            else:
                outside = kind.endswith("_output") or kind in _OF_THE_APPLICATION
                block = Opaque(origin=NAME, kind=kind, raw=bytes(item))
                self._join(Role.USER if outside else Role.ASSISTANT, block)

    def _take(self, item: Item, number: int) -> None:
        if isinstance(item, MessageItem):
            self._said(item, number)
        elif isinstance(item, FunctionCall):
            self._called(item, item.arguments)
        elif isinstance(item, FunctionOutput):
            self._gave(item, number)
        elif isinstance(item, ReasoningItem):
            self._thought(item, number)
        elif isinstance(item, CustomCall):
            self._called(item, item.input)
        else:
            for place, tool in enumerate(item.tools):
                self.tools += read_tool(tool, f"input[{number}].tools[{place}]", self.unknown)

    def messages(self) -> tuple[Message, ...]:
        """All that was read."""
        self._end_of_turn()
        return tuple(self._messages)

    def say(self, role: Role, blocks: tuple[Block, ...]) -> None:
        """A message by itself."""
        if self._blocks:
            self._end_of_turn()
        self._messages.append(Message(role=role, blocks=blocks))

    def _join(self, role: Role, block: Block) -> None:
        """A block of the model's turn, or among the results that follow it."""
        if self._blocks and role is not self._role:
            self._end_of_turn()
        self._role = role
        self._blocks.append(block)

    def _end_of_turn(self) -> None:
        if self._blocks:
            self._messages.append(Message(role=self._role, blocks=tuple(self._blocks)))
            self._blocks = []

    def _said(self, item: EasyMessage, number: int) -> None:
        role = _ROLES[item.role]
        if item.phase is not None:
            self.unknown.append(f"input[{number}].phase")
        blocks = blocks_of(item.content, number, "content")
        if role is not Role.ASSISTANT:
            self.say(role, blocks)
            return
        for block in blocks:
            self._join(role, block)

    def _called(self, item: FunctionCall | CustomCall, arguments: str) -> None:
        name = flat_name(item.namespace, item.name) if item.namespace else item.name
        free = isinstance(item, CustomCall)
        call = ToolCall(id=item.call_id, name=name, arguments=arguments, free=free)
        self._join(Role.ASSISTANT, call)

    def _gave(self, item: FunctionOutput, number: int) -> None:
        blocks: tuple[Text | Media | Opaque, ...] = ()
        if isinstance(item.output, str):
            blocks = (Text(text=item.output),) if item.output else ()
        else:
            said = blocks_of(item.output, number, "output")
            blocks = tuple([block for block in said if not isinstance(block, Refusal)])
            if len(blocks) != len(said):
                path = f"input[{number}].output"
                raise bad_request(f"'{path}' holds a refusal, which no tool gives.", path)
        name = flat_name(item.namespace, item.name) if item.name else ""
        result = ToolResult(call_id=item.call_id, name=name, blocks=blocks)
        self._join(Role.USER, result)

    def _thought(self, item: ReasoningItem, number: int) -> None:
        proof = item.encrypted_content or ""
        if proof.startswith(ATTACHED):
            self._attach(unwrap(proof[len(ATTACHED) :], NAME), number)
            return
        parts = (*(item.summary or ()), *(item.content or ()))
        texts = [_words(part, number) for part in parts]
        block = thinking("\n\n".join(texts), proof, item.id or "")
        if block is not None:
            self._join(Role.ASSISTANT, block)

    def _attach(self, signature: Signature | None, number: int) -> None:
        last = self._blocks[-1] if self._blocks and self._role is Role.ASSISTANT else None
        if signature is None or not isinstance(last, Text | ToolCall | Media):
            self.unknown.append(f"input[{number}].encrypted_content")
            return
        self._blocks[-1] = replace(last, signature=signature)


def _words(part: Part, number: int) -> str:
    if isinstance(part, RefusalPart | InputImage | InputFile | InputAudio):
        path = f"input[{number}]"
        raise bad_request(f"'{path}' holds thoughts: its parts must have a text.", path)
    return part.text


def thinking(text: str, proof: str, item_id: str) -> Thinking | None:
    """A block of thoughts; None for an item that says nothing, and proves nothing."""
    if not text and not proof:
        return None
    signature = unwrap(proof, NAME)
    return Thinking(text=text, signature=signature, encrypted=not text, id=item_id)
