"""Schemas: the format's subset and JSON Schema, one from the other."""

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from ferryman.ir.errors import GatewayError
from ferryman.ir.receipt import Receipt
from ferryman.wire.gemini_generate.schema import MAX_NODES, to_json_schema, to_openapi, without


def read(schema: Any) -> Any:
    return json.loads(bytes(to_json_schema(Raw(json.dumps(schema)))))


def cut(schema: Any) -> tuple[Any, Receipt]:
    receipt = Receipt()
    return json.loads(bytes(to_openapi(Raw(json.dumps(schema)), "s", receipt))), receipt


@pytest.mark.parametrize(
    ("subset", "wanted"),
    [
        ({}, {}),
        (True, True),
        ({"type": "STRING"}, {"type": "string"}),
        ({"type": "TYPE_UNSPECIFIED", "title": "t"}, {"title": "t"}),
        ({"type": "string", "minLength": 2}, {"type": "string", "minLength": 2}),
        ({"type": "INTEGER", "format": "int64"}, {"type": "integer", "format": "int64"}),
        (
            {"type": "STRING", "format": "enum", "enum": ["a"], "nullable": True},
            {"type": ["string", "null"], "enum": ["a", None]},
        ),
        (
            {"type": "ARRAY", "items": {"type": "NUMBER"}, "minItems": "1", "max_items": 3},
            {"type": "array", "items": {"type": "number"}, "minItems": 1, "maxItems": 3},
        ),
        (
            {"any_of": [{"type": "STRING"}, {"type": "BOOLEAN"}], "nullable": True},
            {"anyOf": [{"type": "string"}, {"type": "boolean"}, {"type": "null"}]},
        ),
        (
            {
                "type": "OBJECT",
                "properties": {"type": {"type": "STRING"}, "b": {"type": "NULL"}},
                "required": ["type"],
                "propertyOrdering": ["b", "type", "gone", 5],
                "example": {"type": "x"},
                "additionalProperties": {"type": "STRING"},
            },
            {
                "type": "object",
                "properties": {"b": {"type": "null"}, "type": {"type": "string"}},
                "required": ["type"],
                "examples": [{"type": "x"}],
                "additionalProperties": {"type": "string"},
            },
        ),
        (
            {"defs": {"n": {"type": "STRING"}}, "ref": "#/$defs/n"},
            {"$defs": {"n": {"type": "string"}}, "$ref": "#/$defs/n"},
        ),
    ],
)
def test_the_subset_as_json_schema(subset: Any, wanted: Any) -> None:
    found = read(subset)
    assert found == wanted
    assert (
        json.dumps(found.get("properties")) == json.dumps(wanted.get("properties"))
        if isinstance(wanted, dict)
        else True
    )
    jsonschema.Draft202012Validator.check_schema(found)


