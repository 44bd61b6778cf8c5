"""The published JSON Schema: up to date, and of one mind with the validator."""

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ferryman.config import grammar, nodes, schema
from ferryman.config.kinds import WRONG, Kind, Reader
from ferryman.config.shapes import Either, ListOf, MapOf, OneOrList, Table

PUBLISHED = Path(__file__).parents[2] / "docs" / "ferryman.schema.json"
CHECK = jsonschema.Draft202012Validator(schema.schema())

GOOD: dict[str, Any] = {
    "providers": {
        "openai": None,
        "lab": {
            "format": "openai_chat",
            "base_url": "http://10.0.0.7:8000/v1",
            "region": "eu",
            "data_policy": "no_training",
            "models": {"a/b": {"abilities": ["text"], "context": 9, "quantization": "fp8"}},
            "auth": "header:X-Key",
            "headers": {"X-Team": "a b", "X-N": 5, "X-E": "env:TEAM"},
            "keys": ["env:LAB_KEY", "file:/run/key", "literal", 123],
            "endpoints": ["embeddings"],
            "quirks": ["no_stream_options"],
            "discount": "12.5%",
            "prices": {"a/b": {"input": 0.5, "output": 2, "cache_read": 0, "request": 0.01}},
        },
        "lab2": {
            "base_url": "https://{HOST}/v1",
            "key": "env:LAB_KEY",
            "max_in_flight": 8,
            "queue": {"length": 10, "wait": "5s", "order": "fair"},
        },
    },
    "models": {
        "mini": "openai/gpt-4o-mini",
        "fast": {
            "targets": ["openai/gpt-4o", "mini"],
            "strategy": "weighted",
            "weights": {"mini": 2.5},
            "sticky": "metadata.team",
            "fallbacks": [],
            "on_content_filter": "mini",
            "retry_empty": True,
            "hedge": "800ms",
            "rescue": False,
            "filter": {"max_price": {"input": 1}, "require_abilities": False, "ignore": ["a/b"]},
        },
        "tiers": {
            "targets": [["openai/gpt-4o", "fast"], "openai/gpt-4o-mini"],
            "affinity": {"by": "session", "for": "10m"},
        },
    },
    "policies": [
        {
            "when": {"metadata.task": "x", "metadata.n": 1, "metadata.b": True},
            "on_content_filter": "lab/x",
            "use": "fast",
            "budget": {"usd": 20, "per": "day"},
        },
        {
            "name": "night",
            "when": {
                "any": [{"model": {"regex": "^gpt"}}, {"not": {"tags": "x"}}],
                "header.x-team": {"in": ["a", 5], "exists": True},
                "body.temperature": {"gt": 0.5},
                "body.stream": True,
                "tokens": {"gte": 100},
                "endpoint": "embeddings",
                "key": {"ne": "key_1"},
                "abilities": {"not_in": ["vision"]},
                "time": {"days": ["mon-fri", "sun"], "hours": "22:00-06:00", "zone": "UTC"},
            },
            "set": {"temperature": 0, "max_output": 100},
            "timeouts": {"first_byte": "1s", "idle": 2, "total": "3m"},
        },
        {"when": "always", "forbid": "x"},
        {"when": "always", "content": {"store": "all", "sample": 1}},
        {
            "when": "always",
            "filter": {
                "only": ["openai", "lab/a/b"],
                "regions": ["eu-west-3"],
                "data_policy": "zero_retention",
                "quantizations": ["bf16", "unknown"],
                "require_parameters": True,
            },
        },
    ],
    "limits": [
        {
            "name": "a",
            "when": {"model": "fast"},
            "by": ["key", "metadata.team"],
            "requests": "60/minute",
            "tokens": {"most": 5, "per": "day", "burst": 2},
            "parallel": 3,
            "budget": [
                {"usd": 1, "per": "week", "zone": "Europe/Berlin", "soft": True},
                {"tokens": 5, "per": "day", "increase": {"tokens": 1, "until": "2026-12-24"}},
            ],
            "status": 429,
        },
        {"by": "key", "budget": {"usd": 1, "per": "day", "rolling": True}},
    ],
    "server": {"max_body_bytes": "50MB", "max_headers": 100, "drain_seconds": 0, "fsync_ms": "1s"},
    "timeouts": {"connect": "500ms", "total": 600, "idle": "2 m", "first_byte": 0.5},
    "content": {"store": "errors", "sample": "10%"},
    "logs": {
        "level": "error",
        "sample": 0.5,
        "sinks": ["stdout"],
        "audit": True,
    },
    "roles": {"support": ["api.read", "calls.read"]},
    "identity": {
        "groups": {"All of us": {"role": "support", "team": "a b"}, "none": {}},
        "passwords": "everyone",
    },
    "tls": {"ca_files": ["/etc/ca.pem"]},
}

