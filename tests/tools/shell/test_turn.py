"""Commands in a turn of the agent: offered, asked about, streamed, under the names that models call them by."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gptoss_tui.agent.agent import Agent
from gptoss_tui.agent.commands import Decision
from gptoss_tui.agent.events import ApprovalRequest, ToolFinished, ToolOutputDelta
from gptoss_tui.agent.factory import build_agent, build_registry
from gptoss_tui.agent.session import SessionStore
from gptoss_tui.harmony.tokenizer import load_tokenizer
from gptoss_tui.settings import Settings
from gptoss_tui.tools.shell.tool import ShellTool
from gptoss_tui.tools.workspace import open_workspace
from tests.agent.helpers import ANSWER, call, make_engine, only, run_turn


def build(root: Path, *transcripts: str, **settings: object) -> Agent:
    chosen = Settings(workspace=root, model="gpt-oss-20b", **settings)  # type: ignore[arg-type]
    store = SessionStore(root.parent / "sessions")
    return build_agent(chosen, make_engine(*transcripts), load_tokenizer(), session_store=store)


@pytest.mark.parametrize(
    ("settings", "offered"),
    [
        ({"model": "nano"}, False),
        ({"model": "gpt-oss-20b"}, True),
        ({"model": "nano", "shell": True}, True),
        ({"model": "gpt-oss-20b", "shell": False}, False),
    ],
)
def test_every_model_but_nano_is_offered_commands(root: Path, settings: dict[str, object], offered: bool) -> None:
    registry = build_registry(Settings(workspace=root, **settings), open_workspace(root))  # type: ignore[arg-type]
    assert ("shell" in registry.names) == offered


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("shell", {"command": "cat a.txt"}),
        ("container.exec", {"cmd": ["bash", "-lc", "cat a.txt"], "timeout": 10_000}),
        ("bash", {"command": "cat a.txt"}),
    ],
)
async def test_a_command_is_asked_about_and_streams(
    shell: ShellTool, root: Path, tool: str, arguments: dict[str, object]
) -> None:
    agent = build(root, call(tool, json.dumps(arguments)), ANSWER)
    events = await run_turn(agent, "look")
    request = only(events, ApprovalRequest)
    assert (request.tool, request.kind, request.preview) == ("shell", "command", "cat a.txt")
    assert only(events, ToolOutputDelta).text == "one\ntwo\n"
    finished = only(events, ToolFinished)
    assert (finished.tool, finished.status, finished.output) == ("shell", "ok", "one\ntwo\n")
    agent.close()


async def test_a_command_that_is_denied_does_not_run(shell: ShellTool, root: Path) -> None:
    agent = build(root, call("shell", "touch made"), ANSWER)
    events = await run_turn(agent, "make it", lambda request: Decision("deny", request.digest, "no"))
    assert only(events, ToolFinished).status == "denied"
    assert not (root / "made").exists()
    agent.close()


async def test_what_nobody_has_is_told_with_what_there_is(root: Path) -> None:
    agent = build(root, call("container.exec", "ls"), ANSWER, shell=False)
    output = only(await run_turn(agent, "look"), ToolFinished).output
    assert "There is no tool" in output
    assert "read_file, list_files, search_files" in output
    agent.close()
