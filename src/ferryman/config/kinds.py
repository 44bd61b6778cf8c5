"""The kinds of value a configuration key can take: how each is read, explained, put in a schema.

One table (``grammar.py``) built from these kinds drives the validator, the published JSON Schema
and the test of the documentation.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import Struct

from ferryman.config import nodes
from ferryman.config.model import Ref
from ferryman.config.nodes import Map, Mark, Node, Scalar, Seq
from ferryman.config.problem import ERROR, Path, Problem, dotted, either, near, shown
from ferryman.config.secret import Redacted, sendable
from ferryman.config.vault_names import NAME, OWNED, is_name

Schema = dict[str, Any]

WRONG: Final = object()
"""What ``read`` returns after it has reported a problem."""
MAX_PROBLEMS = 500


class EnoughProblems(Exception):  # noqa: N818 - ends the reading of a file that is no configuration
    """More mistakes than anybody would read."""


class Reader:
    """Collects what reading finds: problems, and where each key and value stands."""

    def __init__(self, file: str, sources: Mapping[Path, str] = MappingProxyType({})) -> None:
        """``sources``: paths of values that stand elsewhere than in ``file``, and where."""
        self.file = file
        self.sources = sources
        self.problems: list[Problem] = []
        self.values: dict[Path, Mark] = {}
        self.keys: dict[Path, Mark] = {}

    def at(self, path: Path) -> Mark | None:
        """Where the value at ``path`` stands, or the nearest thing around it."""
        while path:
            if mark := self.values.get(path) or self.keys.get(path):
                return mark
            path = path[:-1]
        return None

    def add(
        self, path: Path, mark: Mark | None, message: str, fix: str = "", severity: str = ERROR
    ) -> None:
        """Report a problem."""
        if len(self.problems) >= MAX_PROBLEMS:
            raise EnoughProblems
        self.problems.append(
            Problem(
                file=self.sources.get(path[:2]) or self.sources.get(path[:1]) or self.file,
                line=mark.line if mark else 0,
                column=mark.column if mark else 0,
                key=dotted(path),
                message=message,
                fix=fix,
                severity=severity,
            )
        )

    def wrong(self, kind: "Kind", node: Node, path: Path, found: str = "") -> object:
        """Report that ``node`` is not a ``kind``: what was found, what is right, an example."""
        found = found or describe(node, quiet=_secretive(path))
        self.add(path, node.mark, f"expected {kind.says}, found {found}", example(kind, path))
        return WRONG


def example(kind: "Kind", path: Path) -> str:
    """The right form of the value at ``path``, with its key."""
    name = next((part for part in reversed(path) if isinstance(part, str)), "")
    text = kind.example
    if path and isinstance(path[-1], int):
        text = f"[{text}]"
    return f"Example: {name}: {text}" if name and dotted((name,)) == name else f"Example: {text}"


def _secretive(path: Path) -> bool:
    """Whether what stands there may be a secret by mistake."""
    if path[:2] == ("alerts", "channels"):
        return path[-1] in ("slack", "secret", "password")
    if path[-1:] == ("client_secret",):
        return True
    return path[:1] == ("providers",) or path == ("server", "state")


def describe(node: Node, *, quiet: bool) -> str:
    """What ``node`` is, in words. ``quiet``: without its content, which may be a secret."""
    if isinstance(node, Seq):
        return "a list"
    if isinstance(node, Map):
        return "a mapping"
    kind = nodes.scalar_type(node)
    if kind == nodes.NULL:
        return "nothing"
    if kind == nodes.BOOL:
        return f"the word {node.text}"
    if not node.text:
        return "an empty text"
    return f"a {kind}" if quiet else f"the {kind} {shown(node.text)}"


class Kind(Struct, frozen=True, kw_only=True):
    """What a value may be. ``says`` completes "expected …"; ``example`` is YAML."""

    says: str
    example: str

    def read(self, node: Node, path: Path, reader: Reader) -> Any:
        """The value, or ``WRONG`` after reporting why."""
        raise NotImplementedError

    def schema(self) -> Schema:
        """JSON Schema (2020-12) of the values this kind accepts."""
        raise NotImplementedError


_VARIABLE = r"\$\{|^\$[A-Z_][A-Z0-9_]*$"
_NOT_VARIABLE: Schema = {"not": {"pattern": _VARIABLE}}


def _scalar(kind: Kind, node: Node, path: Path, reader: Reader, fix: str = "") -> Scalar | None:
    """``node`` if it is a single value without a ``${VAR}``; else ``None``, reported."""
    if not isinstance(node, Scalar):
        reader.wrong(kind, node, path)
        return None
    if re.search(_VARIABLE, node.text):
        message = "`${VAR}` is not expanded in this file"
        fix = fix or "Write the value itself. Keys and headers take env:VAR."
        reader.add(path, node.mark, message, fix)
        return None
    return node


class Word(Kind, frozen=True, kw_only=True):
    """A text. ``choices`` closes the list; ``any_scalar`` takes numbers, true and false as text."""

    pattern: str = ""
    choices: tuple[str, ...] = ()
    any_scalar: bool = False

    def read(self, node: Node, path: Path, reader: Reader) -> Any:
        scalar = _scalar(self, node, path, reader)
        if scalar is None:
            return WRONG
        kind = nodes.scalar_type(scalar)
        if kind == nodes.NULL or (kind != nodes.TEXT and not self.any_scalar):
            return reader.wrong(self, node, path)
        if self.choices and scalar.text not in self.choices:
            words = near(scalar.text, self.choices)
            fix = f"Did you mean {either(words)}?" if words else example(self, path)
            found = describe(node, quiet=_secretive(path))
            reader.add(path, node.mark, f"expected {self.says}, found {found}", fix)
            return WRONG
        return scalar.text if self.accepts(scalar.text) else reader.wrong(self, node, path)

    def accepts(self, text: str) -> bool:
        """Whether ``text`` has the right form, ``choices`` apart."""
        if re.search(_VARIABLE, text):
            return False
        return not self.pattern or re.fullmatch(self.pattern, text) is not None

    def schema(self) -> Schema:
        if self.choices:
            return {"enum": list(self.choices)}
        text: Schema = {"type": "string", **_NOT_VARIABLE}
        if self.pattern:
            text["pattern"] = f"^(?:{self.pattern})$"
        return {"anyOf": [text, {"type": ["number", "boolean"]}]} if self.any_scalar else text


SECONDS: Final = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600)}
MILLISECONDS: Final = {"ms": Decimal(1), "s": Decimal(1000)}
BYTES: Final = {
    "B": Decimal(1),
    "kB": Decimal(10**3), "KB": Decimal(10**3), "MB": Decimal(10**6), "GB": Decimal(10**9),
    "KiB": Decimal(2**10), "MiB": Decimal(2**20), "GiB": Decimal(2**30),
}  # fmt: skip
PER_CENT: Final = {"%": Decimal(1)}

_LONGEST_NUMBER = 40
_HUGE_EXPONENT = re.compile(r"[eE][-+]?[0-9]{4,}")


class Number(Kind, frozen=True, kw_only=True):
    """A number from ``least`` to ``most``, with or without a unit; read from its text, exactly."""

    least: Decimal
    most: Decimal
    step: Decimal | None = None
    """The value is a multiple of this."""
    units: dict[str, Decimal] = {}
    bare: bool = True
    """Whether a number without a unit is accepted."""

    def read(self, node: Node, path: Path, reader: Reader) -> Any:
        scalar = _scalar(self, node, path, reader)
        if scalar is None:
            return WRONG
        value = self._value(scalar)
        if value is None:
            return reader.wrong(self, node, path)
        if not self._fits(value):
            message = f"expected {self.says}{self._range()}, found {shown(scalar.text)}"
            reader.add(path, node.mark, message, example(self, path))
            return WRONG
        return int(value) if self.step == 1 else value

    def _fits(self, value: Decimal) -> bool:
        if not self.least <= value <= self.most:  # first: a remainder of 1e999 cannot be had
            return False
        return self.step is None or value % self.step == 0

    def _range(self) -> str:
        unit = next((name for name, size in self.units.items() if size == 1), "")
        steps = f" in steps of {self.step:f}" if self.step not in (None, 1) else ""
        return f", {self.least:f}{unit} to {self.most:f}{unit}{steps}"

    def _value(self, scalar: Scalar) -> Decimal | None:
        text = scalar.text
        if len(text) > _LONGEST_NUMBER or _HUGE_EXPONENT.search(text):
            return None
        if nodes.scalar_type(scalar) == nodes.NUMBER:
            return Decimal(text) if self.bare else None
        found = re.fullmatch(self._unit_pattern(), text)
        return Decimal(found.group(1)) * self.units[found.group(2)] if found else None

    def _unit_pattern(self) -> str:
        return rf"([0-9]+(?:\.[0-9]+)?) ?({'|'.join(map(re.escape, self.units)) or '(?!)'})"

    def schema(self) -> Schema:
        kinds: list[Schema] = []
        if self.bare:
            number: Schema = {
                "type": "integer" if self.step == 1 else "number",
                "minimum": _json_number(self.least),
                "maximum": _json_number(self.most),
            }
            kinds.append(number)
        if self.units:
            kinds.append({"type": "string", "pattern": f"^{self._unit_pattern()}$"})
        return kinds[0] if len(kinds) == 1 else {"anyOf": kinds}


def _json_number(value: Decimal) -> int | float:
    return int(value) if value == int(value) else float(value)


class Url(Kind, frozen=True, kw_only=True):
    """Base URL of a provider, without its trailing slash."""

    def read(self, node: Node, path: Path, reader: Reader) -> Any:
        fix = "Write {VAR}, without the dollar sign: a base URL is filled from the environment."
        scalar = _scalar(self, node, path, reader, fix)
        if scalar is None:
            return WRONG
        if nodes.scalar_type(scalar) != nodes.TEXT:
            return reader.wrong(self, node, path)
        if fault := url_fault(scalar.text):
            reader.add(path, node.mark, fault, example(self, path))
            return WRONG
        return scalar.text.rstrip("/")

    def schema(self) -> Schema:
        pattern = r"^https?://[^\s/?#@\\]+(/[^\s?#\\]*)?$"
        return {"type": "string", "pattern": pattern, **_NOT_VARIABLE}


def url_fault(text: str) -> str:
    """Why ``text`` cannot be a base URL, without quoting it; empty when it can."""
    if not re.match(r"https?://", text):
        return "a base URL begins with http:// or https://"
    if not text.isascii() or not text.isprintable() or " " in text or "\\" in text:
        return "a base URL has no spaces, backslashes or characters beyond ASCII"
    if "?" in text or "#" in text:
        return "a base URL has no query (?) and no fragment (#)"
    try:
        parts = urlsplit(re.sub(r"\{[A-Za-z_][A-Za-z0-9_]*\}", "1", text))
        host, port = parts.hostname, parts.port
    except ValueError:
        return "the host or port of this base URL is not valid"
    if "@" in parts.netloc:
        return "a base URL holds no user name or password; give the secret as key:"
    if not host or port == 0:
        return "this base URL names no host"
    if "{" in parts.netloc + parts.path or "}" in parts.netloc + parts.path:
        return "a placeholder in a base URL is {VAR}: one variable's name in braces"
    if parts.path.rstrip("/").endswith(("/chat/completions", "/completions", "/embeddings")):
        return "a base URL ends before the endpoint: leave out /chat/completions and the like"
    return ""


_ENV_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
STORED: Final = rf"env:{_ENV_NAME}|vault:{NAME}"
"""References to secrets that are in no file."""
_ELSEWHERE: Final = "secrets of organisations are for keys of providers alone"
_INSTALLATIONS: Final = "Store it as one of the installation, and write vault:NAME."
_OWNED: Final = re.compile(f"vault:{OWNED}")


class Reference(Word, frozen=True, kw_only=True):
    """A reference to a secret, as a text; to none of an organisation."""

    pattern: str = rf"{STORED}|file:.{{1,1000}}"

    def read(self, node: Node, path: Path, reader: Reader) -> Any:
        if isinstance(node, Scalar) and _OWNED.fullmatch(node.text):
            reader.add(path, node.mark, _ELSEWHERE, _INSTALLATIONS)
            return WRONG
        return super().read(node, path, reader)


class Secret(Kind, frozen=True, kw_only=True):
    """``env:NAME``, ``file:PATH``, ``vault:NAME``, or a literal, which gets into no message."""

    header: bool = False
    """True: a header's value, which is mostly no secret, and may hold spaces."""
    owned: bool = False
    """Whether it may be an organisation's: ``vault:ORGANISATION/NAME``."""

    def read(self, node: Node, path: Path, reader: Reader) -> Any:
        if isinstance(node, Map) and [key.text for key, _ in node.pairs] in (
            ["env"],
            ["file"],
            ["vault"],
        ):
            name = node.pairs[0][0].text
            fix = f"Write {name}:… without a space after the colon."
            reader.add(path, node.mark, f"expected {self.says}, found a mapping", fix)
            return WRONG
        fix = f"{example(self, path)} (the name of the variable, without $ or braces)"
        scalar = _scalar(self, node, path, reader, fix)
        if scalar is None:
            return WRONG
        kind = nodes.scalar_type(scalar)
        if kind == nodes.NULL or kind == nodes.BOOL:
            return reader.wrong(self, node, path)
        if not self.owned and _OWNED.fullmatch(scalar.text):
            reader.add(path, node.mark, _ELSEWHERE, _INSTALLATIONS)
            return WRONG
        fault, value = self._reference(scalar.text)
        if fault:
            reader.add(path, node.mark, fault, example(self, path))
        return value

    def _reference(self, text: str) -> tuple[str, Any]:
        kind, colon, rest = text.partition(":")
        if colon and kind == "env":
            if re.fullmatch(_ENV_NAME, rest):
                return "", Ref(kind="env", value=rest)
            return "env: takes the name of an environment variable (letters, digits, _)", WRONG
        if colon and kind == "file":
            if rest and rest == rest.strip() and rest.isprintable():
                return "", Ref(kind="file", value=rest)
            return "file: takes a path, without spaces around it", WRONG
        if colon and kind == "vault":
            if is_name(rest):
                return "", Ref(kind="vault", value=rest)
            return "vault: takes the name of a secret (letters, digits, . - _)", WRONG
        if colon and kind == "sealed":
            return "sealed: opens only at the admin API, and where it was sealed", WRONG
        if self.header:
            if re.fullmatch(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?", text):
                return "", Ref(kind="literal", literal=Redacted(text))
            return "a header's value is printable ASCII, without spaces around it", WRONG
        if not sendable(text):
            fault = "this key holds spaces or characters that cannot be sent in a header"
            return fault, WRONG
        return "", Ref(kind="literal", literal=Redacted(text))

    def schema(self) -> Schema:
        literal = r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?" if self.header else r"[\x21-\x7e]+"
        stored = f"(?:{OWNED}|{NAME})" if self.owned else NAME
        return {
            "anyOf": [
                {"type": "string", "pattern": f"^env:{_ENV_NAME}$"},
                {"type": "string", "pattern": r"^file:\S(.*\S)?$"},
                {"type": "string", "pattern": f"^vault:{stored}$"},
                {
                    "type": "string",
                    "pattern": f"^(?!env:|file:|vault:|sealed:){literal}$",
                    **_NOT_VARIABLE,
                },
                {"type": "number"},
            ]
        }