# What a value is replaced with: each kind gets its share of right and wrong ones.
VALUES: list[Any] = [
    None, True, 0, 1, -1, 5, 100, 10.5, 1e9, "", "x", "a b", "10", "10s", "5 m", "50MB", "50mb",
    "1.5kB", "15%", "99 %", "env:A", "env:", "env:A-B", "file:/x", "file:", "sealed:x", "${A}",
    "$HOME",
    "http://a/v1", "http://", "ftp://a", "http://a/v1?x", "https://u@a", "bearer", "none",
    "header:X", "header:", "weighted", "latency", "openai_chat", "day", "embeddings", "lab/x",
    [], ["x"], ["embeddings"], ["env:A"], [None], [[]], {}, {"x": 1}, {"metadata.a": 1},
    {"targets": ["lab/x"]}, {"input": 1, "output": 1}, {"lab/x": 1}, {"X-A": "b"}, {"A B": "c"},
    {"usd": 1, "per": "day"}, "keys.read", ["keys.read"],
    {"when": {"metadata.a": "x"}}, {"when": {}}, {"when": {"metadata": {"a": 1}}},
    "key_1", "vision", ["vision"], "mon", "09:00-17:00", "UTC", {"hours": "09:00-17:00"},
    [{"model": "x"}], {"gt": 1}, {"not": {"all": []}}, {"header.Cookie": "x"}, "always",
    "a\tb", "ü", "X" * 300, {"${A}": "lab/x"},
    "fair", {"order": "fair"},
    "60/minute", {"most": 1, "per": "day"}, 429, "key", ["key"], "2026-12-24",
    {"tokens": 5, "until": "2026-12-24"},
    "errors", "error", "stdout", ["stdout"], "everyone",
    "no_training", "bf16", "text", ["bf16"], "session", {"by": "session"},
]  # fmt: skip


def _valid(document: Any) -> bool:
    """Whether the tables accept it (JSON is YAML); checks across keys left aside."""
    root, faults = nodes.parse(json.dumps(document, ensure_ascii=False).encode())
    assert not faults
    assert root is not None
    reader = Reader("")
    return grammar.FILE.read(root, (), reader) is not WRONG and not reader.problems


def _paths(value: Any, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inner: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [at, *(path for key, item in inner for path in _paths(item, (*at, key)))]


PATHS = _paths(GOOD)


def _with(path: tuple[str | int, ...], value: Any) -> Any:
    if not path:
        return value
    document, place = _around(path)
    place[path[-1]] = value
    return document


def _around(path: tuple[str | int, ...]) -> tuple[Any, Any]:
    """A copy of the sample's section that ``path`` leads into, and the holder of its last step."""
    document: Any = {path[0]: copy.deepcopy(GOOD[str(path[0])])}
    place = document
    for step in path[:-1]:
        place = place[step]
    return document, place


def test_the_published_schema_is_up_to_date() -> None:
    """If not: python -m ferryman.config.schema > docs/ferryman.schema.json"""
    assert PUBLISHED.read_text("utf-8") == schema.text()


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema.schema())


def test_the_whole_sample_is_accepted_by_both() -> None:
    assert _valid(GOOD)
    CHECK.validate(GOOD)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: ".".join(map(str, path)))
def test_both_say_the_same_of_every_value_in_every_place(path: tuple[str | int, ...]) -> None:
    verdicts = set()
    for value in VALUES:
        document = _with(path, value)
        verdict = _valid(document)
        assert verdict == CHECK.is_valid(document), (path, value)
        verdicts.add(verdict)
    assert verdicts == {True, False}, "a place that takes anything, or nothing, proves nothing"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("timeouts", "connect"), "301s"),
        (("server", "max_body_bytes"), "3GB"),
        (("server", "max_body_bytes"), "1024.5B"),
        (("providers", "lab", "discount"), "101%"),
        (("providers", "lab", "base_url"), "http://a:99999/v1"),
        (("providers", "lab", "prices", "a/b", "input"), 0.0000001),
    ],
)
def test_what_a_schema_cannot_say_the_validator_does(
    path: tuple[str | int, ...], value: object
) -> None:
    assert not _valid(_with(path, value))
    CHECK.validate(_with(path, value))


@pytest.mark.parametrize("path", PATHS[1:], ids=lambda path: ".".join(map(str, path)))
def test_both_know_the_same_keys(path: tuple[str | int, ...]) -> None:
    for change in ("remove", "rename"):
        document, place = _around(path)
        value = place.pop(path[-1])
        if change == "rename" and isinstance(place, dict):
            place[f"{path[-1]}_"] = value
        assert _valid(document) == CHECK.is_valid(document), (path, change)


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**6), 10**6)
    | st.decimals(-100, 10**6, places=3).map(float)
    | st.sampled_from([value for value in VALUES if isinstance(value, str)]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(sorted({str(step) for path in PATHS for step in path})), inner
        )
    ),
    max_leaves=20,
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(path=st.sampled_from(PATHS), value=_json)
@example(path=("timeouts", "idle"), value=0.009)
def test_both_say_the_same_of_random_documents(path: tuple[str | int, ...], value: Any) -> None:
    document = _with(path, value)
    assert _valid(document) == CHECK.is_valid(document)


def _kinds(kind: Kind) -> list[Kind]:
    inner: list[Kind] = []
    if isinstance(kind, Table):
        inner = [key.kind for key in kind.keys]
    elif isinstance(kind, ListOf | MapOf):
        inner = [kind.item]
    elif isinstance(kind, Either):
        inner = [kind.short, kind.table]
    elif isinstance(kind, OneOrList):
        inner = [kind.one, kind.several]
    return [kind, *(found for item in inner for found in _kinds(item))]


def test_every_example_in_a_message_is_right() -> None:
    for kind in _kinds(grammar.FILE):
        root, faults = nodes.parse(kind.example.encode())
        reader = Reader("")
        assert not faults
        assert root is not None
        assert kind.read(root, ("x",), reader) is not WRONG, kind.example
        assert not reader.problems, kind.example


def test_every_key_is_described() -> None:
    tables = [kind for kind in _kinds(grammar.FILE) if isinstance(kind, Table)]
    assert len({id(table) for table in tables}) == 45
    for table in tables:
        for key in table.keys:
            assert key.doc.endswith("."), key.name
            assert not (key.required and key.default), key.name