@pytest.mark.parametrize(
    ("schema", "wanted", "dropped", "altered"),
    [
        ({"type": "string", "minLength": 1}, {"type": "STRING", "minLength": 1}, (), ()),
        (
            {
                "$schema": "x", "type": "object", "additionalProperties": False,
                "properties": {"a": {"type": ["string", "null"]}, "additionalProperties": True},
                "required": ["a"],
            },
            {
                "type": "OBJECT",
                "properties": {"a": {"type": "STRING", "nullable": True},
                               "additionalProperties": {}},
                "required": ["a"],
            },
            ("s.additionalProperties",),
            (),
        ),
        ({"const": "x"}, {"type": "STRING", "enum": ["x"]}, (), ()),
        ({"const": 5}, {}, ("s.enum",), ()),
        ({"enum": ["a", None]}, {"type": "STRING", "enum": ["a"], "nullable": True}, (), ()),
        ({"type": "integer", "enum": [1, 2]}, {"type": "INTEGER"}, ("s.enum",), ()),
        ({"type": ["string", "integer", "null"]},
         {"anyOf": [{"type": "STRING"}, {"type": "INTEGER"}], "nullable": True}, (), ()),
        ({"type": "string", "format": "email"}, {"type": "STRING"}, ("s.format",), ()),
        ({"type": "string", "format": "date-time"}, {"type": "STRING", "format": "date-time"},
         (), ()),
        ({"anyOf": [{"type": "string"}, {"type": "null"}], "title": "t"},
         {"type": "STRING", "title": "t", "nullable": True}, (), ()),
        ({"oneOf": [{"type": "string"}, {"type": "integer"}]},
         {"anyOf": [{"type": "STRING"}, {"type": "INTEGER"}]}, (), ("s.oneOf=anyOf",)),
        (
            {"allOf": [{"$ref": "#/$defs/a"}, {"properties": {"c": {}}, "required": ["c"]}],
             "$defs": {"a": {"type": "object", "properties": {"b": {}}, "required": ["b"]}}},
            {"type": "OBJECT", "properties": {"b": {}, "c": {}}, "required": ["b", "c"]},
            (),
            ("s.allOf=merged",),
        ),
        (
            {"$ref": "#/definitions/a", "description": "d",
             "definitions": {"a": {"type": "array", "items": {"$ref": "#/definitions/b~1c"}},
                             "b/c": {"type": "boolean"}}},
            {"type": "ARRAY", "items": {"type": "BOOLEAN"}, "description": "d"},
            (),
            (),
        ),
        (
            {"$defs": {"t": {"type": "object", "properties": {"next": {"$ref": "#/$defs/t"}}}},
             "$ref": "#/$defs/t"},
            {"type": "OBJECT", "properties": {"next": {"type": "OBJECT"}}},
            ("s.$ref",),
            (),
        ),
        ({"$ref": "https://x.test/s.json"}, {"type": "OBJECT"}, ("s.$ref",), ()),
        ({"type": "object", "examples": [{"a": 1}]}, {"type": "OBJECT", "example": {"a": 1}},
         (), ()),
        ({"not": {"type": "string"}}, {}, ("s.not",), ()),
        (False, {}, ("s.false",), ()),
    ],
)  # fmt: skip
def test_json_schema_in_the_subset(
    schema: Any, wanted: Any, dropped: tuple[str, ...], altered: tuple[str, ...]
) -> None:
    found, receipt = cut(schema)
    assert found == wanted
    assert receipt.dropped == dropped
    assert receipt.altered == altered


def test_references_that_multiply_are_refused_before_they_grow() -> None:
    defs: dict[str, Any] = {"a0": {"type": "string"}}
    for n in range(1, 40):
        ref = {"$ref": f"#/$defs/a{n - 1}"}
        defs[f"a{n}"] = {"type": "object", "properties": {"l": ref, "r": ref}}
    with pytest.raises(GatewayError, match=str(MAX_NODES)):
        cut({"$defs": defs, "$ref": "#/$defs/a39"})


def test_one_keyword_is_taken_out_and_names_are_left_alone() -> None:
    noted: list[int] = []
    schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "additionalProperties": {"type": "array", "items": {"additionalProperties": True}},
            "b": {"enum": [{"additionalProperties": 1}]},
        },
    }
    found = without(Raw(json.dumps(schema)), "additionalProperties", lambda: noted.append(1))
    assert json.loads(bytes(found)) == {
        "type": "object",
        "properties": {
            "additionalProperties": {"type": "array", "items": {}},
            "b": {"enum": [{"additionalProperties": 1}]},
        },
    }
    assert len(noted) == 2
    same = Raw(b'{ "type": "object" }')
    assert without(same, "additionalProperties", lambda: noted.append(1)) is same


_names = st.sampled_from(
    ["type", "anyOf", "allOf", "oneOf", "$ref", "$defs", "a", "items", "enum", "properties",
     "nullable", "required", "format", "const", "minItems", "propertyOrdering"]
)  # fmt: skip
_any = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["string", "NULL", "#/$defs/a", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=4),
    max_leaves=25,
)


@given(_any)
def test_no_schema_breaks_the_converters(schema: Any) -> None:
    read(schema)
    cut(schema)
    without(Raw(json.dumps(schema)), "a", lambda: None)
