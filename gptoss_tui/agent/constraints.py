"""Constraints on what the model may write in a conversation with tools."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from gptoss_tui.agent.automaton import message_automaton
from gptoss_tui.agent.grounding import UNGROUNDED
from gptoss_tui.agent.structured import AnswerSchema, schema_grammar
from gptoss_tui.engine.constraint import Grammar, TokenAutomaton
from gptoss_tui.engine.types import EngineInfo
from gptoss_tui.errors import GrammarError
from gptoss_tui.harmony.messages import FunctionDeclaration, ResponseFormat
from gptoss_tui.harmony.tokenizer import Tokenizer
from gptoss_tui.tools.declarations import APPLY_PATCH
from gptoss_tui.tools.registry import ToolRegistry

PATCH = f"functions.{APPLY_PATCH.name}"


@dataclass(frozen=True, slots=True)
class Constraints:
    """What the model's output is constrained to.

    `headers`: message headers are well-formed and only call available tools. `answer`: final messages follow this
    schema. `strict`: the arguments of a call follow the schema of its tool; where a schema cannot be enforced, any
    arguments are allowed and the tool checks them itself. `grounded`: patches only name existing files and only repeat
    lines that are in them; this requires `headers`.
    """

    headers: bool = True
    answer: AnswerSchema | None = None
    strict: bool = False
    grounded: bool = False

    def enforceable(self, info: EngineInfo) -> Constraints:
        """The part of the constraints that the engine can enforce. Servers enforce schemas at best, and no headers."""
        if info.masks:
            return self
        if not info.schemas:
            return Constraints(headers=False)
        return Constraints(headers=False, answer=self.answer, strict=self.strict)

    @property
    def format(self) -> ResponseFormat | None:
        """The response format that the model is told about, if any."""
        return self.answer.format if self.answer else None

    def automaton(self, tokenizer: Tokenizer, registry: ToolRegistry) -> TokenAutomaton | None:
        """What may follow `<|start|>assistant` with the tools of `registry`; None when nothing is constrained."""
        if not (self.headers or self.answer or self.strict):
            return None
        return message_automaton(
            tokenizer,
            registry.recipients,
            answer=self.answer.grammar if self.answer else None,
            arguments={
                **(argument_grammars(registry) if self.strict else {}),
                **({PATCH: UNGROUNDED} if self.grounds_patches else {}),
            },
        )

    @property
    def grounds_patches(self) -> bool:
        """Whether patches are constrained, so that the engine needs the contents of the files they name."""
        return self.headers and self.grounded


def argument_grammars(registry: ToolRegistry) -> dict[str, Grammar]:
    """Grammars for the arguments of all tools that take an object and whose schema can be enforced, by recipient."""
    grammars = {}
    for recipient, schema in _schemas(registry):
        if schema.get("type") == "object" and _enforceable(grammar := schema_grammar(schema)):
            grammars[recipient] = grammar
    return grammars


def _schemas(registry: ToolRegistry) -> Iterator[tuple[str, Mapping[str, Any]]]:
    groups: list[tuple[str, tuple[FunctionDeclaration, ...]]] = [("functions", registry.declarations)]
    groups += [(namespace.name, namespace.functions) for namespace in registry.namespaces]
    for name, functions in groups:
        for function in functions:
            if function.parameters is not None:
                yield f"{name}.{function.name}", function.parameters


@lru_cache(maxsize=256)
def _enforceable(grammar: Grammar) -> bool:
    from gptoss_tui.engine.grammar.library import check_grammar

    try:
        check_grammar(grammar)
    except GrammarError:
        return False
    return True
