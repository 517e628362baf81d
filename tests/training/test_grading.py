"""The evaluation: what counts as right, and its numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from gptoss_tui.agent.events import Event, Recovered, ToolFinished, TurnFinished
from gptoss_tui.engine.types import EngineSpec
from gptoss_tui.engine.worker.client import EngineClient
from gptoss_tui.harmony.tokenizer import load_tokenizer
from gptoss_tui.tools.base import Workspace
from training.data import preamble_ids
from training.data.chat import Expectation
from training.data.holdout import held_out_chat
from training.data.trial import trial_chats
from training.evaluate import BARS, PROMPTS, prompts, table, wilson
from training.grading import Outcome, grade, is_harmony, make_agent, read_files, run_python, write_files


def done(answer: str, *tools: str) -> list[Event]:
    """The events of a turn that called `tools` and ended with `answer`."""
    calls = [ToolFinished(item_id="1", tool=t, status="ok", output="", seconds=0.0) for t in tools]
    return [*calls, TurnFinished(reason="done", answer=answer)]


def test_right_file_and_tool() -> None:
    expected = Expectation(files_after={"a.py": "x\n"}, tool="functions.apply_patch", answer_has=("a.py",))
    assert grade(expected, done("I created a.py.", "apply_patch"), {"a.py": "x\n"}) == []


@pytest.mark.parametrize(
    ("files", "tools", "answer", "what"),
    [
        ({"a.py": "y\n"}, ("apply_patch",), "a.py", "file a.py"),
        ({}, ("apply_patch",), "a.py", "missing"),
        ({"a.py": "x\n", "b": ""}, ("apply_patch",), "a.py", "should not be there"),
        ({"a.py": "x\n"}, (), "a.py", "tool"),
        ({"a.py": "x\n"}, ("apply_patch",), "done", "lacks"),
    ],
)
def test_wrong_outcomes(files: dict[str, str], tools: tuple[str, ...], answer: str, what: str) -> None:
    expected = Expectation(files_after={"a.py": "x\n"}, tool="functions.apply_patch", answer_has=("a.py",))
    problems = grade(expected, done(answer, *tools), files)
    assert len(problems) == 1
    assert what in problems[0]


def test_talk_must_use_no_tool_and_change_no_file() -> None:
    expected = Expectation(files_before={"a": "1"}, answer="Hello!")
    assert grade(expected, done("Hello!"), {"a": "1"}) == []
    assert grade(expected, done("Hello!", "read_file"), {"a": "1"})
    assert grade(expected, done("Hi!"), {"a": "1"})
    assert grade(expected, done("Hello!"), {"a": "2"})


def test_harmony_needs_an_answer_and_no_repair() -> None:
    assert is_harmony(done("yes"))
    assert not is_harmony(done(""))
    assert not is_harmony([Recovered(item_id="1", what="odd header"), *done("yes")])
    assert not is_harmony([TurnFinished(reason="failed", answer="yes")])


async def test_run_python_is_bounded() -> None:
    assert await run_python("print(17 * 23)") == "391\n"
    assert "ZeroDivisionError" in await run_python("print(1 / 0)")
    assert "MemoryError" in await run_python("x = bytearray(2 * 1024**3)")


def test_files_keep_their_bytes(tmp_path: Path) -> None:
    files = {"a/b.txt": "one\r\ntwo", "c": ""}
    write_files(tmp_path, files)
    assert read_files(tmp_path) == files


def test_wilson_interval() -> None:
    low, high = wilson(8, 10)
    assert (round(low, 1), round(high, 1)) == (49.0, 94.3)
    assert wilson(0, 0) == (0.0, 100.0)
    assert wilson(10, 10)[1] == 100.0


def test_the_bar_is_measured_on_300_prompts() -> None:
    assert sum(PROMPTS[skill] for skill in BARS) == 300
    chosen = prompts(tuple(BARS), 20, "combinations", 1)
    assert {skill for skill, _ in chosen} == set(BARS)
    assert len(chosen) == pytest.approx(20, abs=2)


def test_table_names_every_skill() -> None:
    outcomes = [
        Outcome("talk", "hi", True, (), ""),
        Outcome("talk", "yo", False, ("answer",), ""),
        Outcome("create", "x", True, (), ""),
    ]
    text = table(outcomes)
    assert "| valid harmony | 2/3 |" in text
    assert "| talk | 1/2 | 50.0 |" in text
    assert "| create | 1/1 |" in text


def test_trials_expect_something() -> None:
    for chat in trial_chats():
        assert chat.expectation.answer or chat.expectation.tool
        assert all(step.kind == "user" for step in chat.steps)


@pytest.mark.parametrize("skill", ["talk", "python", "browser"])
def test_agent_is_told_what_training_told(skill: str, tmp_path: Path) -> None:
    chat = held_out_chat(skill, 0, 1)
    agent = make_agent(EngineClient(EngineSpec(tmp_path)), load_tokenizer(), chat, Workspace(tmp_path.resolve()))
    assert agent.conversation.tokens == list(preamble_ids(chat.scene))
