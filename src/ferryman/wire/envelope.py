"""Requests of any format, opened just far enough to route them.

What the gateway changes is spliced into the caller's own bytes: unknown fields, number spellings,
key order and white space survive.
"""

import contextlib
import re
import struct
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, Final

import msgspec
from msgspec import Raw
from msgspec.structs import astuple

from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.unreadable import UNREADABLE
from ferryman.wire.envelope_types import ChatRequest, PlainRequest, ResponsesRequest
from ferryman.wire.framing import as_text

Fields = dict[str, Raw]
_fields = msgspec.json.Decoder(Fields)
_encode = msgspec.json.Encoder().encode
_first_byte: Final = struct.Struct("B").unpack_from
_ARRAY: Final[Any] = (ord("["),)
_bool = msgspec.json.Decoder(bool | None)
_int = msgspec.json.Decoder(int | None)
_text = msgspec.json.Decoder(str)
_texts = msgspec.json.Decoder(dict[str, str | int | float | bool | None])
_LIMITS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
MAX_MODEL_NAME: Final = 512
MOST_CHOICES: Final = 10_000
"""Answers of one call; no provider gives more."""
_NOTHING: Final = frozenset((b"", b"null"))
_STORED: Final = (
    "previous_response_id", "conversation", "prompt", "cachedContent", "cached_content",
)  # fmt: skip
_LABELS: Final = frozenset(("user", "safety_identifier", "metadata"))
_USAGE_WANTED = b'{"include_usage":true}'
_KEY = re.compile(rb'[ \t\r\n]*("[^"\\]*(?:\\.[^"\\]*)*")[ \t\r\n]*:[ \t\r\n]*')
_AFTER_VALUE = re.compile(rb"[ \t\r\n]*([,}])")

_NEEDS = {
    "chat.completions": ("messages", b"[", "an array of messages"),
    "completions": ("prompt", b'"[', "a string or an array"),
    "embeddings": ("input", b'"[', "a string or an array"),
    "moderations": ("input", b'"[', "a string or an array"),
    "rerank": ("documents", b"[", "an array"),
    "messages": ("messages", b"[", "an array of messages"),
    "images.generations": ("prompt", b'"', "a string"),
    "audio.speech": ("input", b'"', "a string"),
}


class Request:
    """A decoded request: what routing, metering and the wire need to know of it.

    ``hide_usage``: usage is asked for on the gateway's own account. ``max_output``: output limit
    that the caller set, 0 = none. ``in_url``: the URL names the model, the body doesn't.
    """

    def __init__(
        self,
        body: bytes,
        model: str,
        stream: bool,
        hide_usage: bool,
        max_output: int,
        members: Fields | None = None,
        in_url: bool = False,
    ) -> None:
        self.body = body
        self.model = model
        self.stream = stream
        self.hide_usage = hide_usage
        self.max_output = max_output
        self.members = members
        self.in_url = in_url

    provider: Raw | None = None
    """What the caller says about providers: a member of the body that is not of its format."""
    labelled = False
    """Whether the body says for whom or what the call is."""
    stored = False
    """Whether it builds on what lies at its provider: a conversation, a prompt, cached contents."""
    choices = 0
    """How many answers are asked for; 0 = the body has to be looked at."""

    @property
    def fields(self) -> Fields:
        """Every member of the body as its own bytes. Raises :class:`GatewayError` (400)."""
        if self.members is None:
            self.members = _members(self.body)
        return self.members

    def metadata(self) -> dict[str, str]:
        """The ``metadata`` field's plain values as text. Raises :class:`GatewayError`."""
        raw = self.fields.get("metadata")
        if raw is None or bytes(raw) == b"null":
            return {}
        try:
            pairs = _texts.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise _bad("'metadata' must be an object of plain values.", "metadata") from None
        return {k: v if isinstance(v, str) else _plain(v) for k, v in pairs.items()}


def _plain(value: object) -> str:
    return _encode(value).decode()


def _bad(message: str, param: str | None = None) -> GatewayError:
    return GatewayError(400, ErrorKind.INVALID_REQUEST, message, param=param)


_RESPONSES: Final[msgspec.json.Decoder[PlainRequest]] = msgspec.json.Decoder(ResponsesRequest)
_CHAT: Final[msgspec.json.Decoder[PlainRequest]] = msgspec.json.Decoder(ChatRequest)
_PLAIN: Final[dict[str, msgspec.json.Decoder[PlainRequest]]] = {
    "chat.completions": _CHAT,
    "responses": _RESPONSES,
    "messages": msgspec.json.Decoder(ChatRequest),
}


