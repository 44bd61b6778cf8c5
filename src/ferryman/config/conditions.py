"""``when`` of a policy: conditions on a call, typed while the file is read.

A mapping of facts to what they must be, ``all``/``any`` lists and ``not``. Each fact has a type,
the type says which operators it takes. Regular expressions are RE2's, which take linear time.
"""

import re
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from ferryman.config import nodes
from ferryman.config.kinds import WRONG, Kind, Number, Reader, Schema, Word, _scalar, describe
from ferryman.config.linear import PatternError, regex
from ferryman.config.nodes import Map, Node, Scalar, Seq
from ferryman.config.problem import Path, shown
from ferryman.config.snapshot import Condition
from ferryman.wire.paths import CALLERS, PATHS

MAX_DEPTH: Final = 8
"""``all``, ``any`` and ``not`` within each other."""
MAX_PARTS: Final = 100
ABILITIES: Final = ("tools", "vision", "audio", "document", "json_schema", "reasoning")
ENDPOINTS: Final = tuple(dict.fromkeys([*CALLERS, *PATHS["openai_chat"]]))
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
CREDENTIALS: Final = ("authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie")

_LARGEST = Decimal(10**15)
_NUMBER = Number(says="a number", example="0.5", least=-_LARGEST, most=_LARGEST)
_COUNT = Number(says="a number", example="8000", least=Decimal(0), most=_LARGEST)
_TEXT = Word(says="a text", example="summarise", pattern=r".{1,512}")
_REGEX = Word(says="a regular expression", example="'^gpt-'", pattern=r".{1,512}")


class Plain(Kind, frozen=True, kw_only=True):
    """A text, a number, true or false, as what it is."""

    def read(self, node: Node, path: Path, reader: Reader) -> Any:
        scalar = _scalar(self, node, path, reader)
        if scalar is None:
            return WRONG
        kind = nodes.scalar_type(scalar)
        if kind == nodes.BOOL:
            return scalar.text.lower() == "true"
        if kind == nodes.NUMBER:
            return plain_number(_NUMBER.read(node, path, reader))
        good = kind == nodes.TEXT and _TEXT.accepts(scalar.text)
        return scalar.text if good else reader.wrong(self, node, path)

    def schema(self) -> Schema:
        return {"anyOf": [_TEXT.schema(), _NUMBER.schema(), {"type": "boolean"}]}


class Flag(Kind, frozen=True, kw_only=True):
    """true or false."""

    def read(self, node: Node, path: Path, reader: Reader) -> Any:
        scalar = _scalar(self, node, path, reader)
        if scalar is None:
            return WRONG
        if nodes.scalar_type(scalar) != nodes.BOOL:
            return reader.wrong(self, node, path)
        return scalar.text.lower() == "true"

    def schema(self) -> Schema:
        return {"type": "boolean"}


_FLAG = Flag(says="true or false", example="true")
_PLAIN = Plain(says="a text, a number, true or false", example="summarise")
_SAME = ("eq", "ne", "in", "not_in")
_ORDER = ("gt", "gte", "lt", "lte")


def _word(says: str, choices: tuple[str, ...]) -> Word:
    return Word(says=says, example=choices[0], choices=choices)


