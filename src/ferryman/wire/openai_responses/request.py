"""Requests as callers of the Responses API make them, in the common language.

https://platform.openai.com/docs/api-reference/responses/create. ``instructions`` become the first
message. Fields that only this API knows (``previous_response_id``, ``truncation``, ``prompt``…)
travel in ``extra``.
"""

from typing import TypeVar

import msgspec
from msgspec import Raw

from ferryman.ir.request import (
    Opaque,
    OutputFormat,
    OutputKind,
    Reasoning,
    Request,
    Role,
    Text,
)
from ferryman.wire.carry import Fields, Reader, bad_request, members, shape_error
from ferryman.wire.openai_responses.items import Turns
from ferryman.wire.openai_responses.parts import NAME
from ferryman.wire.openai_responses.tools import read_choice, read_tool
from ferryman.wire.openai_responses.types import ReasoningOptions, StreamOptions, TextOptions

T = TypeVar("T")

_encode = msgspec.json.Encoder().encode
_string: Reader[str] = Reader(str)
_strings: Reader[list[str]] = Reader(list[str])
_raws: Reader[list[Raw]] = Reader(list[Raw])
_flag: Reader[bool] = Reader(bool)
_whole: Reader[int] = Reader(int)
_number: Reader[float] = Reader(float)
_pairs: Reader[dict[str, str]] = Reader(dict[str, str])
_object: Reader[Fields] = Reader(Fields)
_text_options: Reader[TextOptions] = Reader(TextOptions)
_stream: Reader[StreamOptions] = Reader(StreamOptions)
_reasoning: Reader[ReasoningOptions] = Reader(ReasoningOptions)

ENCRYPTED = "reasoning.encrypted_content"
"""Member of ``include``: thoughts come encrypted, to be sent back."""
LOGPROBS = "message.output_text.logprobs"
"""Member of ``include``: log-probabilities."""
DAY = 86400
IN_MEMORY = 300
"""Seconds that stand for a retention ``in_memory``, which is a few minutes."""
_RETENTIONS = {"": 0, "in_memory": IN_MEMORY, "in-memory": IN_MEMORY, "24h": DAY}
_AS_IT_IS = {"truncation": b'"disabled"', "background": b"false"}
"""Fields whose plain value says what happens anyway."""


def decode_request(body: bytes, model: str, stream: bool) -> Request:
    """What the body asks for; it names the model itself. Raises :class:`GatewayError` (400)."""
    fields = _open(body)
    unknown: list[str] = []
    reader = Turns(unknown)
    instructions = _take(fields, "instructions", _string) or ""
    if instructions:
        reader.say(Role.SYSTEM, (Text(text=instructions),))
    given = fields.pop("input", None)
    if given is not None and bytes(given) != b"null":
        reader.read(given)
    elif not any(name in fields for name in ("previous_response_id", "conversation", "prompt")):
        raise bad_request("'input' is missing; it must be a string or an array of items.", "input")
    tools = reader.tools
    offered = _take(fields, "tools", _raws)
    for number, tool in enumerate(offered or ()):
        tools += read_tool(tool, f"tools[{number}]", unknown)
    included = _included(fields)
    reasoning = _thinking(fields, ENCRYPTED in included, unknown)
    verbosity, output = _text(fields, unknown)
    choice = fields.get("tool_choice")
    tool_choice = None
    if choice is not None and bytes(choice) != b"null":
        tool_choice = read_choice(choice, unknown)
        if tool_choice is not None:
            del fields["tool_choice"]
    options = fields.get("stream_options", Raw(b"null"))
    if (
        bytes(options) != b"null"
        and not _stream.read(options, "stream_options", unknown).include_obfuscation
    ):
        del fields["stream_options"]  # nothing obfuscates here
    return Request(
        model=_name(fields),
        messages=reader.messages(),
        stream=_take(fields, "stream", _flag) or False,
        max_output=_limit(fields, "max_output_tokens"),
        temperature=_take(fields, "temperature", _number),
        top_p=_take(fields, "top_p", _number),
        logprobs=LOGPROBS in included,
        top_logprobs=_limit(fields, "top_logprobs"),
        tools=tuple(tools),
        tool_choice=tool_choice,
        parallel_tools=_take(fields, "parallel_tool_calls", _flag),
        output=output,
        reasoning=reasoning,
        verbosity=verbosity,
        user=_user(fields),
        metadata=tuple((_take(fields, "metadata", _pairs) or {}).items()),
        service_tier=_take(fields, "service_tier", _string) or "",
        store=_take(fields, "store", _flag),
        cache_key=_take(fields, "prompt_cache_key", _string) or "",
        cache_seconds=_retention(fields),
        include_usage=True,
        origin=NAME,
        extra=_rest(fields),
        unknown=tuple(unknown),
    )


