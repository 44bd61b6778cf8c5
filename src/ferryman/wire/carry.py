"""What the codecs of all formats share: reading JSON with errors that say where, and odd parts.

Paths are written as callers know them: ``messages[3].content[0].image_url``.
"""

import re
from base64 import b64encode
from collections.abc import Collection, Sequence
from typing import Any, Generic, TypeVar
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import Raw
from msgspec import inspect as shapes

from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.receipt import Receipt
from ferryman.ir.request import Message, OutputFormat, OutputKind, Request, Role, Text, Tool
from ferryman.ir.unreadable import UNREADABLE
from ferryman.wire.effort import NONE, thinks

T = TypeVar("T")
Fields = dict[str, Raw]

_fields = msgspec.json.Decoder(Fields)
_items = msgspec.json.Decoder(list[Raw])
_text = msgspec.json.Decoder(str)
_encode = msgspec.json.Encoder().encode
NOTHING = (b"null", b'""', b"[]", b"{}")
"""Values that say no more than a member's absence."""

OUTPUT_TOOL = "structured_output"
"""Name of the tool that stands for structured output where a provider has no such thing."""


def bad_request(message: str, param: str | None = None) -> GatewayError:
    """A 400 that says what is wrong in ``param`` and what would be right."""
    return GatewayError(400, ErrorKind.INVALID_REQUEST, message, param=param)


def unsupported(message: str, param: str | None = None) -> GatewayError:
    """A 400 for what this target's format can't take; another target's may."""
    return GatewayError(400, ErrorKind.UNSUPPORTED, message, param=param)


def not_run_here(kind: str, path: str) -> GatewayError:
    """The refusal of a tool at ``path`` that another format's providers run themselves."""
    return unsupported(
        f"'{path}' is {kind}, a tool that only providers of another format run; leave it out, or "
        "ask a model of such a provider.",
        path,
    )


def drop_unknown(request: Request, receipt: Receipt, origin: str) -> None:
    """Put into the receipt what an encoder of ``origin``'s format cannot know of the request."""
    for path in request.unknown:
        receipt.drop(path)
    if request.origin != origin:
        for name, _ in request.extra:
            receipt.drop(name)


def refuse_stored(request: Request) -> None:
    """Raises :class:`GatewayError` (400) for a prompt that another provider has in store."""
    if request.cached_content:
        raise unsupported(
            f"The prompt stored as '{request.cached_content[:80]}' exists at its own provider only;"
            " send the prompt itself to reach this target.",
            "cached_content",
        )


def refuse_textless(request: Request) -> None:
    """Raises :class:`GatewayError` (400) for a request that wants no text at all."""
    if request.modalities and "text" not in request.modalities:
        raise unsupported("This model answers in text.", "modalities")


def add_own(
    request: Request, receipt: Receipt, origin: str, names: Collection[str], body: dict[str, Any]
) -> None:
    """Into ``body``, those of the members kept for ``origin``'s format that are in ``names``."""
    if request.origin == origin:
        for name, value in request.extra:
            if name in names:
                body.setdefault(name, value)
            else:
                receipt.drop(name)


_PENALTIES = ("presence_penalty", "frequency_penalty")
_SAMPLING = ("temperature", "top_p", "logprobs", "top_logprobs")
_UNSAID: dict[str, object] = {"logprobs": False, "top_logprobs": 0, "stop": ()}
"""Where that is not None."""
_NEUTRAL = {"temperature": 1, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0}


def without_settings(request: Request, quirks: Collection[str], receipt: Receipt) -> Request:
    """The request without the settings that its model refuses.

    Quirks: ``no_sampling`` (neither temperature nor ``top_p`` nor log-probabilities),
    ``no_sampling_thinking`` (not while it thinks), ``no_penalties``, ``no_stop``.
    """
    names: tuple[str, ...] = _PENALTIES if "no_penalties" in quirks else ()
    if "no_stop" in quirks:
        names += ("stop",)
    if "no_sampling" in quirks or (
        "no_sampling_thinking" in quirks and thinks(request.reasoning, quirks)
    ):
        names += _SAMPLING
    changes: dict[str, Any] = {}
    for name in names:
        said, unsaid = getattr(request, name), _UNSAID.get(name)
        if said != unsaid:
            changes[name] = unsaid
            if said != _NEUTRAL.get(name):
                receipt.drop(name)
    return msgspec.structs.replace(request, **changes) if changes else request


