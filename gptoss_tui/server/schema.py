"""What form texts of the model must have: answers in JSON, arguments of calls, input of custom tools."""

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
"""Characters of a grammar or schema: making one ready takes about ten seconds a megabyte."""

_ANY_OBJECT: Mapping[str, Any] = {"type": "object"}


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """The form of the answer. `told` is what the developer message says of it, `grammar` what holds the model to it."""

    kind: FormatKind = "text"
    told: str = ""
    grammar: Grammar | None = None


TEXT = AnswerFormat()


def read_format(fields: Fields, name: str, nested: str | None) -> AnswerFormat:
    """The format in field `name`; `nested` is the field in it that has the schema, None when it stands there itself.

    Raises ApiError, also for a schema that cannot be enforced.
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
    """What holds a function's arguments to their schema.

    A schema that cannot be enforced is none, but with `strict` it is an ApiError.
    """
    grammar = _json(parameters or _ANY_OBJECT)
    if strict:
        return required(grammar, fields.param("parameters"))
    return grammar if _problem(grammar) is None else None


def input_grammar(fields: Fields, syntax: str, definition: str) -> Grammar:
    """What holds the input of a custom tool. Raises ApiError."""
    return required(Grammar("regex" if syntax == "regex" else "lark", definition), fields.param("definition"))


def required(grammar: Grammar, param: str) -> Grammar:
    """The grammar, when it can be enforced. Raises ApiError."""
    problem = _problem(grammar)
    if problem is not None:
        raise invalid(problem[:1000], param, "invalid_json_schema" if grammar.kind == "json_schema" else None)
    return grammar


def _json(schema: Mapping[str, Any]) -> Grammar:
    return Grammar("json_schema", json.dumps(schema))


@lru_cache(maxsize=1024)
def _problem(grammar: Grammar) -> str | None:
    """Why a grammar cannot be enforced; None when it can."""
    if len(grammar.text) > MAX_GRAMMAR:
        return f"It has {len(grammar.text)} characters; at most {MAX_GRAMMAR} can be enforced."
    from gptoss_tui.engine.grammar.library import check_grammar

    try:
        check_grammar(grammar)
    except GrammarError as error:
        return error.message
    return None
