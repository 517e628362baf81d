"""Undo and redo: files and conversation go back and come back together, and nobody else's work is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gptoss_tui.agent.agent import Agent
from gptoss_tui.agent.events import Notice, TurnFinished
from gptoss_tui.agent.session import SessionStore
from gptoss_tui.errors import UndoError, UsageError
from gptoss_tui.harmony.tokenizer import load_tokenizer
from gptoss_tui.tools.base import Workspace
from gptoss_tui.tools.registry import ToolRegistry, workspace_tools
from gptoss_tui.undo import UndoStore
from tests.agent.helpers import ANSWER, make_engine, only, run_turn
from tests.agent.scripted_engine import ScriptedEngine


def patch(*lines: str) -> str:
    text = "\n".join(["*** Begin Patch", *lines, "*** End Patch"])
    return f" to=functions.apply_patch<|channel|>commentary<|message|>{text}<|call|>"


ADD = patch("*** Add File: a.txt", "+one", "+two", "+three")
CHANGE = patch("*** Update File: a.txt", "@@", " one", "-two", "+TWO", " three", "*** Add File: b.txt", "+new")
MOVE = patch("*** Update File: a.txt", "*** Move to: moved/c.txt", "@@", " one", "*** Delete File: b.txt")


def make(root: Path, *scripts: str, engine: ScriptedEngine | None = None, **options: Any) -> Agent:
    """An agent in `root`/w with an undo store and sessions beside it."""
    work = root / "w"
    work.mkdir(exist_ok=True)
    store = UndoStore(work, root / "undo")
    return Agent(
        engine or make_engine(*scripts),
        load_tokenizer(),
        ToolRegistry(workspace_tools(Workspace(work.resolve()), write=store.apply)),
        workspace=work,
        session_store=SessionStore(root / "s"),
        undo_store=store,
        **options,
    )


def files(root: Path) -> dict[str, str]:
    work = root / "w"
    return {str(p.relative_to(work)): p.read_text() for p in sorted(work.rglob("*")) if p.is_file()}


async def three_edits(root: Path, *more: str) -> Agent:
    """Turns "add", "change" and "move"."""
    agent = make(root, ADD, ANSWER, CHANGE, ANSWER, MOVE, ANSWER, *more)
    for text in ("add", "change", "move"):
        assert only(await run_turn(agent, text), TurnFinished).reason == "done"
    return agent


ADDED = {"a.txt": "one\ntwo\nthree\n"}
CHANGED = {"a.txt": "one\nTWO\nthree\n", "b.txt": "new\n"}
MOVED = {"moved/c.txt": "one\nTWO\nthree\n"}


async def test_turns_are_taken_back_one_by_one_and_made_again(tmp_path: Path) -> None:
    agent = await three_edits(tmp_path)
    states = [(MOVED, 3)]
    for expected, text, left in ((CHANGED, "move", 2), (ADDED, "change", 1), ({}, "add", 0)):
        tokens = agent.conversation.tokens
        outcome = await agent.undo()
        assert (outcome.text, outcome.turns, outcome.conflicts) == (text, (left + 1,), ())
        assert (files(tmp_path), len(agent.turns())) == (expected, left)
        states.append((expected, left))
        again = await agent.redo()
        assert (again.text, again.turns) == (text, (left + 1,))
        assert (files(tmp_path), len(agent.turns())) == states[-2]
        assert agent.conversation.tokens == tokens
        await agent.undo()
    with pytest.raises(UsageError, match="no turn to undo"):
        await agent.undo()


async def test_several_turns_go_back_at_once_without_git_and_across_moves_and_deletions(tmp_path: Path) -> None:
    agent = await three_edits(tmp_path, ANSWER)
    assert files(tmp_path) == MOVED
    outcome = await agent.undo(2)
    assert (outcome.turns, outcome.text) == ((3, 2), "change")
    assert [sorted(r.restored) for r in outcome.reports] == [["a.txt", "b.txt", "moved/c.txt"], ["a.txt", "b.txt"]]
    assert files(tmp_path) == ADDED
    assert [turn.text for turn in agent.turns()] == ["add"]
    again = await agent.redo()
    assert (again.turns, again.text) == ((2, 3), "change")
    assert files(tmp_path) == MOVED
    assert [turn.text for turn in agent.turns()] == ["add", "change", "move"]


async def test_what_the_user_changed_meanwhile_is_asked_about_and_kept_until_then(tmp_path: Path) -> None:
    agent = await three_edits(tmp_path)
    mine = "one\nmine\nthree\n"
    (tmp_path / "w" / "moved" / "c.txt").write_text(mine)
    outcome = await agent.undo(2)
    assert [conflict.path for conflict in outcome.conflicts] == ["moved/c.txt"]
    assert outcome.turns == ()
    assert files(tmp_path) == {"moved/c.txt": mine}
    assert len(agent.turns()) == 3, "nothing of a turn whose files are not settled is dropped"
    outcome = await agent.undo(3, {"moved/c.txt": "restore"})
    assert (outcome.turns, outcome.conflicts) == ((3,), ())
    assert files(tmp_path) == CHANGED


async def test_the_conversation_goes_back_as_far_as_the_files_did(tmp_path: Path) -> None:
    agent = await three_edits(tmp_path)
    (tmp_path / "w" / "b.txt").write_text("somebody else's\n")
    outcome = await agent.undo(1)
    assert outcome.conflicts
    assert [turn.text for turn in agent.turns()] == ["add", "change", "move"][: 3 - len(outcome.turns)]
    assert files(tmp_path)["b.txt"] == "somebody else's\n"


async def test_a_turn_without_edits_only_leaves_the_conversation(tmp_path: Path) -> None:
    agent = make(tmp_path, ADD, ANSWER, ANSWER, ANSWER)
    await run_turn(agent, "add")
    await run_turn(agent, "talk")
    outcome = await agent.undo()
    assert (outcome.text, outcome.reports) == ("talk", ())
    assert files(tmp_path) == ADDED


async def test_a_rewind_leaves_the_files_and_comes_back_too(tmp_path: Path) -> None:
    agent = await three_edits(tmp_path)
    agent.rewind(2)
    assert files(tmp_path) == MOVED
    outcome = await agent.redo()
    assert (outcome.turns, outcome.reports) == ((2, 3), ())
    assert len(agent.turns()) == 3


async def test_a_new_message_ends_what_can_be_made_again(tmp_path: Path) -> None:
    agent = await three_edits(tmp_path, ANSWER)
    await agent.undo()
    await run_turn(agent, "other")
    with pytest.raises(UsageError, match="nothing to redo"):
        await agent.redo()


async def test_undo_and_redo_after_the_program_ended(tmp_path: Path) -> None:
    first = await three_edits(tmp_path)
    await first.undo()
    tokens = first.conversation.tokens
    first.close()
    second = make(tmp_path)
    second.resume("last")
    assert second.conversation.tokens == tokens
    assert (await second.redo()).text == "move"
    assert files(tmp_path) == MOVED
    second.close()
    third = make(tmp_path)
    third.resume("last")
    assert len(third.turns()) == 3
    await third.undo(1)
    assert files(tmp_path) == {}


async def test_the_edits_of_a_fork_are_those_of_its_turns(tmp_path: Path) -> None:
    agent = await three_edits(tmp_path)
    agent.fork(3)
    with pytest.raises(UsageError, match="nothing to redo"):
        await agent.redo()
    outcome = await agent.undo()
    assert {conflict.path for conflict in outcome.conflicts} == {"a.txt"}, "the move stands in the way"


async def test_the_same_turn_of_two_sessions_is_not_mixed_up(tmp_path: Path) -> None:
    agent = make(tmp_path, ADD, ANSWER, patch("*** Add File: z.txt", "+z"), ANSWER)
    await run_turn(agent, "add")
    agent.new_conversation()
    await run_turn(agent, "z")
    await agent.undo()
    assert files(tmp_path) == ADDED


async def test_without_a_store_undo_is_a_rewind(tmp_path: Path) -> None:
    agent = Agent(make_engine(ANSWER), load_tokenizer(), ToolRegistry([]), workspace=tmp_path)
    await run_turn(agent)
    assert (await agent.undo()).text == "create hello.py"
    assert agent.turns() == ()


async def test_a_store_that_fails_says_so_and_drops_nothing(tmp_path: Path) -> None:
    agent = await three_edits(tmp_path)
    database = next((tmp_path / "undo").rglob("edits.sqlite"))
    folder = database.parent
    folder.rename(tmp_path / "gone")
    folder.write_text("a file is in the way")
    with pytest.raises(UndoError, match="no longer stored"):
        await agent.undo()
    assert len(agent.turns()) == 3
    folder.unlink()
    (tmp_path / "gone").rename(folder)
    assert (await agent.undo()).text == "move"


async def test_what_a_killed_process_left_is_said_with_the_next_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = make(tmp_path, ANSWER, ANSWER)
    monkeypatch.setattr(UndoStore, "recover", lambda self: ("A change of x was interrupted.",))
    assert only(await run_turn(agent), Notice).text == "A change of x was interrupted."
    assert not [e for e in await run_turn(agent) if isinstance(e, Notice)]


async def test_nothing_begins_while_files_go_back(tmp_path: Path) -> None:
    agent = await three_edits(tmp_path)
    going = agent.undo()
    going.send(None)
    with pytest.raises(UsageError, match="A turn is running"):
        await anext(agent.submit("now"))
    going.close()