_SHOW_THOUGHTS = ("openai_chat", "anthropic_messages")


def summary_wanted(request: Request) -> str:
    """``reasoning.summary``, for providers that hide thoughts unless they are asked for them.

    Empty = not wanted. Callers of formats that have no way to ask for them, or show them by
    themselves, want them as soon as they ask for thinking.
    """
    said = request.reasoning
    if said is None or said.summary or request.origin not in _SHOW_THOUGHTS:
        return said.summary if said is not None else ""
    off = said.effort == NONE or said.budget == 0
    return "auto" if not off and (said.effort or said.budget > 0 or said.adaptive) else ""


def words_alone(messages: Sequence[Message]) -> list[str]:
    """For each message its text, if it is nothing but that, between messages of the other side.

    Such a message is written as it is, whatever the format: nothing joins it, nothing is lost of
    it. Empty = it is not one. Conversations consist of them, some of many thousands.
    """
    out: list[str] = []
    before: Role | None = None
    for message in messages:
        role, blocks, text = message.role, message.blocks, ""
        if role is before or role not in _SPEAKERS:
            if out:
                out[-1] = ""  # some formats have no other roles, and join what is of one
        elif before in _BESIDE and len(blocks) == 1 and not message.name:
            block = blocks[0]
            if (
                type(block) is Text
                and not block.citations
                and block.signature is None
                and block.cache is None
                and not block.text.isspace()
            ):
                text = block.text
        out.append(text)
        before = role
    return out


_SPEAKERS = (Role.USER, Role.ASSISTANT)
_BESIDE = (*_SPEAKERS, None)


# --- JSON from outside --------------------------------------------------------------------------

_AT = re.compile(r"(.*?)(?: - at `\$(.*)`)?", re.DOTALL)
_WRONG_TYPE = re.compile(r"Expected (.+?)(?:, got (.+))?")
_MISSING = re.compile(r"Object missing required field `(.+)`")
_UNKNOWN = "Object contains unknown field"
_STEP = re.compile(r"\.([^.\[]+)|\[([^\]]*)\]")
_PLAIN = {
    "str": "a string",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "array": "an array",
    "object": "an object",
    "null": "null",
}


def members(body: bytes | Raw, at: str = "") -> Fields:
    """The members of a JSON object, each as its own bytes (of one that comes twice, the last).

    Raises :class:`GatewayError` (400).
    """
    if not at and not body:
        raise bad_request("The body is empty; send a JSON object.")
    try:
        return _fields.decode(body)
    except UNREADABLE as error:
        raise shape_error(error, at) from None


def shape_error(error: Exception, at: str = "", allowed: str = "") -> GatewayError:
    """The 400 for one of :data:`UNREADABLE` that came of decoding the value at ``at``.

    ``allowed`` says what would be right where the error doesn't.
    """
    whole = f"'{at}'" if at else "The body"
    if isinstance(error, RecursionError):
        return bad_request(f"{whole} is nested too deeply.", at or None)
    if isinstance(error, UnicodeDecodeError):
        return bad_request(f"{whole} is not valid UTF-8.", at or None)
    if not isinstance(error, msgspec.ValidationError):
        return bad_request(f"{whole} is not valid JSON: {error}.", at or None)
    match = _AT.fullmatch(str(error))
    words, inner = (match[1], match[2] or "") if match else (str(error), "")
    path = (at + inner.replace("[...]", "")).lstrip(".")
    missing = _MISSING.fullmatch(words)
    if missing:
        path = f"{path}.{missing[1]}".lstrip(".")
        return bad_request(f"'{path}' is missing{'; ' + allowed if allowed else ''}.", path)
    place = f"'{path}'" if path else "The body"
    wrong = _WRONG_TYPE.fullmatch(words)
    if wrong:
        got = f", not {_kinds(wrong[2])}" if wrong[2] else ""
        return bad_request(f"{place} must be {allowed or _kinds(wrong[1])}{got}.", path or None)
    ending = f"; it must be {allowed}" if allowed else ""
    return bad_request(f"{place} is wrong: {words[:1].lower()}{words[1:]}{ending}.", path or None)


def _kinds(words: str) -> str:
    names = words.replace("`", "").split(" | ")
    return " or ".join(_PLAIN.get(name, name) for name in names)


