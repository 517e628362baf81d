"""Restricts the form of the model's texts: JSON answers, arguments of calls, input of custom tools."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from gptoss_tui.engine.constraint import Grammar
from gptoss_tui.errors import GrammarError
from gptoss_tui.server.errors import invalid
from gptoss_tui.server.fields import Fields

FormatKind = Literal["text", "json_object", "json_schema"]

MAX_GRAMMAR = 65_536
"""Limit for a grammar or schema in characters: preparing one takes about ten seconds per megabyte."""

_ANY_OBJECT: Mapping[str, Any] = {"type": "object"}


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """The form of the answer. `told` describes it in the developer message, `grammar` enforces it."""

    kind: FormatKind = "text"
    told: str = ""
    grammar: Grammar | None = None


TEXT = AnswerFormat()


def read_format(fields: Fields, name: str, nested: str | None) -> AnswerFormat:
    """Read the format in field `name`; its schema is in the field `nested`, or directly in the format if that is None.

    Raises ApiError, also if a schema cannot be enforced.
    """
    style = fields.child(name)
    if style is None:
        return TEXT
    kind = style.choice("type", ("text", "json_object", "json_schema"))
    if kind is None:
        raise style.missing("type")
    if kind == "text":
        return TEXT
    if kind == "json_object":
        return AnswerFormat("json_object", "Answer with a JSON object.", _json(_ANY_OBJECT))
    described = style if nested is None else style.required_child(nested)
    schema = described.required_child("schema").values
    title = described.text("name") or "answer"
    about = described.text("description")
    lines = (f"## {title}", *(f"// {line}" for line in (about or "").splitlines()), json.dumps(schema))
    told = "# Response Formats\n\n" + "\n\n".join((lines[0], "\n".join(lines[1:])))
    return AnswerFormat("json_schema", told, required(_json(schema), described.param("schema")))


def arguments_grammar(fields: Fields, parameters: Mapping[str, Any] | None, *, strict: bool) -> Grammar | None:
    """The grammar that enforces a schema for a function's arguments.

    If the schema cannot be enforced, returns None, or with `strict` raises ApiError.
    """
    grammar = _json(parameters or _ANY_OBJECT)
    if strict:
        return required(grammar, fields.param("parameters"))
    return grammar if _problem(grammar) is None else None


def input_grammar(fields: Fields, syntax: str, definition: str) -> Grammar:
    """The grammar for the input of a custom tool. Raises ApiError."""
    return required(Grammar("regex" if syntax == "regex" else "lark", definition), fields.param("definition"))


def required(grammar: Grammar, param: str) -> Grammar:
    """Return the grammar if it can be enforced. Raises ApiError otherwise."""
    problem = _problem(grammar)
    if problem is not None:
        raise invalid(problem[:1000], param, "invalid_json_schema" if grammar.kind == "json_schema" else None)
    return grammar


def _json(schema: Mapping[str, Any]) -> Grammar:
    return Grammar("json_schema", json.dumps(schema))


@lru_cache(maxsize=1024)
def _problem(grammar: Grammar) -> str | None:
    """Why a grammar cannot be enforced; None if it can."""
    if len(grammar.text) > MAX_GRAMMAR:
        return f"It has {len(grammar.text)} characters; at most {MAX_GRAMMAR} can be enforced."
    from gptoss_tui.engine.grammar.library import check_grammar

    try:
        check_grammar(grammar)
    except GrammarError as error:
        return error.message
    return None
