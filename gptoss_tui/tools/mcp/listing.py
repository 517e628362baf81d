"""What a server offers, in our own values: its tools as the model reads them, its resources and prompts for people."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gptoss_tui.harmony.messages import FunctionDeclaration

MAX_TOOLS = 128
MAX_OFFERS = 200
MAX_DESCRIPTION = 1024
_MAX_SCHEMA = 16_384
_MAX_NAME = 64

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]+")
_TAKEN = frozenset({"functions", "browser", "python", "container", "assistant", "user", "system", "developer", "tool"})

_MEANING_MORE = frozenset({"*", "resources/read"})
"""Names that mean something else in a rule: no tool is called so."""

_NAMED = ("properties", "$defs", "definitions")
_INNER = ("items", "anyOf", "oneOf", "allOf", "additionalProperties")


@dataclass(frozen=True, slots=True)
class OfferedTool:
    """A tool: what the server calls it, and what the model is told."""

    name: str
    declaration: FunctionDeclaration


@dataclass(frozen=True, slots=True)
class Offer:
    """A resource or a prompt: its address or name, and what it is.

    `pattern`: the address has parts in braces that the reader fills in. `arguments` are those of a prompt, and
    `required` those of them that it needs.
    """

    name: str
    description: str
    pattern: bool = False
    arguments: tuple[str, ...] = ()
    required: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Listing:
    """All that a server offers."""

    tools: tuple[OfferedTool, ...] = ()
    resources: tuple[Offer, ...] = ()
    prompts: tuple[Offer, ...] = ()


def namespace_name(server: str, taken: Iterable[str] = ()) -> str:
    """The namespace of a server: letters, digits, `_` and `-`, and no name that means something else."""
    name = _NOT_IN_NAMES.sub("_", server).strip("_-")[:_MAX_NAME] or "server"
    return distinct(f"mcp_{name}" if name.lower() in _TAKEN else name, set(taken))


def offered_tools(tools: Iterable[tuple[str, str, Any]]) -> tuple[OfferedTool, ...]:
    """Tools from name, description and schema as a server gives them: any text, any size, any shape."""
    found: dict[str, OfferedTool] = {}
    for name, description, schema in tools:
        if len(found) < MAX_TOOLS and name not in _MEANING_MORE:
            shown = distinct(_NOT_IN_NAMES.sub("_", name)[:_MAX_NAME] or "tool", found)
            declaration = FunctionDeclaration(shown, cut(description, MAX_DESCRIPTION), _parameters(schema))
            found[shown] = OfferedTool(name, declaration)
    return tuple(found.values())


def cut(text: str, length: int) -> str:
    """`text`, or its beginning and `…`."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _parameters(schema: Any) -> Mapping[str, Any] | None:
    """A schema that can be rendered; None for a tool without arguments."""
    if not isinstance(schema, dict) or schema.get("type", "object") != "object":
        return {"type": "object", "properties": {}}
    if not schema.get("properties") and not schema.get("anyOf") and not schema.get("$ref"):
        return None
    try:
        schema = _untitled(schema)
        small = len(json.dumps(schema)) <= _MAX_SCHEMA
    except (ValueError, TypeError, RecursionError):
        small = False
    properties = schema.get("properties")
    names = list(properties)[:50] if isinstance(properties, dict) else []
    return schema if small else {"type": "object", "properties": {name: {} for name in names}}


def _untitled(schema: Any) -> Any:
    """A schema without titles: libraries make them from the names of parameters, and they only repeat these."""
    if isinstance(schema, list):
        return [_untitled(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: value for key, value in schema.items() if key != "title" or not isinstance(value, str)}
    for key, value in kept.items():
        if key in _NAMED and isinstance(value, dict):
            kept[key] = {name: _untitled(part) for name, part in value.items()}
        elif key in _INNER:
            kept[key] = _untitled(value)
    return kept


def distinct(name: str, taken: Iterable[str]) -> str:
    """`name`, or with the first number behind it that makes it another than those taken."""
    taken = set(taken)
    number, found = 2, name
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    return found