class Reader(Generic[T]):
    """Decodes JSON into structs that forbid unknown fields, and notes the unknown ones by path.

    The common case, nothing unknown, costs no more than a plain decoder.
    """

    __slots__ = ("_below", "_decode", "_kind")

    def __init__(self, kind: Any) -> None:
        self._decode = msgspec.json.Decoder(kind).decode
        self._kind = shapes.type_info(kind)
        self._below = _below(self._kind)

    def read(self, raw: bytes | Raw, at: str, unknown: list[str]) -> T:
        """The value at path ``at``; paths of unknown members are added to ``unknown``.

        Raises :class:`GatewayError` (400).
        """
        try:
            try:
                decoded: T = self._decode(raw)
            except msgspec.ValidationError as error:
                if self._below is None or not str(error).startswith(_UNKNOWN):
                    raise
                decoded = self._decode(_trim(raw, self._below, at, unknown))
        except UNREADABLE as error:
            raise shape_error(error, at, self._allowed(error)) from None
        return decoded

    def _allowed(self, error: Exception) -> str:
        """The values that may stand where an unknown one was found; empty when not known."""
        words, _, path = str(error).partition(" - at `$")
        if not words.startswith("Invalid"):
            return ""
        kind: Any = self._kind
        for name, _ in _STEP.findall(path.rstrip("`")):
            structs = _structs(kind)
            if not name:
                lists = [k for k in _options(kind) if isinstance(k, shapes.ListType)]
                kind = lists[0].item_type if lists else kind
                continue
            tags = [str(s.tag) for s in structs if s.tag_field == name]
            if tags:
                return "one of " + ", ".join(tags)
            found = [f.type for s in structs for f in s.fields if f.encode_name == name]
            kind = found[0] if found else kind
        values = [v for k in _options(kind) if isinstance(k, shapes.LiteralType) for v in k.values]
        return "one of " + ", ".join(map(str, values)) if values else ""


def _options(kind: shapes.Type) -> tuple[shapes.Type, ...]:
    return kind.types if isinstance(kind, shapes.UnionType) else (kind,)


def _structs(kind: shapes.Type) -> list[shapes.StructType]:
    return [k for k in _options(kind) if isinstance(k, shapes.StructType)]


class _Below:
    """What lies below a value of some type: enough to tell which members are unknown."""

    __slots__ = ("item", "structs", "tag_field")

    def __init__(self, tag_field: str) -> None:
        self.tag_field = tag_field
        self.structs: dict[str, dict[str, _Below | None]] = {}
        """Tag (empty without) → members → what lies below them."""
        self.item: _Below | None = None
        """What lies below the items of an array."""


def _below(kind: shapes.Type) -> _Below | None:
    """None = nothing that could hold an unknown member."""
    structs = [struct for struct in _structs(kind) if struct.forbid_unknown_fields]
    below = _Below((structs[0].tag_field or "") if structs else "")
    for struct in structs:
        fields = {field.encode_name: _below(field.type) for field in struct.fields}
        below.structs[str(struct.tag) if struct.tag_field else ""] = fields
    for option in _options(kind):
        if isinstance(option, shapes.ListType):
            below.item = _below(option.item_type)
    return below if below.structs or below.item else None


def _trim(raw: bytes | Raw, below: _Below, at: str, unknown: list[str]) -> Raw:
    """``raw`` without the members that the structs there have no field for."""
    start = bytes(memoryview(raw)[:64]).lstrip()[:1]
    if start == b"[" and below.item is not None:
        item = below.item
        items = enumerate(_items.decode(raw))
        return Raw(_encode([_trim(value, item, f"{at}[{i}]", unknown) for i, value in items]))
    if start != b"{" or not below.structs:
        return Raw(raw)
    said = _fields.decode(raw)
    tag = said.get(below.tag_field) if below.tag_field else Raw(b'""')
    known = None if tag is None else below.structs.get(_text.decode(tag))
    if known is None:
        return Raw(raw)  # the decoder says what is wrong with it
    kept: Fields = {}
    for name, value in said.items():
        if name in known:
            inner = known[name]
            if inner is not None:
                value = _trim(value, inner, f"{at}.{name}" if at else name, unknown)
            kept[name] = value
        elif name == below.tag_field:
            kept[name] = value
        elif bytes(value) not in NOTHING:
            unknown.append(f"{at}.{name}" if at else name)
    return Raw(_encode(kept))