# Fact → the kind of its values, and the operators it takes.
FACTS: Final[dict[str, tuple[Kind, tuple[str, ...]]]] = {
    "model": (_TEXT, (*_SAME, "regex")),
    "endpoint": (_word("an endpoint, such as chat.completions", ENDPOINTS), _SAME),
    "key": (Word(says="the id of a virtual key (key_…)", example="key_0a1b2c3d",
                 pattern=r"key_[A-Za-z0-9_-]{1,60}"), _SAME),
    **dict.fromkeys(
        ("organisation", "team", "user", "end_user", "run"), (_TEXT, (*_SAME, "exists", "regex"))
    ),
    "tokens": (_COUNT, (*_SAME, *_ORDER)),
    "abilities": (_word(f"an ability ({', '.join(ABILITIES)})", ABILITIES), (*_SAME, "exists")),
    "tags": (_TEXT, (*_SAME, "exists", "regex")),
    "region": (Word(says="a region name in small letters", example="eu",
                    pattern=r"[a-z0-9][a-z0-9._-]{0,63}"), (*_SAME, "exists")),
    **dict.fromkeys(
        [f"body.{name}" for name in (
            "temperature", "top_p", "top_k", "n", "seed", "max_tokens", "max_completion_tokens",
            "max_output_tokens", "presence_penalty", "frequency_penalty")],
        (_NUMBER, (*_SAME, *_ORDER, "exists")),
    ),
    **dict.fromkeys(
        [f"body.{name}" for name in ("stream", "store", "parallel_tool_calls", "logprobs")],
        (_FLAG, ("eq", "ne", "exists")),
    ),
}  # fmt: skip
_NAMED = (_PLAIN, (*_SAME, *_ORDER, "exists", "regex"))
"""``metadata.NAME`` and the like, whose type is the caller's choice."""
_NAMES = (
    r"metadata\.[^\s$]{1,64}",
    r"header\.[A-Za-z0-9!#%&'*+^_`|~-]{1,100}",
    r"body\.[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64}){0,7}",
)
_HOURS = Word(
    says="hours in the form 09:00-17:30",
    example="09:00-17:30",
    pattern=r"([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)",
)
_DAY = Word(
    says="a day (mon, tue, wed, thu, fri, sat, sun) or days in the form mon-fri",
    example="mon-fri",
    pattern="({0})(-({0}))?".format("|".join(DAYS)),
)
ZONE: Final = Word(
    says="a time zone, such as Europe/Berlin",
    example="Europe/Berlin",
    pattern=r"UTC|[A-Z][A-Za-z_]{1,30}(/[A-Z][A-Za-z0-9_+-]{1,30}){1,2}",
)
KNOWN = ("metadata.NAME", "header.NAME", "body.NAME", "model", "endpoint", "key", "organisation",
         "team", "user", "end_user", "run", "time", "tokens", "abilities", "tags", "region", "all",
         "any", "not")  # fmt: skip


class When(Kind, frozen=True, kw_only=True):
    """A whole ``when``: ``always``, or a mapping."""

    def read(self, node: Node, path: Path, reader: Reader) -> Any:
        if isinstance(node, Scalar) and node.text == "always":
            return Condition(op="all")
        return _mapping(self, node, path, reader, MAX_DEPTH)

    def schema(self) -> Schema:
        return {"anyOf": [{"const": "always"}, {"$ref": "#/$defs/condition"}]}


WHEN: Final = When(
    says="a mapping of facts to what they must be, or always",
    example="{ metadata.task: summarise }",
)
_INNER = When(says="a mapping of facts to what they must be", example="{ model: gpt-4o }")


def _mapping(kind: Kind, node: Node, path: Path, reader: Reader, depth: int) -> Any:
    """All of a mapping's conditions as one."""
    if not isinstance(node, Map):
        return reader.wrong(kind, node, path)
    if not node.pairs:
        return reader.wrong(kind, node, path, "an empty mapping")
    if not depth:
        message = f"conditions are nested more than {MAX_DEPTH} levels deep"
        reader.add(path, node.mark, message, "Split it into several policies.")
        return WRONG
    parts: list[Condition] = []
    wrong = False
    for name, value in node.pairs:
        here = (*path, name.text)
        reader.keys[here], reader.values[here] = name.mark, value.mark
        found = _entry(name, value, here, reader, depth)
        if found is WRONG:
            wrong = True
        else:
            parts.append(found)
    return WRONG if wrong else _joined("all", parts)


def _joined(op: str, parts: list[Condition]) -> Condition:
    return parts[0] if len(parts) == 1 else Condition(op=op, parts=tuple(parts))


def _entry(name: Scalar, value: Node, path: Path, reader: Reader, depth: int) -> Any:
    """One key of a mapping and its value."""
    if name.text in ("all", "any"):
        return _group(name.text, value, path, reader, depth)
    if name.text == "not":
        inner = _mapping(_INNER, value, path, reader, depth - 1)
        return inner if inner is WRONG else Condition(op="not", parts=(inner,))
    if name.text == "time":
        return _time(value, path, reader)
    fact = name.text.lower() if name.text.startswith("header.") else name.text
    if fact.removeprefix("header.") in CREDENTIALS and fact.startswith("header."):
        reader.add(path, name.mark, "a credential is no condition", "Example: key: key_0a1b2c3d")
        return WRONG
    known = FACTS.get(fact)
    if known is None:
        if not any(re.fullmatch(pattern, name.text) for pattern in _NAMES):
            fix = f"There are: {', '.join(KNOWN)}."
            message = f"{shown(name.text)} is nothing that a condition can be about"
            reader.add(path, name.mark, message, fix)
            return WRONG
        known = _NAMED
    kind, operators = known
    if not isinstance(value, Map):
        found = plain_number(kind.read(value, path, reader))
        return found if found is WRONG else Condition(op="eq", fact=fact, value=found)
    return _tests(fact, kind, operators, value, path, reader)