def decode(endpoint: str, body: bytes) -> Request:
    """Open a request body. Raises :class:`GatewayError` (400) that says what is wrong where."""
    decoder = _PLAIN.get(endpoint)
    if decoder is not None:
        try:
            said = decoder.decode(body)
        except UNREADABLE:
            return _decode_by_member(endpoint, body)  # finds out what is wrong
        # All fields at once: compiled, to read one costs as much as five of these.
        fields: tuple[Any, ...] = astuple(said)
        model: str = fields[0]
        limit: int = fields[3] or fields[4] or fields[5] or 0
        if (
            0 < len(model) <= MAX_MODEL_NAME
            and limit >= 0
            and not fields[2]
            and (len(fields) != 12 or _first_byte(fields[11]) == _ARRAY)  # an array of messages
        ):
            stream = bool(fields[1])
            request = Request(body, model, stream, stream and decoder is _CHAT, limit)
            if fields[6]:
                request.provider = fields[6]
            if fields[7] or fields[8] or fields[9]:
                request.labelled = True
            if decoder is _RESPONSES and (fields[11] or fields[12] or fields[13]):
                request.stored = not {bytes(each) for each in fields[11:]} <= _NOTHING
            answers: int = fields[10] or 1
            request.choices = min(max(answers, 1), MOST_CHOICES)
            return request
    return _decode_by_member(endpoint, body)


def decode_named(body: bytes, model: str, stream: bool) -> Request:
    """Open a body whose model and kind of reply the URL says. Raises :class:`GatewayError`."""
    if not 0 < len(model) <= MAX_MODEL_NAME:
        raise _bad(f"The model's name in the URL must have 1 to {MAX_MODEL_NAME} characters.")
    if not body:
        raise _bad("The body is empty; send a JSON object.")
    members = _members(body)
    limit = _configured(members, _LIMIT)
    request = Request(body, model, stream, False, limit, members, in_url=True)
    request.choices = min(max(_configured(members, _CANDIDATES), 1), MOST_CHOICES)
    request.stored = _builds_on(members)
    return request


_CONFIGURATION, _CONFIGURED = "generationConfig", "maxOutputTokens"
"""Where bodies that don't name their model have the output limit."""
_LIMIT: Final = ((_CONFIGURATION, _CONFIGURED),)
_CANDIDATES: Final = tuple(product((_CONFIGURATION, "generation_config"),
                                   ("candidateCount", "candidate_count")))  # fmt: skip
"""How many answers, in either spelling that Google's servers take."""


def _configured(members: Fields, places: Sequence[tuple[str, str]]) -> int:
    """A number in one of these; 0 where there is none to be read, which the provider judges."""
    for member, name in places:
        with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
            within = _fields.decode(members.get(member, b"{}"))
            found: int = _int.decode(within.get(name, b"null")) or 0
            if found > 0:
                return found
    return 0


def lower_output(fields: Fields, most: int) -> None:
    """Let a request's members ask for ``most`` tokens of output at most."""
    new = Raw(b"%d" % most)
    for name in _LIMITS:
        if name in fields:
            fields[name] = new
    if _CONFIGURATION in fields and _configured(fields, _LIMIT) > most:
        configuration = _fields.decode(fields[_CONFIGURATION])
        configuration[_CONFIGURED] = new
        fields[_CONFIGURATION] = Raw(_encode(configuration))


_PARAMETERS = {
    "chat.completions": {"temperature": "temperature", "top_p": "top_p", "seed": "seed"},
    "completions": {"temperature": "temperature", "top_p": "top_p", "seed": "seed"},
    "responses": {"temperature": "temperature", "top_p": "top_p"},
    "messages": {"temperature": "temperature", "top_p": "top_p", "top_k": "top_k"},
    "generate_content": {
        "temperature": "temperature", "top_p": "topP", "top_k": "topK", "seed": "seed",
        "max_output": _CONFIGURED,
    },
}  # fmt: skip
"""Endpoint → parameter in the common language → its name there, output limits apart."""


