"""A caller's request, decoded: https://platform.claude.com/docs/en/api/messages/create.

Messages of the role ``system`` may stand between the others (newer models), ``max_tokens: 0`` fills
the cache without an answer: other formats, which can't say that, ask for one token instead.
Members of the top level that the common language has no word for travel as ``extra``, and what
remains of ``output_config`` and ``metadata`` does, too, under their names.
"""

from typing import Any

import msgspec
from msgspec import Raw

from ferryman.ir.request import (
    HostedTool,
    Message,
    OutputFormat,
    OutputKind,
    Reasoning,
    Request,
    Role,
    Text,
    Tool,
    ToolChoice,
    ToolMode,
)
from ferryman.ir.unreadable import UNREADABLE
from ferryman.wire.anthropic_messages.content import blocks_of, mark_of
from ferryman.wire.anthropic_messages.types import (
    NAME,
    Choosing,
    CustomTool,
    JSONFormat,
    Kind,
    ThinkingConfig,
    WireMessage,
)
from ferryman.wire.carry import Reader, bad_request, members, shape_error

_encode = msgspec.json.Encoder().encode
_messages = msgspec.json.Decoder(list[WireMessage])
_raws = msgspec.json.Decoder(list[Raw])
_kind = msgspec.json.Decoder(Kind)
_NULL = b"null"
_ROLES = {"user": Role.USER, "assistant": Role.ASSISTANT, "system": Role.SYSTEM}
_MESSAGE: Reader[WireMessage] = Reader(WireMessage)
_TOOL: Reader[CustomTool] = Reader(CustomTool)
_CHOICE: Reader[Choosing] = Reader(Choosing)
_THINKING: Reader[ThinkingConfig] = Reader(ThinkingConfig)
_FORMAT: Reader[JSONFormat] = Reader(JSONFormat)
_PLAIN: dict[str, tuple[msgspec.json.Decoder[Any], str]] = {
    "model": (msgspec.json.Decoder(str), "a string"),
    "max_tokens": (msgspec.json.Decoder(int), "an integer"),
    "stream": (msgspec.json.Decoder(bool), "true or false"),
    "temperature": (msgspec.json.Decoder(float), "a number"),
    "top_p": (msgspec.json.Decoder(float), "a number"),
    "top_k": (msgspec.json.Decoder(int), "an integer"),
    "stop_sequences": (msgspec.json.Decoder(tuple[str, ...]), "an array of strings"),
    "service_tier": (msgspec.json.Decoder(str), "a string"),
    "system": (msgspec.json.Decoder(str | list[Raw]), "a string or an array of text blocks"),
    "tools": (_raws, "an array of objects"),
}
_CHOICES = {
    "auto": ToolMode.AUTO, "any": ToolMode.REQUIRED, "tool": ToolMode.REQUIRED,
    "none": ToolMode.NONE,
}  # fmt: skip
_SHOWN = {"summarized": "auto", "omitted": "none"}


def decode_request(body: bytes, model: str = "", stream: bool = False) -> Request:
    """The request in the common language; what the body says of model and stream comes first.

    Raises :class:`GatewayError` (400).
    """
    return _Decoding(body).request(model, stream)


def decode_count(body: bytes) -> Request:
    """The same for ``/v1/messages/count_tokens``. Raises :class:`GatewayError` (400).

    https://platform.claude.com/docs/en/api/messages-count-tokens
    """
    return _Decoding(body).request("", False)


def encode_count(tokens: int) -> bytes:
    """Its reply."""
    return b'{"input_tokens":%d}' % tokens


