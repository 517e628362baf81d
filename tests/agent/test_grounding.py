"""Patches held to the workspace while a real model writes them: the engine pauses, the turn says what there is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gptoss_tui.agent.constraints import Constraints
from gptoss_tui.agent.events import PromptProgress, StepFinished, ToolCall, ToolFinished, TurnFinished
from gptoss_tui.agent.grounding import Ground
from gptoss_tui.commands.loading import loaded_engine
from gptoss_tui.engine.constraint import TokenAutomaton
from gptoss_tui.engine.types import SamplingParams
from gptoss_tui.settings import Settings
from tests.agent.helpers import ANSWER, CALL_PATCH, files_in, make_agent, make_engine, only, run_turn


async def test_a_model_writes_a_patch_of_lines_that_there_are(tmp_path: Path) -> None:
    """The pauses in which the engine learns what there is do not show: a step stays one step."""
    (tmp_path / "app.py").write_text("def main():\n    print(1)\n\n\nmain()\n")
    async with loaded_engine(Settings().engine_spec()) as (engine, _):
        agent = make_agent(
            engine,  # type: ignore[arg-type]
            tmp_path,
            constraints=Constraints(grounded=True),
            sampling=SamplingParams(temperature=1.0, seed=3),
            mode="full-auto",
        )
        events = await run_turn(agent, "In app.py replace `print(1)` by `print(2)`.")
    steps = [event for event in events if isinstance(event, StepFinished)]
    assert [step.step for step in steps] == list(range(1, len(steps) + 1))
    for step in steps:
        assert step.prompt_tokens == step.cached_tokens + step.prefilled_tokens
        totals = {event.total for event in events if isinstance(event, PromptProgress) and event.step == step.step}
        assert totals == {step.prompt_tokens}
    patches = [event for event in events if isinstance(event, ToolCall) and event.tool == "apply_patch"]
    assert patches
    assert all("not in the file" not in e.output for e in events if isinstance(e, ToolFinished))


async def test_an_engine_is_told_only_when_it_asks(tmp_path: Path) -> None:
    engine = make_engine(CALL_PATCH, ANSWER)
    agent = make_agent(engine, tmp_path, constraints=Constraints(grounded=True))
    assert only(await run_turn(agent), TurnFinished).reason == "done"
    automaton = engine.requests[0].params.constraint
    assert isinstance(automaton, TokenAutomaton)
    assert [(grammar.kind, grammar.text) for grammar in automaton.grammars] == [("patch", "")]
    assert files_in(tmp_path) == ["hello.py"]


async def test_the_ground_is_the_files_that_there_are(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("secret.env\n")
    (tmp_path / "secret.env").write_text("a\r\nb")
    (tmp_path / "latin.txt").write_bytes(b"\xe9\n")
    ground = Ground(tmp_path)
    known = json.loads((await ground.grammar("*** Begin Patch\n*** Update File: secret.env\n")).text)
    assert known == {"paths": [".gitignore", "latin.txt", "secret.env"], "files": {"secret.env": ["a", "b"]}}
    known = json.loads((await ground.grammar("...\n*** Update File: latin.txt\n")).text)
    assert known["files"] == {"secret.env": ["a", "b"], "latin.txt": None}
    known = json.loads((await ground.grammar("*** Update File: ../../etc/passwd\n")).text)
    assert known["files"]["../../etc/passwd"] is None


async def test_in_a_large_workspace_every_path_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gptoss_tui.agent.grounding.MAX_FILES", 2)
    for name in "abc":
        (tmp_path / name).touch()
    assert json.loads((await Ground(tmp_path).grammar("")).text) == {"paths": None, "files": {}}
