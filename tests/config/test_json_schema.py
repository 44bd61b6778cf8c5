"""Answers fit a schema exactly where the reference implementation of JSON Schema says so."""

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferryman.config.json_schema import fault, unknown

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3)
    | st.sampled_from(["", "a", "ab", "abc", 0.5, 2.0]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def schemas() -> st.SearchStrategy[Any]:
    """Schemas of all keywords."""
    return st.recursive(st.booleans() | _flat(), _around, max_leaves=5)


def _flat() -> st.SearchStrategy[Any]:
    count = st.integers(0, 3)
    return st.fixed_dictionaries({}, optional={
        "type": st.sampled_from(["object", "array", "string", "number", "integer", "boolean",
                                 "null", ["string", "null"]]),
        "enum": st.lists(VALUES, min_size=1, max_size=3), "const": VALUES,
        "required": st.lists(st.sampled_from("abc"), max_size=2, unique=True),
        "minProperties": count, "maxProperties": count, "minItems": count, "maxItems": count,
        "minLength": count, "maxLength": count, "uniqueItems": st.booleans(),
        "pattern": st.sampled_from(["^a", "b$"]), "minimum": count, "maximum": count,
        "exclusiveMinimum": count, "exclusiveMaximum": count,
    })  # fmt: skip


def _around(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(inner, min_size=1, max_size=2)
    return st.fixed_dictionaries({}, optional={
        "properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
        "additionalProperties": inner, "items": inner, "prefixItems": several, "not": inner,
        "anyOf": several, "oneOf": several, "allOf": several,
    })  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(schema=schemas(), value=VALUES)
def test_as_the_reference_has_it(schema: Any, value: Any) -> None:
    assert unknown(schema) == ""
    fits = jsonschema.Draft202012Validator(schema).is_valid(value)
    assert (fault(schema, json.dumps(value)) == "") == fits


def test_references_lead_within_the_schema_and_never_for_ever() -> None:
    tree = {"$ref": "#/$defs/node", "$defs": {"node": {
        "type": "object", "required": ["v"],
        "properties": {"v": {"type": "integer"}, "next": {"$ref": "#/$defs/node"}},
    }}}  # fmt: skip
    assert fault(tree, '{"v": 1, "next": {"v": 2}}') == ""
    assert fault(tree, '{"v": 1, "next": {"v": "2"}}').endswith("/properties/v/type")
    assert fault({"$ref": "#"}, "1").endswith("depth")
    assert unknown({"anyOf": [{"type": "string"}, {"$ref": "#"}]}) == "$ref leads back to itself: #"
    assert unknown(tree) == ""
    assert fault(tree, "Sure! {}") == "json"
    assert fault(tree, "[" * 100_000) == "json"


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"typ": "object"}, "the keyword typ is not known"),
        ({"properties": {"a": {"type": "text"}}}, "no type is called text"),
        ({"items": {"$ref": "other.json"}}, "$ref leads nowhere within the schema: other.json"),
        ({"pattern": "(?=a)"}, "pattern is no RE2 expression"),
        ({"anyOf": []}, "a schema is a mapping, true or false"),
        ({"maxLength": "5"}, "maxLength is a number"),
        ([], "a schema is a mapping, true or false"),
    ],
)
def test_what_can_not_be_checked_is_named(schema: Any, why: str) -> None:
    assert unknown(schema).startswith(why)
