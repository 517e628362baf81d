"""Renders JSON Schema as the TypeScript-like text that the models were trained to read function parameters in.

Follows openai-harmony's rendering exactly, except where the library loses information of the schema: here every line of
a description is a comment; `anyOf`, `allOf`, `$ref`, `const` and enums of any type are rendered; and an array of a
union is put in brackets.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

MAX_DEPTH = 24
"""Schemas that are deeper than this (or refer to themselves) end in `any`."""

_SCALARS = {"string": "string", "number": "number", "integer": "number", "boolean": "boolean", "null": "null"}


@dataclass(frozen=True, slots=True)
class _Scope:
    """The position of a schema: the document that `$ref` refers to, references being resolved, indentation, depth."""

    root: Mapping[str, Any]
    indent: str = ""
    depth: int = 0
    refs: frozenset[str] = frozenset()

    def deeper(self, by: str = "") -> _Scope:
        return replace(self, indent=self.indent + by, depth=self.depth + 1)


def to_typescript(schema: Mapping[str, Any]) -> str:
    """The type of a function's one argument: `{\\npath: string,\\n}`, `string`, `any`."""
    return _type(schema, _Scope(root=schema))


def _type(schema: Any, scope: _Scope) -> str:
    if not isinstance(schema, Mapping) or scope.depth > MAX_DEPTH:
        return "any"
    if isinstance(schema.get("$ref"), str):
        return _reference(schema["$ref"], scope)
    if isinstance(schema.get("oneOf"), list):
        return "".join(f"\n{scope.indent} | {_variant(v, scope)}" for v in schema["oneOf"])
    if isinstance(schema.get("anyOf"), list):
        return " | ".join(_distinct(_type(v, scope.deeper()) for v in schema["anyOf"])) or "any"
    if isinstance(schema.get("allOf"), list) and "properties" not in schema:
        return _all_of(schema["allOf"], scope)
    if "const" in schema:
        return _literal(schema["const"])
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return " | ".join(_literal(value) for value in schema["enum"])
    kind = schema.get("type")
    if isinstance(kind, list):
        return " | ".join(_distinct(_named(k, schema, scope) for k in kind)) or "any"
    return _named(kind, schema, scope)


def _all_of(schemas: Sequence[Any], scope: _Scope) -> str:
    """An intersection of schemas. Those that do not restrict the type are left out; unions are put in brackets."""
    parts = [(schema, _type(schema, scope.deeper())) for schema in schemas]
    told = [(schema, written) for schema, written in parts if written != "any"]
    if len(told) < 2:
        return told[0][1] if told else "any"
    return " & ".join(_distinct(f"({text})" if _is_union(schema, text) else text for schema, text in told))


def _named(kind: Any, schema: Mapping[str, Any], scope: _Scope) -> str:
    if kind == "object":
        return _object(schema, scope)
    if kind == "array":
        return _array(schema, scope)
    return _SCALARS.get(kind, "any") if isinstance(kind, str) else "any"


def _object(schema: Mapping[str, Any], scope: _Scope) -> str:
    lines = _comments(schema.get("description"), scope.indent)
    lines.append("{")
    properties = schema.get("properties")
    required = schema.get("required")
    needed = set(required) if isinstance(required, list) else set()
    if isinstance(properties, Mapping):
        for name, value in properties.items():
            lines += _property(name if name in needed else f"{name}?", value, scope)
    lines.append(f"{scope.indent}}}")
    return "\n".join(lines)


def _property(label: str, schema: Any, scope: _Scope) -> list[str]:
    """The lines of one field: comments, then `label: type,` followed by its default."""
    if not isinstance(schema, Mapping):
        return [f"{scope.indent}{label}: any,"]
    indent = scope.indent
    one_of = schema.get("oneOf")
    lines = _title(schema, indent)
    described = _comments(schema.get("description"), indent)
    examples = _examples(schema, indent)
    if isinstance(one_of, list):
        lines += examples + described
        if "default" in schema:
            lines.append(f"{indent}// {_default(schema)}")
        lines.append(f"{indent}{label}:")
        lines += [f"{indent} | {_variant(v, scope)}" for v in one_of]
        return [*lines, f"{indent},"]
    comment = f" // {_default(schema)}" if "default" in schema else ""
    written = _nullable(_type(schema, scope.deeper("    ")), schema)
    return [*lines, *described, *examples, f"{indent}{label}: {written},{comment}"]


def _variant(schema: Any, scope: _Scope) -> str:
    """One alternative of a `oneOf`, followed by its description and default."""
    if not isinstance(schema, Mapping):
        return "any"
    notes = []
    if isinstance(schema.get("description"), str):
        notes.append(" ".join(lines_of(schema["description"])))
    if "default" in schema:
        notes.append(_default(schema))
    written = _nullable(_type(schema, scope.deeper("   ")), schema)
    return f"{written} // {' '.join(notes)}" if notes else written


def _array(schema: Mapping[str, Any], scope: _Scope) -> str:
    if "items" not in schema:
        return "Array<any>"
    items = _type(schema["items"], scope.deeper())
    return f"({items})[]" if _is_union(schema["items"], items) else f"{items}[]"


def _is_union(schema: Any, written: str) -> bool:
    return " | " in written and isinstance(schema, Mapping) and schema.get("type") not in ("object", "array")


def _reference(pointer: str, scope: _Scope) -> str:
    """The schema that a `#/...` pointer refers to; `any` for an external or circular reference."""
    if pointer in scope.refs or not pointer.startswith("#"):
        return "any"
    target: Any = scope.root
    for part in pointer[1:].split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(target, Mapping) or key not in target:
            return "any"
        target = target[key]
    return _type(target, replace(scope.deeper(), refs=scope.refs | {pointer}))


def _nullable(written: str, schema: Mapping[str, Any]) -> str:
    return f"{written} | null" if schema.get("nullable") is True and "null" not in written else written


def _title(schema: Mapping[str, Any], indent: str) -> list[str]:
    lines = _comments(schema.get("title"), indent)
    return [*lines, f"{indent}//"] if lines else []


def _examples(schema: Mapping[str, Any], indent: str) -> list[str]:
    examples = schema.get("examples")
    if not isinstance(examples, list) or not examples:
        return []
    return [f"{indent}// Examples:", *(f"{indent}// - {_literal(e)}" for e in examples)]


def _comments(text: Any, indent: str) -> list[str]:
    """Each line of `text` as a comment: a line without `//` would be read as part of the type."""
    return [f"{indent}// {line}" for line in lines_of(text)] if isinstance(text, str) else []


def lines_of(text: str) -> list[str]:
    """Split text at LF and CRLF into at least one line. A CR elsewhere or at the end of the text is kept.

    (`splitlines` would also split at form feeds and U+2028.)
    """
    *ended, last = text.split("\n")
    lines = [line.removesuffix("\r") for line in ended]
    return [*lines, last] if last or not lines else lines


def _default(schema: Mapping[str, Any]) -> str:
    value = schema["default"]
    is_enum = bool(schema.get("enum"))
    return f"default: {value if isinstance(value, str) and is_enum else _literal(value)}"


def _literal(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


def _distinct(types: Any) -> Sequence[str]:
    return list(dict.fromkeys(types))