# --- arguments of tools -------------------------------------------------------------------------


def is_object(text: str) -> bool:
    """True when ``text`` is one JSON object; a key may come twice in it."""
    try:
        _fields.decode(text)
    except UNREADABLE:
        return False
    return True


def object_arguments(text: str, name: str, path: str) -> Raw:
    """A call's arguments for a format that wants an object: the text itself, ``{}`` when empty.

    Raises :class:`GatewayError` (400) that names the tool ``name``.
    """
    if not text.strip():
        return Raw(b"{}")
    if not is_object(text):
        raise bad_request(
            f"The arguments of the call of '{name}' at '{path}' are not a JSON object; the target's"
            " format takes nothing else. Remove the call and its result, or correct them.",
            path,
        )
    return Raw(text)


# --- base64 and data: URLs ----------------------------------------------------------------------

_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_BLANKS = b" \t\r\n"


def checked_base64(text: str, path: str, *, url_safe: bool = False) -> str:
    """``text`` if it is base64 of the standard alphabet; blanks within are taken out.

    ``url_safe``: the other alphabet is accepted too, as is missing padding, and set right. Only the
    alphabet and the length are looked at; nothing is decoded. Raises :class:`GatewayError` (400).
    """
    data = text.encode("utf-8", "replace")
    rest = data.translate(None, _BASE64)
    if rest.strip(b"=") or len(rest) > 2 or len(data) % 4 or not data.endswith(rest) or not data:
        data = data.translate(_URL_SAFE if url_safe else None, _BLANKS)
        if url_safe and len(data) % 4 > 1:
            data += b"=" * (-len(data) % 4)
        rest = data.translate(None, _BASE64)
        if rest not in (b"", b"=", b"==") or len(data) % 4 or not data.endswith(rest) or not data:
            raise bad_request(f"'{path}' is not valid base64.", path)
        return data.decode("ascii")
    return text


def is_data_url(url: str) -> bool:
    """True for ``data:…`` (RFC 2397)."""
    return url[:5].lower() == "data:"


def from_data_url(url: str, path: str) -> tuple[str, str]:
    """(media type, base64) of a ``data:`` URL. Raises :class:`GatewayError` (400)."""
    head, comma, data = url[5:].partition(",")
    if not comma:
        raise bad_request(f"'{path}' is not a data: URL; write data:image/png;base64,….", path)
    media_type, *parameters = (part.strip() for part in head.split(";"))
    if parameters and parameters[-1].lower() == "base64":
        return media_type.lower(), checked_base64(data, path)
    plain = unquote_to_bytes(data)
    return media_type.lower() or "text/plain", b64encode(plain).decode("ascii")


def data_url(media_type: str, data: str) -> str:
    """The ``data:`` URL of base64 ``data``."""
    return f"data:{media_type or 'application/octet-stream'};base64,{data}"


_BEGINNINGS = (
    ("iVBORw0", "image/png"),
    ("/9j/", "image/jpeg"),
    ("R0lGOD", "image/gif"),
    ("UklGR", "image/webp"),
    ("JVBERi0", "application/pdf"),
)
"""How base64 of files begins. (``UklGR`` is RIFF: among images, WebP.)"""


def type_by_beginning(data: str) -> str:
    """The media type of an image or PDF that came without one as base64; empty when not known."""
    return next((name for beginning, name in _BEGINNINGS if data.startswith(beginning)), "")


# --- structured output by a tool ----------------------------------------------------------------


def output_tool(output: OutputFormat, request: Request, receipt: Receipt) -> Tool:
    """The tool whose arguments stand for structured output; the receipt says so and names it.

    The caller of this forces it. ``ir.fold.OutputFromTool`` turns its call back into text.
    """
    taken = {tool.name for tool in request.tools if isinstance(tool, Tool)}
    name = OUTPUT_TOOL
    while name in taken:
        name += "_"
    receipt.output_tool = name
    receipt.alter("response_format", "forced tool")
    schema = output.schema if output.kind is OutputKind.SCHEMA else None
    return Tool(
        name=name,
        description=output.description or "Give the final answer with this tool.",
        parameters=schema or Raw(b'{"type":"object"}'),
    )
