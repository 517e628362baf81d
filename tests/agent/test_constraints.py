"""What a turn may write: the form of answers, the arguments of calls, and what the model is told about them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from gptoss_tui.agent.constraints import Constraints, argument_grammars
from gptoss_tui.agent.events import TurnFinished
from gptoss_tui.agent.structured import AnswerSchema, read_answer_schema
from gptoss_tui.engine.constraint import TokenAutomaton
from gptoss_tui.errors import GrammarError
from gptoss_tui.harmony.messages import FunctionDeclaration, ToolNamespace, preamble_from_dict, preamble_to_dict
from gptoss_tui.tools.base import Workspace
from gptoss_tui.tools.registry import ToolRegistry, workspace_tools
from tests.agent.helpers import ANSWER, make_agent, make_engine, only, run_turn

SCHEMA = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"], "additionalProperties": False}


async def test_a_schema_is_enforced_and_the_model_is_told(tmp_path: Path) -> None:
    engine = make_engine(ANSWER)
    agent = make_agent(engine, tmp_path, constraints=Constraints(answer=AnswerSchema(SCHEMA, "point")))
    assert only(await run_turn(agent), TurnFinished).reason == "done"
    automaton = engine.requests[0].params.constraint
    assert isinstance(automaton, TokenAutomaton)
    assert [grammar.kind for grammar in automaton.grammars] == ["json_schema"]
    preamble = agent.conversation.preamble
    assert preamble.developer is not None
    assert preamble.developer.response_format is not None
    assert preamble.developer.response_format.name == "point"
    assert preamble_from_dict(preamble_to_dict(preamble)) == preamble


async def test_nothing_is_constrained_when_all_is_off(tmp_path: Path) -> None:
    engine = make_engine(ANSWER)
    await run_turn(make_agent(engine, tmp_path, constraints=Constraints(headers=False)))
    assert engine.requests[0].params.constraint is None


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[", "not JSON"),
        ("[]", "not an object"),
        ('{"type": "objec"}', "invalid at \\$.type"),
        ('{"type": "object", "not": {}}', "not"),
    ],
)
def test_a_schema_that_is_wrong_or_too_much_is_refused(text: str, what: str) -> None:
    with pytest.raises(GrammarError, match=what):
        read_answer_schema(text)


def test_an_answer_is_checked() -> None:
    schema = read_answer_schema('{"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}')
    assert schema.problem('{"x": 1}') is None
    assert "integer" in (schema.problem('{"x": "1"}') or "")
    assert "not JSON" in (schema.problem('{"x": 1') or "")
    assert "too deeply" in (schema.problem('{"x": ' + "[" * 100_000) or "")


def test_strict_arguments_follow_the_schemas_that_can_be_enforced(tmp_path: Path) -> None:
    """A patch is no object, and a schema that says too much is left to its tool."""
    registry = ToolRegistry(workspace_tools(Workspace(tmp_path)), [_Group()])
    assert set(argument_grammars(registry)) == {
        *(f"functions.{name}" for name in ("read_file", "list_files", "search_files")),
        "web.open",
    }


class _Group:
    """Two tools of a server."""

    tools = (SimpleNamespace(name="web.open"), SimpleNamespace(name="web.find"))
    namespace = ToolNamespace(
        "web",
        functions=(
            FunctionDeclaration("open", "", {"type": "object", "properties": {}}),
            FunctionDeclaration("find", "", {"type": "object", "not": {}}),
        ),
    )

    def cite(self, answer: str) -> tuple[()]:
        return ()

    def reset(self) -> None:
        """Nothing is kept."""
