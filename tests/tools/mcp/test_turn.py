"""Tools of servers in a turn of the agent: told to the model, asked about, and allowed by a rule."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gptoss_tui.agent.agent import Agent
from gptoss_tui.agent.approvals import Approvals
from gptoss_tui.agent.commands import Decision
from gptoss_tui.agent.events import ApprovalRequest, ToolFinished
from gptoss_tui.agent.factory import build_registry
from gptoss_tui.harmony.tokenizer import load_tokenizer
from gptoss_tui.settings import Settings
from gptoss_tui.tools.base import Workspace
from gptoss_tui.tools.mcp.config import ServerConfig
from gptoss_tui.tools.mcp.tools import McpServer, mcp_servers
from gptoss_tui.tools.registry import ToolRegistry, workspace_tools
from tests.agent.helpers import make_engine, only, run_turn
from tests.commands.test_mcp import set_up

SERVER = Path(__file__).with_name("server.py")


def add(b: int) -> str:
    return f' to=box.add<|channel|>commentary <|constrain|>json<|message|>{{"a": 1, "b": {b}}}<|call|>'


def answer(text: str) -> str:
    return f"<|channel|>final<|message|>{text}<|return|>"


def build(root: Path, *transcripts: str) -> tuple[Agent, McpServer]:
    (server,) = mcp_servers([ServerConfig("box", command=sys.executable, args=(str(SERVER),))])
    workspace = Workspace(root.resolve())
    registry = ToolRegistry(workspace_tools(workspace), (), [server])
    agent = Agent(
        make_engine(*transcripts), load_tokenizer(), registry, workspace=workspace.root, approvals=Approvals("ask")
    )
    return agent, server


async def test_a_call_is_asked_about_and_made(tmp_path: Path) -> None:
    agent, server = build(tmp_path, add(2), answer("3"), add(3), answer("4"))
    try:
        before = len(agent.conversation.preamble.system.tools)
        await server.connection.settle(100.0)
        events = await run_turn(agent, "add", lambda request: Decision("session", request.digest))
        request = only(events, ApprovalRequest)
        assert (request.kind, request.title) == ("mcp", "Call add of box")
        assert request.preview == '{\n  "a": 1,\n  "b": 2\n}'
        assert (before, [space.name for space in agent.conversation.preamble.system.tools]) == (0, ["box"])
        assert (only(events, ToolFinished).status, only(events, ToolFinished).output) == ("ok", "3")
        again = await run_turn(agent, "again")
        assert only(again, ToolFinished).output == "4"
        assert not [event for event in again if isinstance(event, ApprovalRequest)], "the rule of the session answers"
        assert agent.approvals.sources == ("MCP server box",)
    finally:
        agent.close()
        await server.connection.close()


async def test_a_call_that_is_denied_is_not_made(tmp_path: Path) -> None:
    agent, server = build(tmp_path, add(2), answer("no"))
    try:
        await server.connection.settle(100.0)
        events = await run_turn(agent, "add", lambda request: Decision("deny", request.digest))
        assert only(events, ToolFinished).status == "denied"
    finally:
        agent.close()
        await server.connection.close()


@pytest.mark.parametrize(("model", "servers"), [("nano", []), ("gpt-oss-20b", ["box"])])
def test_the_built_in_model_keeps_the_tools_that_it_knows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: str, servers: list[str]
) -> None:
    set_up(monkeypatch, tmp_path, box={"command": "x"})
    registry = build_registry(Settings(model=model, workspace=tmp_path), Workspace(tmp_path))
    assert list(registry.sources) == servers
    assert registry.namespaces == ()