def forced(
    request: Request, endpoint: str, settings: tuple[tuple[str, int | float], ...]
) -> tuple[Request, tuple[str, ...]]:
    """``request`` with parameters set to values of the gateway's own, and a receipt of them.

    What the endpoint's format has no word for is not set, which the receipt says.
    """
    known = _PARAMETERS.get(endpoint)
    if known is None:
        return request, tuple(f"{name}=not set: {endpoint} has none" for name, _ in settings)
    fields = dict(request.fields)
    within = fields
    if endpoint == "generate_content":
        try:
            within = _fields.decode(fields.get(_CONFIGURATION, b"{}"))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise _bad(f"'{_CONFIGURATION}' must be an object.", _CONFIGURATION) from None
    limit, entries = request.max_output, []
    for name, value in settings:
        raw = Raw(_encode(value))
        if name == "max_output" and within is fields:
            usual = {"responses": "max_output_tokens"}.get(endpoint, "max_tokens")
            for member in [each for each in _LIMITS if each in fields] or [usual]:
                fields[member] = raw
        elif name in known:
            within[known[name]] = raw
        else:
            entries.append(f"{name}=not set: {endpoint} has none")
            continue
        limit = int(value) if name == "max_output" else limit
        entries.append(f"{name}={_plain(value)} (policy)")
    if within is not fields:
        fields[_CONFIGURATION] = Raw(_encode(within))
    changed = Request(
        _encode(fields), request.model, request.stream, request.hide_usage, limit, fields,
        request.in_url,
    )  # fmt: skip
    changed.provider, changed.stored = request.provider, request.stored
    return changed, tuple(entries)


def without(request: Request, member: str) -> Request:
    """``request`` with one member of its body less."""
    fields = {name: value for name, value in request.fields.items() if name != member}
    less = Request(
        _encode(fields), request.model, request.stream, request.hide_usage, request.max_output,
        fields, request.in_url,
    )  # fmt: skip
    less.stored = request.stored
    return less


def _builds_on(fields: Fields) -> bool:
    """``Request.stored``, of members."""
    return any(bytes(fields.get(name, b"")) not in _NOTHING for name in _STORED)


def _members(body: bytes) -> Fields:
    try:
        return _fields.decode(body)
    except msgspec.ValidationError:
        raise _bad("The body must be a JSON object.") from None
    except msgspec.DecodeError as error:
        raise _bad(f"The body is not valid JSON: {error}.") from None
    except UnicodeDecodeError:
        raise _bad("The body is not valid JSON: a key is not valid UTF-8.") from None
    except RecursionError:
        raise _bad("The body is nested too deeply.") from None


def _decode_by_member(endpoint: str, body: bytes) -> Request:
    if not body:
        raise _bad("The body is empty; send a JSON object.")
    fields = _members(body)
    raw = fields.get("model")
    if raw is None:
        raise _bad("'model' is missing; name one, e.g. \"provider/model\".", "model")
    try:
        model = _text.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise _bad("'model' must be a string.", "model") from None
    if not model or len(model) > MAX_MODEL_NAME:
        raise _bad(f"'model' must have 1 to {MAX_MODEL_NAME} characters.", "model")
    needs = _NEEDS.get(endpoint)
    if needs is not None:
        name, starts, form = needs
        value = fields.get(name)
        if value is None:
            raise _bad(f"'{name}' is missing; it must be {form}.", name)
        if bytes(value)[:1] not in starts:
            raise _bad(f"'{name}' must be {form}.", name)
    stream = endpoint == "audio.speech" and bytes(fields.get("stream_format", b"")) == b'"sse"'
    if "stream" in fields and not stream:
        stream = bool(_typed(_bool, fields, "stream", "true or false"))
    max_output = 0
    for name in _LIMITS:
        if name in fields and not max_output:
            max_output = _typed(_int, fields, name, "an integer") or 0
            if max_output < 0:
                raise _bad(f"'{name}' must not be negative.", name)
    hide = stream and endpoint in ("chat.completions", "completions") and not _asks_usage(fields)
    request = Request(body, model, stream, hide, max_output, fields)
    request.provider = fields.get("provider")
    request.labelled = not _LABELS.isdisjoint(fields)
    request.stored = endpoint == "responses" and _builds_on(fields)
    return request


def _typed(
    decoder: msgspec.json.Decoder[int | None], fields: Fields, name: str, form: str
) -> int | None:
    try:
        return decoder.decode(fields[name])
    except msgspec.MsgspecError:
        raise _bad(f"'{name}' must be {form}.", name) from None