def _group(op: str, node: Node, path: Path, reader: Reader, depth: int) -> Any:
    if not isinstance(node, Seq) or not 1 <= len(node.items) <= MAX_PARTS:
        found = describe(node, quiet=False)
        if isinstance(node, Seq):
            found = f"a list of {len(node.items)}"
        message = f"expected a list of 1 to {MAX_PARTS} conditions, found {found}"
        reader.add(path, node.mark, message, f"Example: {op}: [{{ model: gpt-4o }}]")
        return WRONG
    parts = []
    for i, item in enumerate(node.items):
        reader.values[(*path, i)] = item.mark
        parts.append(_mapping(_INNER, item, (*path, i), reader, depth - 1))
    return WRONG if WRONG in parts else Condition(op=op, parts=tuple(parts))


def _tests(
    fact: str, kind: Kind, operators: tuple[str, ...], node: Map, path: Path, reader: Reader
) -> Any:
    """``{ gt: 1, lte: 5 }``."""
    if not node.pairs:
        fix = f"Operators here: {', '.join(operators)}."
        reader.add(path, node.mark, "expected an operator, found an empty mapping", fix)
        return WRONG
    parts = []
    for name, value in node.pairs:
        here = (*path, name.text)
        reader.keys[here], reader.values[here] = name.mark, value.mark
        if name.text not in operators:
            message = f"{shown(name.text)} is no operator for this"
            fix = f"Operators here: {', '.join(operators)}."
            reader.add(here, name.mark, message, fix)
            parts.append(WRONG)
            continue
        found = _operand(name.text, kind, value, here, reader)
        if found is not WRONG:
            found = Condition(op=name.text, fact=fact, value=found)
        parts.append(found)
    return WRONG if WRONG in parts else _joined("all", parts)  # type: ignore[arg-type]


def _operand(op: str, kind: Kind, node: Node, path: Path, reader: Reader) -> Any:
    if op in ("in", "not_in"):
        if not isinstance(node, Seq) or not node.items:
            found = "an empty list" if isinstance(node, Seq) else describe(node, quiet=False)
            fix = f"Example: {op}: [{kind.example}]"
            reader.add(path, node.mark, f"expected a list of values, found {found}", fix)
            return WRONG
        found_values = [kind.read(item, (*path, i), reader) for i, item in enumerate(node.items)]
        values = [plain_number(value) for value in found_values]
        return WRONG if WRONG in values else tuple(values)
    if op == "exists":
        return _FLAG.read(node, path, reader)
    if op == "regex":
        return _regex(node, path, reader)
    if op in _ORDER and kind is _PLAIN:
        kind = _NUMBER
    return plain_number(kind.read(node, path, reader))


def _regex(node: Node, path: Path, reader: Reader) -> Any:
    found = _REGEX.read(node, path, reader)
    if found is WRONG:
        return WRONG
    try:
        regex(found)
    except PatternError as error:
        message = f"this regular expression is not one of RE2's: {error}"
        fix = "RE2 has no look-around and no back-references: Example: regex: '^gpt-4'"
        reader.add(path, node.mark, message, fix)
        return WRONG
    return found


def plain_number(value: Any) -> Any:
    """A number of the file as JSON would have it; anything else as it is."""
    if not isinstance(value, Decimal):
        return value
    return int(value) if value == int(value) else float(value)


# -- time -----------------------------------------------------------------------------------------


def _time(node: Node, path: Path, reader: Reader) -> Any:
    example = "Example: time: { days: mon-fri, hours: 09:00-17:30, zone: Europe/Berlin }"
    if not isinstance(node, Map) or not node.pairs:
        found = describe(node, quiet=False)
        reader.add(path, node.mark, f"expected days, hours and zone, found {found}", example)
        return WRONG
    said: dict[str, list[Any]] = {}
    kinds = {"days": _DAY, "hours": _HOURS, "zone": ZONE}
    for name, value in node.pairs:
        here = (*path, name.text)
        reader.keys[here], reader.values[here] = name.mark, value.mark
        kind = kinds.get(name.text)
        if kind is None:
            fix = "Known keys here: days, hours, zone."
            reader.add(here, name.mark, f"{shown(name.text)} is not a known key", fix)
            return WRONG
        several = isinstance(value, Seq) and value.items and name.text != "zone"
        items = value.items if several and isinstance(value, Seq) else (value,)
        said[name.text] = [kind.read(item, here, reader) for item in items]
        if WRONG in said[name.text]:
            return WRONG
    if "days" not in said and "hours" not in said:
        reader.add(path, node.mark, "this says neither days nor hours", example)
        return WRONG
    [zone] = said.get("zone", ["UTC"])
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        fix = "Example: zone: Europe/Berlin"
        reader.add((*path, "zone"), reader.at((*path, "zone")),
                   f"there is no time zone {shown(zone)}", fix)  # fmt: skip
        return WRONG
    days = sorted({day for text in said.get("days", ["mon-sun"]) for day in _days(text)})
    spans = [_minutes(text) for text in said.get("hours", ["00:00-24:00"])]
    return _joined(
        "any",
        [Condition(op="within", fact="time", value=(zone, *span, *days)) for span in spans],
    )


