"""Structured answers: final messages that follow a JSON Schema, for programs to read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gptoss_tui.engine.constraint import Grammar
from gptoss_tui.errors import GrammarError
from gptoss_tui.harmony.messages import ResponseFormat


@dataclass(frozen=True, slots=True)
class AnswerSchema:
    """The JSON Schema that every final message must follow, and its name.

    `told` means that the model also gets the schema in its prompt. The grammar alone enforces the form, but it does not
    let the model know the form in advance.
    """

    schema: Mapping[str, Any]
    name: str = "answer"
    told: bool = True

    @property
    def grammar(self) -> Grammar:
        """The grammar that enforces the schema."""
        return schema_grammar(self.schema)

    @property
    def format(self) -> ResponseFormat | None:
        """The response format that the model is told about; None when it is not `told`."""
        return ResponseFormat(self.name, json.dumps(self.schema, ensure_ascii=False)) if self.told else None

    def problem(self, answer: str) -> str | None:
        """Why `answer` does not match the schema; None when it does."""
        from jsonschema import Draft202012Validator

        try:
            value = json.loads(answer)
            found = next(Draft202012Validator(dict(self.schema)).iter_errors(value), None)
        except ValueError as error:
            return f"it is not JSON: {error}"
        except RecursionError:
            return "it is nested too deeply to be checked"
        return None if found is None else f"{found.json_path}: {found.message}"


def schema_grammar(schema: Mapping[str, Any]) -> Grammar:
    """The grammar that enforces a JSON Schema."""
    return Grammar("json_schema", json.dumps(schema, ensure_ascii=False))


def read_answer_schema(text: str, name: str = "answer", *, told: bool = True) -> AnswerSchema:
    """Parse a schema from JSON text. Raises GrammarError when it is invalid or cannot be fully enforced."""
    from gptoss_tui.engine.grammar.library import check_grammar

    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise GrammarError(f"The JSON schema is not JSON: {error}") from error
    if not isinstance(schema, dict):
        raise GrammarError("The JSON schema is not an object", hint='begin with {"type": "object", "properties": ...}')
    check_schema(schema)
    answer = AnswerSchema(schema, name, told)
    check_grammar(answer.grammar)
    return answer


def check_schema(schema: Mapping[str, Any]) -> None:
    """Raise GrammarError when the schema is not valid JSON Schema."""
    from jsonschema import Draft202012Validator, SchemaError

    try:
        Draft202012Validator.check_schema(dict(schema))
    except SchemaError as error:
        raise GrammarError(f"The JSON schema is invalid at {error.json_path}: {error.message}") from error
