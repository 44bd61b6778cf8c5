"""The configuration's reader: no file breaks it, and it repeats no secret."""

import functools
import json
import re
from pathlib import Path
from re import _parser as patterns  # type: ignore[attr-defined]
from typing import Any

from tests.config.catalogue import KNOWN

from ferryman.config.check import report, report_data
from ferryman.config.compile import compile_snapshot
from ferryman.config.file import check
from ferryman.config.nodes import parse
from ferryman.config.schema import schema
from ferryman.config.seal import derive_for
from soak.fuzz.mutate import Chance, damaged

ROOT = Path(__file__).resolve().parents[2]
SECRET = "sk-canary-qzv0123456789abcdef"
_APART = re.compile(rb"(?<![\w-])%b(?![\w-])" % SECRET.encode())
"""The secret as one would write it; glued to other words nobody could know it for one."""
SEAL = derive_for("seal key", "sealed secrets")
_WORDS = """
    env:A file:/x vault:x ${A} {A} &x *x !t !!int !!binary | > @ ` % << ? - : [ ] { } , # ' " null
    true ~ 1e999 .5 0x10 0o7 1_000 15% 50MB 30s 1h usd per openai/gpt-4o http://a/v1 https://[::1]
    http://169.254.169.254/ 2026-01-01 metadata.a ../../etc/passwd *.* (a+)+$ \\UFFFFFFFF
"""
WORDS = (
    *_WORDS.encode().split(), b"\n", b"\n  ", b": ", b"\t", b"\0", b"\xff", b"\xef\xbb\xbf",
    b"\xe2\x80\xa8", b"\r", b"[" * 40, b"9" * 5000, b"- " * 200, SECRET.encode(),
    b"key: " + SECRET.encode(),
)  # fmt: skip


@functools.cache
def known() -> tuple[bytes, ...]:
    """Every example of the documentation and every file with a mistake."""
    found = []
    for page in sorted((ROOT / "docs").glob("*.md")):
        found += re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    mistakes = (ROOT / "tests" / "config" / "mistakes.txt").read_text()
    found += re.findall(r"^=== .*?\n(.*?)^>>>", mistakes, re.DOTALL | re.MULTILINE)
    return tuple(text.encode() for text in found)


@functools.cache
def _schema() -> dict[str, Any]:
    found: dict[str, Any] = schema()
    return found


def made(chance: Chance, shape: Any, root: dict[str, Any], depth: int = 0) -> Any:
    """A value that a JSON schema within ``root`` describes; sometimes one that it does not."""
    if shape is True or not isinstance(shape, dict) or depth > 7 or chance.random() < 0.02:
        return chance.choice((None, True, -1, "x", [], {}, 1.5, SECRET))
    if "$ref" in shape:
        found: Any = root
        for step in shape["$ref"].split("/")[1:]:
            found = found[step]
        return made(chance, found, root, depth + 1)
    if "const" in shape:
        return shape["const"]
    if "enum" in shape:
        return chance.choice(shape["enum"])
    if "anyOf" in shape:
        return made(chance, chance.choice(shape["anyOf"]), root, depth + 1)
    kinds = shape.get("type", "string")
    kind = kinds if isinstance(kinds, str) else chance.choice(kinds)
    if kind == "object":
        names = list(shape.get("properties", {}))
        some = chance.sample(names, min(len(names), chance.randrange(5)))
        out = {name: made(chance, shape["properties"][name], root, depth + 1) for name in some}
        more = shape.get("additionalProperties")
        if isinstance(more, dict):
            for _ in range(chance.randrange(3)):
                name = _text(chance, shape.get("propertyNames", {}))
                out[name] = made(chance, more, root, depth + 1)
        return out
    if kind == "array":
        each = shape.get("items", {})
        return [made(chance, each, root, depth + 1) for _ in range(chance.randrange(4))]
    if kind in ("integer", "number"):
        least = shape.get("minimum", 0)
        return chance.choice((least, least + 1, shape.get("maximum", 5), -1, 10**20))
    return {"null": None, "boolean": chance.random() < 0.5}.get(kind, _text(chance, shape))


def _text(chance: Chance, shape: dict[str, Any]) -> str:
    """A text that fits the pattern, as far as it is a simple one."""
    pattern = shape.get("pattern", "^x$")
    try:
        return _drawn(chance, patterns.parse(pattern))
    except (KeyError, TypeError, ValueError):
        return chance.choice(("lab", "openai", "openai/gpt-4o", "10", "5m", "env:A", "1 usd", "*"))


def _drawn(chance: Chance, parsed: Any) -> str:
    out = ""
    for kind, what in parsed:
        name = str(kind)
        if name == "LITERAL":
            out += chr(what)
        elif name == "IN":
            out += _drawn(
                chance, [chance.choice([each for each in what if str(each[0]) != "NEGATE"])]
            )
        elif name == "RANGE":
            out += chr(chance.randint(*what))
        elif name == "MAX_REPEAT":
            least, most, inner = what
            for _ in range(chance.randint(least, min(int(most), least + 5))):
                out += _drawn(chance, inner)
        elif name == "SUBPATTERN":
            out += _drawn(chance, what[3])
        elif name == "BRANCH":
            out += _drawn(chance, chance.choice(what[1]))
        elif name == "CATEGORY":
            out += "7" if "DIGIT" in str(what) else "a"
        elif name not in ("AT", "ASSERT", "ASSERT_NOT"):
            out += "x"
    return out


def file(chance: Chance) -> bytes:
    """A file: made by the grammar, or one of the documentation's, mostly damaged."""
    if chance.random() < 0.4:
        text = json.dumps(made(chance, _schema(), _schema()), ensure_ascii=False, indent=1)
        data = text.encode("utf-8", "surrogatepass")
        return data if chance.random() < 0.5 else damaged(chance, data, WORDS, known())
    return damaged(chance, b"\n".join(chance.choices(known(), k=chance.choice((1, 1, 2)))), WORDS,
                   known())  # fmt: skip


def play_file(data: bytes, chance: Chance) -> None:
    """A file: problems with a place in it, or a snapshot."""
    found = check(*parse(data), ROOT / "ferryman.yaml", strict=False, env={"A": "x"}, known=KNOWN)
    lines = data.decode("utf-8", "replace").splitlines() or [""]
    for problem in found.problems:
        assert problem.message
        assert 0 <= problem.line <= len(lines) + 1, problem
        assert not _APART.search(data) or SECRET not in str(problem), str(problem)
    report(found, env={}, known=KNOWN).encode()
    json.dumps(report_data(found, env={}, known=KNOWN))
    if not found.errors:
        snapshot = compile_snapshot(found, seal_key=SEAL, env={"A": "x"}, known=KNOWN)
        assert b"key: " + SECRET.encode() not in repr(snapshot).encode()