class _Decoding:
    """One body's members; each that is taken leaves the rest to ``extra``."""

    def __init__(self, body: bytes) -> None:
        try:
            if not body.isascii():
                body.decode()
        except UnicodeDecodeError as error:
            raise shape_error(error) from None
        self.members = members(body)
        self.unknown: list[str] = []
        self.extra: dict[str, Raw] = {}

    def request(self, model: str, stream: bool) -> Request:
        """All of it."""
        model = self.plain("model", model)
        if not model:
            raise bad_request("'model' is missing; name one.", "model")
        limit = self.plain("max_tokens", None)
        if limit is not None and limit < 0:
            raise bad_request("'max_tokens' must not be negative.", "max_tokens")
        if limit == 0:
            self.extra["max_tokens"], limit = Raw(b"0"), 1
        messages = (*self.system(), *self.messages())
        stream = self.plain("stream", stream)
        choice, parallel = self.choice()
        effort, output = self.output_config()
        return Request(
            model=model,
            messages=messages,
            stream=stream,
            include_usage=stream,
            max_output=limit or 0,
            temperature=self.plain("temperature", None),
            top_p=self.plain("top_p", None),
            top_k=self.plain("top_k", None),
            stop=self.plain("stop_sequences", ()),
            service_tier=self.plain("service_tier", ""),
            tools=self.tools(),
            tool_choice=choice,
            parallel_tools=parallel,
            reasoning=self.reasoning(effort),
            output=output,
            user=self.user(),
            origin=NAME,
            extra=(*self.members.items(), *self.extra.items()),
            unknown=tuple(self.unknown),
        )

    def take(self, name: str) -> Raw | None:
        """A member, once; None for one that is missing or null."""
        raw = self.members.pop(name, None)
        return None if raw is None or memoryview(raw)[:4] == _NULL else raw

    def plain(self, name: str, default: Any) -> Any:
        """A member of a plain type."""
        raw = self.take(name)
        if raw is None:
            return default
        decoder, words = _PLAIN[name]
        try:
            return decoder.decode(raw)
        except msgspec.ValidationError:
            raise bad_request(f"'{name}' must be {words}.", name) from None
        except UNREADABLE as error:
            raise shape_error(error, name) from None

    def system(self) -> tuple[Message, ...]:
        """The system text as the first message."""
        said = self.plain("system", None)
        if said is None:
            return ()
        blocks = (Text(text=said),) if isinstance(said, str) else self.texts(said, "system")
        return (Message(role=Role.SYSTEM, blocks=blocks),) if blocks else ()

    def texts(self, raws: list[Raw], path: str) -> tuple[Any, ...]:
        """Blocks that must be text."""
        blocks = blocks_of(raws, path, self.unknown)
        for place, block in enumerate(blocks):
            if not isinstance(block, Text):
                raise bad_request(f"'{path}[{place}]' must be a text block.", f"{path}[{place}]")
        return blocks

    def messages(self) -> list[Message]:
        """The conversation."""
        raw = self.take("messages")
        if raw is None:
            raise bad_request("'messages' is missing; it must be an array of messages.", "messages")
        try:
            turns = _messages.decode(raw)
        except UNREADABLE:
            turns = self.each_message(raw)
        if not turns:
            raise bad_request("'messages' is empty; at least one message is needed.", "messages")
        out = []
        for place, turn in enumerate(turns):
            role = _ROLES.get(turn.role)
            if role is None:
                path = f"messages[{place}].role"
                raise bad_request(f"'{path}' must be user, assistant or system.", path)
            content = turn.content
            if isinstance(content, str):
                out.append(Message(role=role, blocks=(Text(text=content),)))
                continue
            path = f"messages[{place}].content"
            if role is Role.SYSTEM:
                blocks = self.texts(content, path)
            else:
                blocks = blocks_of(content, path, self.unknown)
            out.append(Message(role=role, blocks=blocks))
        return out

    def each_message(self, raw: Raw) -> list[WireMessage]:
        """Messages one by one: something about one of them is wrong, or unknown."""
        try:
            raws = _raws.decode(raw)
        except UNREADABLE as error:
            raise shape_error(error, "messages") from None
        return [
            _MESSAGE.read(each, f"messages[{place}]", self.unknown)
            for place, each in enumerate(raws)
        ]

    def tools(self) -> tuple[Tool | HostedTool, ...]:
        """The tools; those with a type of their own are the provider's."""
        out: list[Tool | HostedTool] = []
        for place, raw in enumerate(self.plain("tools", ())):
            path = f"tools[{place}]"
            try:
                kind = _kind.decode(raw).type
            except msgspec.ValidationError:
                kind = ""  # null, or no object: said below
            except UNREADABLE as error:
                raise shape_error(error, path) from None
            if kind and kind != "custom":
                out.append(HostedTool(origin=NAME, kind=kind, raw=bytes(raw)))
                continue
            tool = _TOOL.read(raw, path, self.unknown)
            if bytes(tool.input_schema)[:1] != b"{":
                path += ".input_schema"
                raise bad_request(f"'{path}' must be an object.", path)
            out.append(
                Tool(
                    name=tool.name,
                    description=tool.description or "",
                    parameters=tool.input_schema,
                    strict=tool.strict,
                    cache=mark_of(tool.cache_control),
                )
            )
        return tuple(out)

    def choice(self) -> tuple[ToolChoice | None, bool | None]:
        """Which tools may be called, and whether several at once."""
        raw = self.take("tool_choice")
        if raw is None:
            return None, None
        said = _CHOICE.read(raw, "tool_choice", self.unknown)
        mode = _CHOICES.get(said.type)
        if mode is None:
            path = "tool_choice.type"
            raise bad_request(f"'{path}' must be auto, any, tool or none.", path)
        allowed: tuple[str, ...] = ()
        if said.type == "tool":
            if not said.name:
                raise bad_request("'tool_choice.name' is missing.", "tool_choice.name")
            allowed = (said.name,)
        one = said.disable_parallel_tool_use
        return ToolChoice(mode=mode, allowed=allowed), None if one is None else not one

    def reasoning(self, effort: str) -> Reasoning | None:
        """``thinking``, together with the effort."""
        raw = self.take("thinking")
        if raw is None:
            return Reasoning(effort=effort) if effort else None
        unknown: list[str] = []
        said = _THINKING.read(raw, "thinking", unknown)
        if said.type not in ("enabled", "disabled", "adaptive"):
            self.extra["thinking"] = raw
            return Reasoning(effort=effort) if effort else None
        self.unknown += unknown
        budget = -1
        if said.type == "enabled":
            if said.budget_tokens is None or said.budget_tokens < 1:
                path = "thinking.budget_tokens"
                raise bad_request(f"'{path}' must be a number of tokens.", path)
            budget = said.budget_tokens
        elif said.type == "disabled":
            budget = 0
        return Reasoning(
            effort=effort,
            budget=budget,
            adaptive=said.type == "adaptive",
            summary=_SHOWN.get(said.display or "", ""),
        )

    def output_config(self) -> tuple[str, OutputFormat | None]:
        """Effort and form of the answer; ``output_format`` is the form's older place."""
        wanted = self.take("output_format")
        path, effort = "output_format", ""
        config = self.object("output_config")
        raw = config.pop("effort", None)
        if raw is not None and bytes(raw) != _NULL:
            effort = self.string(raw, "output_config.effort")
        raw = config.pop("format", None)
        if raw is not None and bytes(raw) != _NULL:
            wanted, path = raw, "output_config.format"
        if config:
            self.extra["output_config"] = Raw(_encode(config))
        if wanted is None:
            return effort, None
        said = _FORMAT.read(wanted, path, self.unknown)
        return effort, OutputFormat(kind=OutputKind.SCHEMA, schema=said.schema)

    def user(self) -> str:
        """The application's name for its user."""
        facts = self.object("metadata")
        raw = facts.pop("user_id", None)
        if facts:
            self.extra["metadata"] = Raw(_encode(facts))
        return "" if raw is None or bytes(raw) == _NULL else self.string(raw, "metadata.user_id")

    def object(self, name: str) -> dict[str, Raw]:
        """A member's own members."""
        raw = self.take(name)
        return {} if raw is None else members(raw, name)

    def string(self, raw: Raw, path: str) -> str:
        """A member that must be a string."""
        try:
            return str(_PLAIN["model"][0].decode(raw))
        except UNREADABLE as error:
            raise shape_error(error, path) from None