def _days(text: str) -> list[int]:
    first, _, last = text.partition("-")
    start, end = DAYS.index(first), DAYS.index(last or first)
    return [(start + i) % 7 for i in range((end - start) % 7 + 1)]


def _minutes(text: str) -> tuple[int, int]:
    start, end = (int(part[:2]) * 60 + int(part[3:]) for part in text.split("-"))
    return start, end


# -- schema and words -----------------------------------------------------------------------------


def definitions() -> dict[str, Schema]:
    """JSON Schema of a mapping of conditions, as ``condition``, and of what that refers to."""
    one = {"$ref": "#/$defs/condition"}
    group = {"type": "array", "items": one, "minItems": 1, "maxItems": MAX_PARTS}
    tests: dict[str, Schema] = {}

    def test(name: str, known: tuple[Kind, tuple[str, ...]]) -> Schema:
        kind = known[0]
        name = f"{'number' if kind is _NUMBER else 'flag' if kind is _FLAG else name}_test"
        tests[name] = _test_schema(*known)
        return {"$ref": f"#/$defs/{name}"}

    secret = "|".join(
        "".join(f"[{c.upper()}{c}]" if c.isalpha() else c for c in name) for name in CREDENTIALS
    )
    condition = {
        "type": "object",
        "minProperties": 1,
        "properties": {
            **{name: test(name, known) for name, known in FACTS.items()},
            "time": _time_schema(), "all": group, "any": group, "not": one,
        },
        "patternProperties": {f"^(?:{name})$": test("plain", _NAMED) for name in _NAMES},
        "propertyNames": {"not": {"pattern": f"^header\\.({secret})$"}},
        "additionalProperties": False,
    }  # fmt: skip
    return {"condition": condition, **tests}


def _time_schema() -> Schema:
    several = {"type": "array", "minItems": 1}
    return {
        "type": "object",
        "properties": {
            "days": {"anyOf": [_DAY.schema(), {**several, "items": _DAY.schema()}]},
            "hours": {"anyOf": [_HOURS.schema(), {**several, "items": _HOURS.schema()}]},
            "zone": ZONE.schema(),
        },
        "additionalProperties": False,
        "anyOf": [{"required": ["days"]}, {"required": ["hours"]}],
    }


def _test_schema(kind: Kind, operators: tuple[str, ...]) -> Schema:
    value = kind.schema()
    several = {"type": "array", "minItems": 1, "items": value}
    order = _NUMBER.schema() if kind is _PLAIN else value
    of = {"in": several, "not_in": several, "exists": _FLAG.schema(), "regex": _REGEX.schema()}
    of |= dict.fromkeys(_ORDER, order)
    table = {
        "type": "object",
        "minProperties": 1,
        "properties": {name: of.get(name, value) for name in operators},
        "additionalProperties": False,
    }
    return {"anyOf": [value, table]}


_SIGNS = {"eq": "=", "ne": "≠", "gt": ">", "gte": "≥", "lt": "<", "lte": "≤", "not_in": "not in",
          "regex": "~"}  # fmt: skip


def said(condition: Condition) -> str:
    """A condition in a line, for people."""
    if condition.op in ("all", "any"):
        joint = " and " if condition.op == "all" else " or "
        parts = [said(part) for part in condition.parts]
        if condition.op == "any":
            return f"({joint.join(parts)})"
        return joint.join(parts) or "always"
    if condition.op == "not":
        return f"not ({said(condition.parts[0])})"
    if condition.op == "within" and isinstance(condition.value, tuple):
        zone, start, end, *days = condition.value
        hours = f"{_clock(start)}-{_clock(end)}"
        return f"time in {','.join(DAYS[int(day)] for day in days)} {hours} {zone}"
    if condition.op == "exists":
        return f"{condition.fact} {'exists' if condition.value else 'is missing'}"
    value = condition.value
    text = f"[{', '.join(map(_shown, value))}]" if isinstance(value, tuple) else _shown(value)
    return f"{condition.fact} {_SIGNS.get(condition.op, condition.op)} {text}"


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _clock(minutes: Any) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
