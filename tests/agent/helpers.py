"""Agents on a scripted engine with the real tokenizer, parser, conversation and tools."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gptoss_tui.agent.agent import Agent
from gptoss_tui.agent.approvals import Approvals
from gptoss_tui.agent.commands import Decision
from gptoss_tui.agent.events import ApprovalRequest, Event, event_type
from gptoss_tui.agent.policy import Mode
from gptoss_tui.harmony.tokenizer import load_tokenizer
from gptoss_tui.tools.base import Workspace
from gptoss_tui.tools.registry import ToolRegistry, workspace_tools
from tests.agent.scripted_engine import ScriptedEngine, ids_of

HELLO_PATCH = "*** Begin Patch\n*** Add File: hello.py\n+print('hello')\n*** End Patch"
THINK = "<|channel|>analysis<|message|>I add the file.<|end|>"
CALL_PATCH = (
    THINK + "<|start|>assistant to=functions.apply_patch<|channel|>commentary<|message|>" + HELLO_PATCH + "<|call|>"
)
ANSWER = "<|channel|>final<|message|>I created hello.py.<|return|>"


def call(tool: str, arguments: str, before: str = "") -> str:
    """The transcript of a function call."""
    header = f" to=functions.{tool}<|channel|>commentary <|constrain|>json<|message|>"
    return f"{before}<|start|>assistant{header}{arguments}<|call|>" if before else f"{header}{arguments}<|call|>"


def make_engine(*transcripts: str, **options: Any) -> ScriptedEngine:
    """An engine that plays these generations."""
    tokenizer = load_tokenizer()
    return ScriptedEngine([ids_of(tokenizer, text) for text in transcripts], **options)


def make_agent(engine: ScriptedEngine, root: Path, mode: Mode = "ask", **options: Any) -> Agent:
    """An agent with the file tools in `root`."""
    registry = ToolRegistry(workspace_tools(Workspace(root.resolve())))
    options.setdefault("approvals", Approvals(mode))
    return Agent(engine, load_tokenizer(), registry, workspace=root, current_date="2026-01-02", **options)


async def run_turn(
    agent: Agent, text: str = "create hello.py", answer: Callable[[ApprovalRequest], Decision] | None = None
) -> list[Event]:
    """All events of one turn. `answer` decides about approvals; without it they are all given once."""
    events = []
    async for event in agent.submit(text):
        events.append(event)
        if isinstance(event, ApprovalRequest):
            decision = answer(event) if answer else Decision("once", event.digest)
            agent.decide(event.item_id, decision)
    return events


def types(events: Sequence[Event]) -> list[str]:
    """The types of events, deltas and progress left out."""
    return [t for t in map(event_type, events) if not t.endswith(("_delta", "prompt_progress"))]


def only(events: Sequence[Event], cls: type[Any]) -> Any:
    """The one event of a class."""
    found = [event for event in events if isinstance(event, cls)]
    assert len(found) == 1, found
    return found[0]


def files_in(root: Path) -> list[str]:
    """Names of what lies in a folder."""
    return sorted(path.name for path in root.iterdir())
