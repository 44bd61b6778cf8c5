"""What the simulator says: words that are tokens, and JSON that fits a schema."""

from typing import Any

SPEECH = """\
The ferry leaves the bank at dawn, crosses the slow green river, and comes back at dusk with baskets
of apples, two goats, a letter, and one traveller who has nothing to declare."""
FOREIGN = """\
Größe naïve œuvre 渡し舟 は 川 を 渡る 🚣 Ωμέγα паром река 𝄞 🇫🇮 👩\u200d👩\u200d👧 ñandú façade"""
MUSING = "Let me think about the river and the current before I answer this."
PLAIN, UNICODE, THOUGHT = SPEECH.split(), FOREIGN.split(), MUSING.split()


DEEPEST = 60


def tokens(count: int, source: list[str] = PLAIN) -> list[str]:
    """``count`` tokens: words, each but the first with a space before it."""
    found = [" " + source[i % len(source)] for i in range(count)]
    if found:
        found[0] = found[0][1:]
    return found


def pieces(text: str, size: int = 8) -> list[str]:
    """``text`` in pieces of ``size`` letters: the tokens of JSON."""
    return [text[i : i + size] for i in range(0, len(text), size)]


def instance(schema: Any, root: Any = None, depth: int = 0) -> Any:
    """A value that is valid under a JSON Schema (the part of it that structured outputs use)."""
    if not isinstance(schema, dict):
        return "anything"
    if depth > DEEPEST:
        return None  # the schema has no finite instance
    root = schema if root is None else root
    if "$ref" in schema:
        return instance(_resolve(schema["$ref"], root), root, depth + 1)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for key in ("anyOf", "oneOf"):
        if schema.get(key):
            # deep in a recursive schema the shortest way out is the alternative without a reference
            chosen = [s for s in schema[key] if depth < 4 or "$ref" not in s] or schema[key]
            return instance(chosen[0], root, depth + 1)
    if schema.get("allOf"):
        merged: dict[str, Any] = {}
        for part in schema["allOf"]:
            value = instance(part, root, depth + 1)
            merged |= value if isinstance(value, dict) else {}
        return merged
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = next((k for k in kind if k != "null"), "null") if isinstance(kind, list) else kind
    kind = kind.lower()
    return _typed(kind, schema, root, depth)


def _typed(kind: str, schema: dict[str, Any], root: Any, depth: int) -> Any:
    if kind == "object":
        properties = schema.get("properties") or {}
        required = schema.get("required", list(properties) if depth < 4 else [])
        return {name: instance(properties.get(name), root, depth + 1) for name in required}
    if kind == "array":
        least = int(schema.get("minItems", 1 if depth < 4 else 0))
        return [instance(schema.get("items"), root, depth + 1) for _ in range(least)]
    if kind in ("integer", "number"):
        return _number(kind, schema)
    if kind == "boolean":
        return True
    if kind == "null":
        return None
    formats = {
        "date": "2026-01-31", "time": "12:30:00Z", "date-time": "2026-01-31T12:30:00Z",
        "email": "ferry@example.com", "uri": "https://example.com/", "ipv4": "192.0.2.1",
        "uuid": "6f1ed002-ab59-4a4c-9a3b-0f3b6f4c1e2d",
    }  # fmt: skip
    text = formats.get(schema.get("format", ""), "ferry")
    text = text.ljust(int(schema.get("minLength", 0)), "y")
    return text[: int(schema.get("maxLength", len(text)))]


def _number(kind: str, schema: dict[str, Any]) -> float:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is None and "exclusiveMinimum" in schema:
        low = schema["exclusiveMinimum"] + 1
    if high is None and "exclusiveMaximum" in schema:
        high = schema["exclusiveMaximum"] - 1
    value = 7 if low is None else low
    if high is not None and value > high:
        value = high
    step = schema.get("multipleOf")
    if step:
        value = -(-value // step) * step
    return int(value) if kind == "integer" else value


def _resolve(reference: str, root: Any) -> Any:
    found = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        if part:
            key = part.replace("~1", "/").replace("~0", "~")
            found = found.get(key) if isinstance(found, dict) else None
    return found
