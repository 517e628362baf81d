"""What an approved command changed goes back with its turn, as edits do."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from gptoss_tui.agent.agent import Agent
from gptoss_tui.agent.commands import Decision
from gptoss_tui.agent.events import ApprovalRequest, Notice, ToolOutputDelta
from gptoss_tui.agent.session import SessionStore
from gptoss_tui.harmony.tokenizer import load_tokenizer
from gptoss_tui.tools import watch
from gptoss_tui.tools.python.sandbox import SandboxError
from gptoss_tui.tools.registry import ToolRegistry, workspace_tools
from gptoss_tui.tools.shell.sandbox import ShellSandbox
from gptoss_tui.tools.shell.tool import ShellTool
from gptoss_tui.tools.workspace import open_workspace
from gptoss_tui.undo import UndoStore
from tests.agent.helpers import ANSWER, call, make_engine, only, run_turn
from tests.agent.test_undo import CHANGE, files


def no_sandbox(root: Path) -> ShellSandbox:
    """So that these run wherever bash does."""
    raise SandboxError("none in this test")


def make(root: Path, *scripts: str) -> Agent:
    """An agent in `root`/w that can run commands."""
    work = root / "w"
    work.mkdir()
    (work / "a.txt").write_text("one\ntwo\nthree\n")
    store = UndoStore(work, root / "undo")
    workspace = open_workspace(work)
    tools = (*workspace_tools(workspace, write=store.apply), ShellTool(workspace, find=no_sandbox))
    return Agent(
        make_engine(*scripts),
        load_tokenizer(),
        ToolRegistry(tools),
        workspace=work,
        session_store=SessionStore(root / "s"),
        undo_store=store,
    )


def shell(command: str) -> str:
    return call("shell", json.dumps({"command": command}))


BEFORE = {"a.txt": "one\ntwo\nthree\n"}


async def test_a_command_and_an_edit_of_one_turn_go_back_together(tmp_path: Path) -> None:
    agent = make(tmp_path, CHANGE, shell("sed -i s/three/drei/ a.txt; mkdir d; mv b.txt d/c.txt"), ANSWER)
    await run_turn(agent, "go")
    after = {"a.txt": "one\nTWO\ndrei\n", "d/c.txt": "new\n"}
    assert files(tmp_path) == after
    (turn,) = agent.turns()
    assert set(turn.files) == {"a.txt", "b.txt", "d/c.txt"}
    outcome = await agent.undo()
    assert (outcome.conflicts, files(tmp_path)) == ((), BEFORE)
    assert not (tmp_path / "w/d").exists()
    await agent.redo()
    assert files(tmp_path) == after


async def test_what_a_person_changed_since_is_kept(tmp_path: Path) -> None:
    agent = make(tmp_path, shell("sed -i s/three/drei/ a.txt"), ANSWER)
    await run_turn(agent, "go")
    (tmp_path / "w/a.txt").write_text("mine\ntwo\ndrei\n")
    assert (await agent.undo()).conflicts == ()
    assert files(tmp_path) == {"a.txt": "mine\ntwo\nthree\n"}


async def test_what_a_command_did_before_it_was_interrupted_goes_back_too(tmp_path: Path) -> None:
    agent = make(tmp_path, shell("echo half > a.txt; echo up; sleep 60"), ANSWER)
    async for event in agent.submit("go"):
        if isinstance(event, ApprovalRequest):
            agent.decide(event.item_id, Decision("once", event.digest))
        elif isinstance(event, ToolOutputDelta):
            agent.interrupt()
    assert files(tmp_path) == {"a.txt": "half\n"}
    await agent.undo()
    assert files(tmp_path) == BEFORE


async def test_what_cannot_be_taken_back_is_said(tmp_path: Path) -> None:
    agent = make(tmp_path, shell("head -c 3000000 /dev/zero > big.bin"), ANSWER)
    notice = only(await run_turn(agent, "go"), Notice)
    assert "/undo cannot restore these changes: big.bin" in notice.text


async def test_a_workspace_that_is_too_large_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_SECONDS", 0.0)
    agent = make(tmp_path, shell("true"), ANSWER, shell("true"), ANSWER)
    assert "knows only some" in only(await run_turn(agent, "go"), Notice).text
    assert not [event for event in await run_turn(agent, "again") if isinstance(event, Notice)]


@pytest.mark.parametrize("command", ["true", "cat a.txt"])
async def test_a_command_that_changes_nothing_is_no_edit(tmp_path: Path, command: str) -> None:
    agent = make(tmp_path, shell(command), ANSWER)
    events = await run_turn(agent, "go")
    assert not [event for event in events if isinstance(event, Notice)]
    assert agent.turns()[0].files == ()
    assert await asyncio.to_thread(UndoStore(tmp_path / "w", tmp_path / "undo").turns) == ()
