"""What a model may write while it answers with the tools that it has."""

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
    """`headers`: only well-formed ones, to tools that are offered. `answer`: the form of final messages.

    `strict`: the arguments of a call follow the schema of its tool. A tool whose schema cannot be enforced takes any
    arguments, as without, and checks them itself. `grounded`: a patch names files that there are, and repeats lines
    that stand in them; it needs `headers`.
    """

    headers: bool = True
    answer: AnswerSchema | None = None
    strict: bool = False
    grounded: bool = False

    def enforceable(self, info: EngineInfo) -> Constraints:
        """What of this the engine can enforce. A server can hold text to a schema at best, and a header to nothing."""
        if info.masks:
            return self
        if not info.schemas:
            return Constraints(headers=False)
        return Constraints(headers=False, answer=self.answer, strict=self.strict)

    @property
    def format(self) -> ResponseFormat | None:
        """What the model is told about the form of its answers."""
        return self.answer.format if self.answer else None

    def automaton(self, tokenizer: Tokenizer, registry: ToolRegistry) -> TokenAutomaton | None:
        """What may follow `<|start|>assistant` with the tools of `registry`; None when anything may."""
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
        """Whether the engine has to be told about the files that a patch is about."""
        return self.headers and self.grounded


def argument_grammars(registry: ToolRegistry) -> dict[str, Grammar]:
    """By recipient what enforces the arguments of each tool that takes an object."""
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
