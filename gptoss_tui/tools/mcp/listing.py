"""What a server offers, in our own types: tools as the model reads them, and resources and prompts."""

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
"""Names with another meaning in rules; tools of these names are left out."""

_NAMED = ("properties", "$defs", "definitions")
_INNER = ("items", "anyOf", "oneOf", "allOf", "additionalProperties")


@dataclass(frozen=True, slots=True)
class OfferedTool:
    """A tool: the server's name for it, and the declaration that the model reads."""

    name: str
    declaration: FunctionDeclaration


@dataclass(frozen=True, slots=True)
class Offer:
    """A resource or a prompt: its URI or name, and its description.

    `pattern` means that the URI has parts in braces to fill in. `arguments` are those of a prompt, and `required` the
    mandatory ones among them.
    """

    name: str
    description: str
    pattern: bool = False
    arguments: tuple[str, ...] = ()
    required: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Listing:
    """Everything that a server offers."""

    tools: tuple[OfferedTool, ...] = ()
    resources: tuple[Offer, ...] = ()
    prompts: tuple[Offer, ...] = ()


def namespace_name(server: str, taken: Iterable[str] = ()) -> str:
    """The namespace for a server: only letters, digits, `_` and `-`, and neither reserved nor in `taken`."""
    name = _NOT_IN_NAMES.sub("_", server).strip("_-")[:_MAX_NAME] or "server"
    return distinct(f"mcp_{name}" if name.lower() in _TAKEN else name, set(taken))


def offered_tools(tools: Iterable[tuple[str, str, Any]]) -> tuple[OfferedTool, ...]:
    """Convert a server's tools from name, description and schema, which may have any size and shape."""
    found: dict[str, OfferedTool] = {}
    for name, description, schema in tools:
        if len(found) < MAX_TOOLS and name not in _MEANING_MORE:
            shown = distinct(_NOT_IN_NAMES.sub("_", name)[:_MAX_NAME] or "tool", found)
            declaration = FunctionDeclaration(shown, cut(description, MAX_DESCRIPTION), _parameters(schema))
            found[shown] = OfferedTool(name, declaration)
    return tuple(found.values())


def cut(text: str, length: int) -> str:
    """Shorten `text` to `length` characters, ending in `…` if it was cut."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _parameters(schema: Any) -> Mapping[str, Any] | None:
    """Convert a schema to one that can be rendered; None for a tool without arguments."""
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
    """Remove titles from a schema: libraries generate them from parameter names, so they add nothing."""
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
    """Return `name`, with a number appended if needed to make it differ from all in `taken`."""
    taken = set(taken)
    number, found = 2, name
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    return found