def needs_store(request: Request) -> str:
    """Id of what the request builds on that lies at a provider; empty if it stands by itself.

    A response or conversation that it goes on from, an item it refers to, or a stored prompt: to be
    filled in before another provider can serve it.
    """
    for name, raw in request.extra:
        if name == "previous_response_id":
            return _string.read(raw, name, [])
        if name in ("conversation", "prompt"):
            if bytes(raw)[:1] == b'"':
                return _string.read(raw, name, [])
            return _take(_object.read(raw, name, []), "id", _string) or ""
    for message in request.messages:
        for block in message.blocks:
            if isinstance(block, Opaque) and block.kind == "item_reference":
                return _take(_object.read(block.raw, "input", []), "id", _string) or ""
    return ""


def _open(body: bytes) -> Fields:
    if not body.isascii():
        try:
            body.decode()  # what stays as it is, is checked as well
        except UnicodeDecodeError as error:
            raise shape_error(error) from None
    return members(body)


def _take(fields: Fields, name: str, reader: Reader[T]) -> T | None:
    """The member ``name``, which is taken out; None for one that isn't there, or null."""
    raw = fields.pop(name, None)
    if raw is None or bytes(raw) == b"null":
        return None
    return reader.read(raw, name, [])


def _name(fields: Fields) -> str:
    model = _take(fields, "model", _string) or ""
    if not model:
        raise bad_request("'model' is missing; name one, e.g. \"provider/model\".", "model")
    return model


def _limit(fields: Fields, name: str) -> int:
    limit = _take(fields, name, _whole) or 0
    if limit < 0:
        raise bad_request(f"'{name}' must not be negative.", name)
    return limit


def _user(fields: Fields) -> str:
    """The end user's name, under its old or its new name."""
    user = _take(fields, "user", _string) or ""
    if not user or bytes(fields.get("safety_identifier", b"")) == _encode(user):
        user = _take(fields, "safety_identifier", _string) or user
    return user


def _retention(fields: Fields) -> int:
    name = "prompt_cache_retention"
    seconds = _RETENTIONS.get(_take(fields, name, _string) or "")
    if seconds is None:
        raise bad_request(f'\'{name}\' must be "in_memory" or "24h".', name)
    return seconds


def _included(fields: Fields) -> list[str]:
    """``include``; what only this API knows of it stays among the fields."""
    included = _take(fields, "include", _strings) or []
    rest = [name for name in included if name not in (ENCRYPTED, LOGPROBS)]
    if rest:
        fields["include"] = Raw(_encode(rest))
    return included


def _thinking(fields: Fields, encrypted: bool, unknown: list[str]) -> Reasoning | None:
    raw = fields.pop("reasoning", None)
    if raw is None or bytes(raw) == b"null":
        return Reasoning(encrypted=True) if encrypted else None
    said = _reasoning.read(raw, "reasoning", unknown)
    return Reasoning(
        effort=said.effort or "",
        summary=said.summary or said.generate_summary or "",
        encrypted=encrypted,
    )


def _text(fields: Fields, unknown: list[str]) -> tuple[str, OutputFormat | None]:
    """Verbosity, and the form that the text must have."""
    raw = fields.pop("text", None)
    if raw is None or bytes(raw) == b"null":
        return "", None
    options = _text_options.read(raw, "text", unknown)
    if options.format is None:
        return options.verbosity or "", None
    path, form = "text.format", options.format
    kind = OutputKind(form.type)
    if kind is OutputKind.SCHEMA:
        if bytes(form.schema)[:1] != b"{":
            raise bad_request(
                f"'{path}.schema' must be a JSON Schema: an object.", f"{path}.schema"
            )
        if not form.name:
            raise bad_request(f"'{path}.name' is missing; name the schema.", f"{path}.name")
    output = OutputFormat(
        kind=kind,
        name=form.name or "",
        description=form.description or "",
        schema=form.schema if kind is OutputKind.SCHEMA else None,
        strict=form.strict,
    )
    return options.verbosity or "", output


def _rest(fields: Fields) -> tuple[tuple[str, Raw], ...]:
    """Fields that only this API knows, but for those that ask for what happens anyway."""
    return tuple(
        (name, raw)
        for name, raw in fields.items()
        if bytes(raw) not in (b"null", _AS_IT_IS.get(name))
    )