def _asks_usage(fields: Fields) -> bool:
    options = fields.get("stream_options")
    if options is None or bytes(options) == b"null":
        return False
    try:
        asked = _fields.decode(options).get("include_usage")
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise _bad("'stream_options' must be an object.", "stream_options") from None
    try:
        return asked is not None and _bool.decode(asked) is True
    except msgspec.MsgspecError:
        name = "stream_options.include_usage"
        raise _bad(f"'{name}' must be true or false.", name) from None


def encode(
    request: Request,
    model_json: bytes,
    *,
    ask_usage: bool = True,
    quirks: Sequence[Callable[[Fields], None]] = (),
) -> bytes:
    """The body for an upstream that calls the model ``model_json`` (a JSON string).

    Only ``model`` and ``stream_options`` are touched, spliced into the caller's own bytes. Where a
    key is written twice (its last value counts), or ``quirks`` change members for a provider that
    needs it, the object is written anew from its members' own bytes. Raises :class:`GatewayError`
    (400) when a key is not valid UTF-8.
    """
    if request.in_url and not quirks:
        return request.body
    add = request.hide_usage and ask_usage
    at = None if quirks else _place_of_model(request.body, request.model)
    if at and not (add and request.members is not None and "stream_options" in request.members):
        start, end = at
        body = request.body
        if not add:
            return b"".join([body[:start], model_json, body[end:]])
        opening = body.find(b"{") + 1
        return b'%b"stream_options":%b,%b%b%b' % (
            body[:opening],
            _USAGE_WANTED,
            body[opening:start],
            model_json,
            body[end:],
        )
    fields = request.fields
    changes = {} if request.in_url else {"model": model_json}
    if add:
        changes["stream_options"] = _wanting_usage(fields.get("stream_options"))
    if not quirks:
        spliced = _splice(request.body, fields, changes)
        if spliced is not None:
            return spliced
    changed = dict(fields)
    changed.update({name: Raw(value) for name, value in changes.items()})
    for quirk in quirks:
        quirk(changed)
    return _encode(changed)


def with_quirks(body: bytes, quirks: Sequence[Callable[[Fields], None]]) -> bytes:
    """A body of ours with the members changed that a provider wants otherwise."""
    members = _members(body)
    for quirk in quirks:
        quirk(members)
    return _encode(members)


def _wanting_usage(options: Raw | None) -> bytes:
    if options is None or bytes(options) == b"null":
        return _USAGE_WANTED
    members = _fields.decode(options)
    members["include_usage"] = Raw(b"true")
    return _encode(members)


def _splice(body: bytes, fields: Fields, changes: dict[str, bytes]) -> bytes | None:
    """``body`` with the values of ``changes``; every other byte stays. None = a key comes twice.

    ``fields`` are the members of ``body``; since they are known to be valid JSON, walking from key
    to key by the lengths of the values is safe, and a new member may go in front of the first.
    """
    opening = body.find(b"{") + 1
    new = [b'"%b":%b,' % (n.encode(), v) for n, v in changes.items() if n not in fields]
    parts = [body[:opening], *new]
    done = at = opening
    for _ in range(len(fields)):
        key = _KEY.match(body, at)
        if key is None:
            return None
        name = _text.decode(key[1])
        value = bytes(fields[name])
        start = key.end()
        end = start + len(value)
        after = _AFTER_VALUE.match(body, end)
        if after is None or body[start:end] != value:
            return None
        if name in changes:
            parts += (body[done:start], changes[name])
            done = end
        at = after.end()
    if body[at - 1] != 125:  # not the closing brace: more members than names
        return None
    parts.append(body[done:])
    return b"".join(parts)


def _place_of_model(body: bytes, model: str) -> tuple[int, int] | None:
    """Where the value of ``model`` stands, when the key occurs once and unescaped; else None."""
    text = as_text(body)
    key = text.find('"model"')
    if key < 0 or text.find('"model"', key + 7) >= 0:
        return None
    # One letter is found several times as fast as two, and most bodies have none.
    if "\\" in text and "\\u" in text:
        return None
    at = key + 8
    if body[at] == 32:  # most writers put nothing or one blank after the colon
        at += 1
    quoted = b'"' + model.encode() + b'"'
    end = at + len(quoted)
    if body[key + 7] == 58 and body[at:end] == quoted:
        return at, end
    return None
