"""JSON Schemas at random, of the shapes that programs ask models for; most are bounded, so that they come to an end."""

from __future__ import annotations

import random
from typing import Any

_WORDS = ("name", "age", "tags", "é", "a b", "x-y", "$id", 'say "hi"', "path\\to", "2", "", "日本", "items", "type")
_PATTERNS = ("^[a-z]{1,5}$", "^[A-Z][a-z]+-[0-9]{2,4}$", "^(yes|no)$", "^#[0-9a-fA-F]{6}$", "^\\d{1,3}(\\.\\d{1,2})?$")
_FORMATS = ("date", "uuid", "ipv4")


def random_schema(source: random.Random) -> dict[str, Any]:
    """An object at the top, with definitions that it may refer to."""
    names = ["one", "two"]
    schema = _object(source, 0, names)
    schema["$defs"] = {name: _any(source, 2, []) for name in names}
    return schema


def _any(source: random.Random, depth: int, names: list[str]) -> dict[str, Any]:
    makers = [_string, _integer, _number, _enum, _plain]
    if depth < 3:
        makers += [_object, _array, _union]
    if names and source.random() < 0.1:
        return {"$ref": f"#/$defs/{source.choice(names)}"}
    return source.choice(makers)(source, depth + 1, names)


def _object(source: random.Random, depth: int, names: list[str]) -> dict[str, Any]:
    keys = source.sample(_WORDS, source.randint(0 if depth else 1, 4))
    return {
        "type": "object",
        "properties": {key: _any(source, depth, names) for key in keys},
        "required": [key for key in keys if source.random() < 0.7],
        "additionalProperties": False,
    }


def _array(source: random.Random, depth: int, names: list[str]) -> dict[str, Any]:
    least = source.randint(0, 2)
    return {"type": "array", "items": _any(source, depth, names), "minItems": least, "maxItems": least + 2}


def _union(source: random.Random, depth: int, names: list[str]) -> dict[str, Any]:
    return {"anyOf": [_any(source, depth, names) for _ in range(source.randint(2, 3))]}


def _string(source: random.Random, depth: int, names: list[str]) -> dict[str, Any]:
    match source.randrange(4):
        case 0:
            return {"type": "string", "pattern": source.choice(_PATTERNS)}
        case 1:
            return {"type": "string", "format": source.choice(_FORMATS)}
        case _:
            least = source.randint(0, 3)
            return {"type": "string", "minLength": least, "maxLength": least + source.randint(0, 20)}


def _integer(source: random.Random, depth: int, names: list[str]) -> dict[str, Any]:
    least = source.randint(-2000, 1000)
    bounds = {"minimum": least, "maximum": least + source.randint(0, 3000)}
    if source.random() < 0.2:
        return {"type": "integer", "minimum": 0, "maximum": 100, "multipleOf": source.choice((2, 5, 10))}
    return {"type": "integer", **bounds}


def _number(source: random.Random, depth: int, names: list[str]) -> dict[str, Any]:
    least = source.randint(-50, 50)
    return {"type": "number", "exclusiveMinimum": least, "maximum": least + source.randint(1, 100)}


def _enum(source: random.Random, depth: int, names: list[str]) -> dict[str, Any]:
    values = source.sample((1, 2.5, -3, None, True, False, "red", "a\nb", "日", "", [1], {"k": "v"}), 3)
    return {"const": values[0]} if source.random() < 0.3 else {"enum": values}


def _plain(source: random.Random, depth: int, names: list[str]) -> dict[str, Any]:
    """Unbounded, as people write them."""
    return source.choice(
        ({"type": "boolean"}, {"type": "null"}, {"type": ["boolean", "null"]}, {"type": "string"}, {"type": "integer"})
    )
