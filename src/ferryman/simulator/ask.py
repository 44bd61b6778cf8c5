"""What a request asks for, as far as the simulator cares: the same for every API format."""

import base64
import binascii
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import msgspec

from ferryman.simulator.directives import Behaviour, from_model, from_script
from ferryman.simulator.event import SSE, Framing
from ferryman.simulator.memory import Memory


class RefusedError(Exception):
    """The request is one that the vendor refuses. ``code`` is the vendor's word for it, if any."""

    def __init__(self, message: str, *, status: int = 400, code: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code


class Request(msgspec.Struct, frozen=True):
    """A request before it has been read in its format."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes
    default: Behaviour
    """Words from flags."""
    memory: Memory
    aws: tuple[str, str] = ("", "")
    """The access key's id and its secret with which requests to Amazon are to be signed."""
    model: str = ""
    """The model that the path names, percent-decoded."""
    action: str = ""
    """What the path asks to do with it, if it says."""
    faults: dict[str, Any] = {}
    """Scripts by the model's name, in which ``*`` stands for anything."""

    def json(self) -> dict[str, Any]:
        """The body as an object. Raises :class:`RefusedError`."""
        try:
            found = msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RefusedError(
                f"We could not parse the JSON body of your request: {error}", code="invalid_json"
            ) from None
        if not isinstance(found, dict):
            raise RefusedError("The body of your request is no JSON object", code="invalid_json")
        return found

    def wishes(self, model: str, field: Any) -> Behaviour:
        """The words for this request: those of ``faults`` win over its JSON's (``field``), those
        over the header's, those over the model name's, those over the flags'.

        Raises :class:`~ferryman.simulator.directives.DirectiveError`.
        """
        wish = from_model(model).over(self.default)
        header = self.headers.get("x-sim")
        if header:
            wish = from_script(header, self._turn("header", header, model)).over(wish)
        if field is not None:
            wish = from_script(field, self._turn("sim", repr(field), model)).over(wish)
        fault = matching(self.faults, model) if self.faults and model else None
        if fault is not None:
            wish = from_script(self.faults[fault], self._turn("fault", fault)).over(wish)
        return wish

    def _turn(self, *script: str) -> Callable[[], int]:
        return lambda: self.memory.turn(script)


def matching(faults: dict[str, Any], model: str) -> str | None:
    """The name among ``faults`` that is the model's, or else the first pattern that fits it."""
    if model in faults:
        return model
    patterns = (name for name in faults if "*" in name)
    fits = (n for n in patterns if re.fullmatch(".*".join(map(re.escape, n.split("*"))), model))
    return next(fits, None)


class Tool(msgspec.Struct, frozen=True):
    """A function that may be called."""

    name: str
    schema: Any
    """JSON Schema of its arguments."""
    kind: str = "function"
    """``custom`` for one whose argument is plain text."""


class Ask(msgspec.Struct, kw_only=True):
    """A request, read."""

    model: str
    body: dict[str, Any] = {}
    """As decoded, for what only its format knows."""
    behaviour: Behaviour = Behaviour()
    stream: bool = False
    prompt: int = 0
    """Words in it."""
    last: str = ""
    """What the word ``echo`` answers: the last message's text, media described."""
    begun: str = ""
    """What the answer begins with, where a request can say that."""
    tools: list[Tool] = []
    choice: str = "auto"
    """``auto``, ``none``, ``required``, or ``=`` and the name of the one tool to call."""
    parallel: bool = True
    schema: Any = None
    """JSON Schema that the text has to fit; None: plain text will do."""
    unquoted: bool = False
    """Whether a text that fits the schema comes as it is, not as JSON."""
    limit: int | None = None
    """Most output tokens."""
    stops: list[str] = []
    choices: int = 1
    include_usage: bool = False
    think: bool = False
    """Whether the request wants to see reasoning."""
    cached: int = 0
    """Prompt tokens that an earlier request has left in the cache."""
    written: int = 0
    """Prompt tokens that go into the cache, for an hour those of ``written_hour``."""
    written_hour: int = 0
    framing: Framing = SSE
    fresh: bool = False
    """Whether the answer depends on more than the request, so that it must not be kept."""
    headers: dict[str, str] = {}
    """Of the reply, if it comes whole, beside those of its format."""
    note: Callable[[bytes, Any], None] | None = None
    """Told the reply's number and its :class:`~ferryman.simulator.answer.Answer` when it begins."""


def words(value: Any) -> list[str]:
    """All words of the texts in ``value``: messages, content parts, prompts, lists of tokens."""
    if isinstance(value, str):
        return value.split()
    if isinstance(value, list):
        return [word for item in value for word in words(item)]
    if isinstance(value, dict):
        keys = ("content", "text", "input_text", "parts", "output")
        return [w for key in keys for w in words(value.get(key))]
    return [] if value is None else [str(value)]


def media(kind: str, data: Any) -> str:
    """How ``echo`` tells of media: its type, and its size or address.

    ``data`` is base64, or an address when it looks like one. Raises :class:`RefusedError` for
    text that is no base64.
    """
    text = str(data or "")
    if text.startswith("data:"):
        head, _, text = text.partition(",")
        kind = head.removeprefix("data:").partition(";")[0] or kind
        if not head.endswith(";base64"):
            return f"[{kind} {len(unquote(text))} bytes]"
    elif "://" in text:
        return f"[{kind} {text}]"
    return f"[{kind} {len(decoded(text))} bytes]"


def decoded(text: Any) -> bytes:
    """The bytes of base64, which must be whole. Raises :class:`RefusedError`."""
    try:
        return base64.b64decode(str(text), validate=True)
    except (binascii.Error, ValueError):
        raise RefusedError("Invalid base64 data") from None


Result = tuple[int, str, str, bool]
"""A tool's result: which call of its turn it answers, the tool's name, what it says, whether the
tool failed."""


def told(results: list[Result]) -> str:
    """How ``echo`` tells of results: a single one says what it says, others are told apart."""
    if len(results) == 1 and not results[0][3]:
        return results[0][2]
    return "".join(
        f"[{number} {name}{' failed' if failed else ''}: {content}]"
        for number, name, content, failed in results
    )


def typed(body: dict[str, Any], name: str, kind: type | tuple[type, ...]) -> Any:
    """A member of ``body``, or None. Raises :class:`RefusedError` when it is of another type."""
    value = body.get(name)
    if value is None:
        return None
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        wanted = " or ".join(k.__name__ for k in kinds)
        raise RefusedError(
            f"Invalid type for '{name}': expected {wanted}, but got {type(value).__name__} instead",
            code="invalid_json",
        )
    return value
