"""Parses the arguments that a model wrote against the tool's declaration: leniently, with clear errors otherwise."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gptoss_tui.errors import ToolError
from gptoss_tui.harmony.messages import FunctionDeclaration


def parse_arguments(text: str, declaration: FunctionDeclaration) -> dict[str, Any]:
    """Return the arguments in `text`, checked and with defaults filled in.

    Besides a JSON object, accepts an empty text for no arguments, a bare value for the first parameter, a code fence
    around either, and numbers as strings. Raises ToolError that shows the right form for anything else.
    """
    schema = declaration.parameters or {}
    properties: Mapping[str, Mapping[str, Any]] = schema.get("properties", {})
    given = _object(text, declaration, properties)
    unknown = sorted(set(given) - set(properties))
    if unknown:
        raise wrong_arguments(declaration, f"unknown argument {', '.join(unknown)}")
    values: dict[str, Any] = {}
    for name, rule in properties.items():
        value = given.get(name)
        if value is None:
            if name in schema.get("required", ()):
                raise wrong_arguments(declaration, f"the argument {name} is missing")
            value = rule.get("default")
        else:
            value = _coerced(value, rule.get("type"), name, declaration)
        values[name] = value
    return values


def _object(text: str, declaration: FunctionDeclaration, properties: Mapping[str, Any]) -> Mapping[str, Any]:
    stripped = _without_fence(text.strip())
    if not stripped:
        return {}
    try:
        value = json.loads(stripped, strict=False)
    except (ValueError, RecursionError):
        if stripped[0] in '{["' or "\n" in stripped:
            raise wrong_arguments(declaration, "the arguments are not valid JSON") from None
        value = stripped
    if value is None:
        return {}
    if isinstance(value, dict):
        return value
    if properties and isinstance(value, str | int | float) and not isinstance(value, bool):
        return {next(iter(properties)): value if isinstance(value, str) else stripped}
    raise wrong_arguments(declaration, "the arguments are not a JSON object")


def _without_fence(text: str) -> str:
    if text.startswith("```") and text.endswith("```") and "\n" in text:
        return text[text.index("\n") : -3].strip()
    return text


def _coerced(value: object, kind: object, name: str, declaration: FunctionDeclaration) -> object:
    if kind == "string":
        if isinstance(value, str):
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        raise wrong_arguments(declaration, f"{name} is not a string")
    if kind == "integer":
        try:
            number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
        except (ValueError, OverflowError):
            number = None
        if number is None or not number.is_integer():
            raise wrong_arguments(declaration, f"{name} is not a whole number")
        return int(number)
    return value


def wrong_arguments(declaration: FunctionDeclaration, what: str) -> ToolError:
    """Return an error that says what is wrong and shows the right form."""
    schema = declaration.parameters or {}
    form = json.dumps(_example({**schema, "type": "object"}), ensure_ascii=False)
    return ToolError(f"{declaration.name}: {what}. The arguments are a JSON object like {form}.")


def _example(rule: Mapping[str, Any]) -> object:
    """Return a value that the schema `rule` allows."""
    if "default" in rule:
        return rule["default"]
    match rule.get("type"):
        case "object":
            return {name: _example(inner) for name, inner in rule.get("properties", {}).items()}
        case "array":
            return [_example(rule.get("items", {}))]
        case "integer":
            return 1
        case _:
            return next(iter(rule.get("enum", ())), "…")
