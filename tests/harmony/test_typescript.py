from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptoss_tui.harmony.typescript import to_typescript
from tests.harmony import library

_LETTERS = string.ascii_letters + string.digits + " .,;:()'äé漢🙂-_/*"
TEXT = st.text(_LETTERS, min_size=1, max_size=24)
NAME = st.text(string.ascii_letters + "_", min_size=1, max_size=10)


def _scalar(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(["string", "number", "integer", "boolean"]))
    defaults: dict[str, st.SearchStrategy[Any]] = {
        "string": TEXT,
        "number": st.sampled_from([0, 1.5, -2.25]),
        "integer": st.integers(-1000, 1000),
        "boolean": st.booleans(),
    }
    schema: dict[str, Any] = {"type": kind}
    if draw(st.booleans()):
        schema["default"] = draw(defaults[kind])
    if kind == "string" and draw(st.booleans()):
        schema["enum"] = draw(st.lists(TEXT, min_size=1, max_size=3))
    return schema


@st.composite
def properties(draw: st.DrawFn, depth: int = 2) -> dict[str, Any]:
    """A property's schema of the kinds that the library renders rightly."""
    kind = draw(st.sampled_from(["scalar", "list", "object", "array", "bare", "choice"] if depth else ["scalar"]))
    if kind == "scalar":
        schema = _scalar(draw)
    elif kind == "list":
        schema = {"type": draw(st.lists(st.sampled_from(["string", "number", "null"]), min_size=1, unique=True))}
    elif kind == "object":
        schema = draw(objects(depth - 1))
    elif kind == "array":
        items = draw(st.one_of(st.just({"type": "integer"}), objects(depth - 1)))
        schema = {"type": "array", "items": items}
    elif kind == "bare":
        schema = {"type": "array"}
    else:
        described = st.builds(lambda text: {"type": "number", "description": text}, TEXT)
        schema = {"oneOf": draw(st.lists(st.one_of(st.just({"type": "string"}), described), min_size=1))}
        if "description" in schema["oneOf"][0]:
            return schema  # the library drops it when the property has a description, too
    for field, values in (("title", TEXT), ("description", TEXT), ("examples", st.lists(TEXT, max_size=2))):
        if draw(st.booleans()):
            schema[field] = draw(values)
    if draw(st.booleans()):
        schema["nullable"] = draw(st.booleans())
    return schema


@st.composite
def objects(draw: st.DrawFn, depth: int = 2) -> dict[str, Any]:
    fields = draw(st.dictionaries(NAME, properties(depth), max_size=4))
    required = draw(st.lists(st.sampled_from(sorted(fields)), unique=True)) if fields else []
    return {"type": "object", "properties": fields, "required": required}


@given(objects())
@settings(max_examples=300, deadline=None)
def test_equals_the_library_on_what_it_renders_rightly(schema: dict[str, Any]) -> None:
    assert to_typescript(schema) == library.parameter_type(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "string"},
        {"type": "object"},
        {"type": "array", "items": {"type": "array", "items": {"type": "string"}}},
        {"type": "object", "description": "at the top", "properties": {"a": {"description": ""}}},
        {
            "oneOf": [
                {"type": "string", "description": "x"},
                {"type": "object", "properties": {"a": {"type": "string"}}},
            ]
        },
        {"type": "object", "properties": {"a": {"type": "array", "default": ["a", 1, None, {"b": 2}]}}},
        {"type": "object", "properties": {"a": {"type": "string", "format": "uri", "pattern": "^a", "minLength": 3}}},
    ],
)
def test_equals_the_library_on_edge_cases(schema: dict[str, Any]) -> None:
    assert to_typescript(schema) == library.parameter_type(schema)


def _field(schema: Any) -> str:
    """The lines of one optional field `a`, without the braces around it."""
    return to_typescript({"type": "object", "properties": {"a": schema}}).removeprefix("{\n").removesuffix("\n}")


@pytest.mark.parametrize(
    ("schema", "written"),
    [
        ({"type": "string", "description": "one\ntwo"}, "// one\n// two\na?: string,"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "a?: string | null,"),
        ({"anyOf": [{"type": "integer"}, {"type": "number"}]}, "a?: number,"),
        ({"anyOf": []}, "a?: any,"),
        ({"allOf": [{"$ref": "#/properties/a/$defs/b"}], "$defs": {"b": {"enum": ["x", "y"]}}}, 'a?: "x" | "y",'),
        ({"allOf": [{"type": "string"}, {"minLength": 1}]}, "a?: string,"),
        ({"allOf": [{"enum": ["x", "y"]}, {"type": "string"}]}, 'a?: ("x" | "y") & string,'),
        ({"allOf": []}, "a?: any,"),
        ({"type": ["string", "null"], "enum": ["x", None]}, 'a?: "x" | null,'),
        ({"type": "array", "items": {"enum": ["x", 2]}}, 'a?: ("x" | 2)[],'),
        ({"const": 3, "type": "integer"}, "a?: 3,"),
        ({"const": "on"}, 'a?: "on",'),
        ({"type": "integer", "enum": [1, 2]}, "a?: 1 | 2,"),
        ({"enum": ["x", 1, None]}, 'a?: "x" | 1 | null,'),
        ({"type": "array", "items": {"type": ["string", "null"]}}, "a?: (string | null)[],"),
        ({"type": "string", "examples": [3, "b"]}, '// Examples:\n// - 3\n// - "b"\na?: string,'),
        ({"type": "string", "default": 'say "hi"'}, 'a?: string, // default: "say \\"hi\\""'),
        ({"description": "d", "oneOf": [{"type": "number", "description": "v"}]}, "// d\na?:\n | number // v\n,"),
        (True, "a?: any,"),
        ({"type": 7}, "a?: any,"),
    ],
)
def test_renders_what_the_library_loses(schema: Any, written: str) -> None:
    assert _field(schema) == written


def test_resolves_references_inside_the_document() -> None:
    schema = {
        "type": "object",
        "properties": {"at": {"$ref": "#/$defs/a~1b"}, "far": {"$ref": "http://x/y"}, "no": {"$ref": "#/$defs/none"}},
        "$defs": {"a/b": {"type": "object", "properties": {"x": {"type": "integer"}}}},
    }
    assert to_typescript(schema) == "{\nat?: {\n    x?: number,\n    },\nfar?: any,\nno?: any,\n}"


def test_a_schema_that_refers_to_itself_ends() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#"}, "kids": {"type": "array", "items": {"$ref": "#"}}}}
    assert to_typescript(node).count("any") >= 2


def test_a_very_deep_schema_ends() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(5000):
        schema = {"type": "array", "items": schema}
    assert to_typescript(schema).startswith("any[]")
