"""Interrupts at every point of a turn leave a valid conversation, an idle engine and a next turn that works."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gptoss_tui.agent.agent import Agent
from gptoss_tui.agent.calls import INTERRUPTED_RUNNING
from gptoss_tui.agent.commands import Decision
from gptoss_tui.agent.events import (
    ApprovalRequest,
    Event,
    StepFinished,
    ToolCall,
    ToolFinished,
    ToolOutputDelta,
    ToolStarted,
    TurnFinished,
)
from gptoss_tui.agent.session import SessionFile, SessionStore
from gptoss_tui.errors import UsageError
from gptoss_tui.harmony.conversation import INTERRUPTED
from gptoss_tui.harmony.messages import FunctionDeclaration
from gptoss_tui.harmony.parser import MessageFinished, StreamParser
from gptoss_tui.harmony.tokenizer import load_tokenizer
from gptoss_tui.tools.base import Effect, ToolResult
from gptoss_tui.tools.registry import ToolRegistry
from tests.agent.helpers import ANSWER, CALL_PATCH, call, make_agent, make_engine, only, run_turn
from tests.agent.scripted_engine import ScriptedEngine
from tests.harmony.wire import messages_of

READ = call("read_file", '{"path":"hello.py"}', before="<|channel|>analysis<|message|>Look.<|end|>")
SCRIPT = (CALL_PATCH, READ, ANSWER)


SLOW = FunctionDeclaration("slow", "Waits.")


async def play(agent: Agent, act: Callable[[int, Event], Any]) -> list[Event]:
    """A turn in which approvals are given and `act` sees every event with its number."""
    events: list[Event] = []
    async for event in agent.submit("create hello.py"):
        events.append(event)
        if act(len(events) - 1, event):
            continue
        if isinstance(event, ApprovalRequest):
            agent.decide(event.item_id, Decision("once", event.digest))
    return events


def assert_valid(agent: Agent, engine: ScriptedEngine) -> None:
    """The conversation reads back as exactly its messages, and no call is without a reply."""
    assert engine.idle
    conversation = agent.conversation
    assert conversation.pending_call is None
    parser = StreamParser(load_tokenizer(), sampled=False)
    read = [e for e in (*parser.feed(conversation.tokens), *parser.finish()) if isinstance(e, MessageFinished)]
    behind_preamble = [e.message for e in read if e.message.role not in ("system", "developer")]
    assert behind_preamble == messages_of(conversation)
    assert not [e.recovered for e in read if e.recovered]


def assert_closed(events: list[Event]) -> None:
    """Every item that was opened was closed, and the turn ended once, at the end."""
    opened = {e.item_id for e in events if hasattr(e, "item_id") and type(e).__name__.endswith("Delta")}
    closed = {
        e.item_id for e in events if hasattr(e, "item_id") and type(e).__name__.endswith(("Done", "ToolFinished"))
    }
    assert opened <= closed
    calls = [e.item_id for e in events if isinstance(e, ToolCall)]
    assert calls == [e.item_id for e in events if isinstance(e, ToolFinished)]
    assert [e for e in events if isinstance(e, TurnFinished)] == events[-1:]


async def count_events(tmp_path: Path) -> int:
    return len(await play(make_agent(make_engine(*SCRIPT), tmp_path), lambda i, e: False))


async def test_interrupt_at_every_event(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    total = await count_events(tmp_path / "whole")
    reasons = []
    for index in range(total):
        root = tmp_path / str(index)
        root.mkdir()
        engine = make_engine(*SCRIPT)
        agent = make_agent(engine, root)

        def interrupt(i: int, event: Event, index: int = index, agent: Agent = agent) -> bool:
            if i == index:
                agent.interrupt()
                agent.interrupt()
            return i >= index

        events = await play(agent, interrupt)
        assert_closed(events)
        assert_valid(agent, engine)
        reasons.append(only(events, TurnFinished).reason)
        engine.scripts = make_engine(ANSWER).scripts
        again = await run_turn(agent, "and now?")
        assert only(again, TurnFinished).reason == "done"
        assert_valid(agent, engine)
    assert reasons.count("interrupted") > total - 5
    assert reasons[-1] == "done"


class Tripwire(SessionStore):
    """Interrupts an agent when the n-th line is written: between any two steps of a turn, not only between awaits."""

    def __init__(self, directory: Path, line: int) -> None:
        super().__init__(directory)
        self.line = line
        self.agent: Agent | None = None

    def create(self, **header: Any) -> SessionFile:
        file = super().create(**header)
        write, store = file.append, self

        class Counting(SessionFile):
            def append(self, record: Any) -> None:
                write(record)
                store.line -= 1
                if store.line == 0 and store.agent is not None:
                    store.agent.interrupt()

        return Counting(file.path, -1)


async def test_interrupt_at_every_line_of_the_session(tmp_path: Path) -> None:
    line, reason = 0, ""
    while reason != "done":
        line += 1
        root = tmp_path / str(line)
        root.mkdir()
        store = Tripwire(tmp_path / "sessions", line)
        engine = make_engine(*SCRIPT)
        agent = make_agent(engine, root, mode="auto-edit", session_store=store)
        store.agent = agent
        events = await run_turn(agent)
        assert_closed(events)
        assert_valid(agent, engine)
        reason = only(events, TurnFinished).reason
        engine.scripts = make_engine(ANSWER).scripts
        assert only(await run_turn(agent, "and now?"), TurnFinished).reason == "done"
    assert line > 15


async def test_closing_the_iterator_at_every_event(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    total = await count_events(tmp_path / "whole")
    for index in range(total):
        root = tmp_path / str(index)
        root.mkdir()
        engine = make_engine(*SCRIPT)
        agent = make_agent(engine, root)
        seen = 0
        async with aclosing(agent.submit("create hello.py")) as events:
            async for event in events:
                if seen == index:
                    break
                seen += 1
                if isinstance(event, ApprovalRequest):
                    agent.decide(event.item_id, Decision("once", event.digest))
        assert_valid(agent, engine)
        engine.scripts = make_engine(ANSWER).scripts
        assert only(await run_turn(agent, "and now?"), TurnFinished).reason == "done"


@pytest.mark.parametrize("hang_after", range(0, 40, 3))
async def test_interrupt_while_the_engine_works(tmp_path: Path, hang_after: int) -> None:
    engine = make_engine(CALL_PATCH, hang_after=hang_after)
    agent = make_agent(engine, tmp_path)
    engine.on_hang = agent.interrupt
    events = await run_turn(agent)
    assert only(events, TurnFinished).reason == "interrupted"
    assert not (tmp_path / "hello.py").exists()
    step = only(events, StepFinished)
    assert step.generated_tokens == hang_after
    assert step.prompt_tokens == step.prefilled_tokens == len(engine.requests[0].prompt)
    closing = 6  # what makes a cut message whole, and the next `<|start|>assistant`
    assert step.context_used <= step.prompt_tokens + step.generated_tokens + closing
    assert_closed(events)
    assert_valid(agent, engine)


async def test_interrupt_while_an_approval_waits_closes_the_question(tmp_path: Path) -> None:
    engine = make_engine(CALL_PATCH)
    agent = make_agent(engine, tmp_path)
    request: list[ApprovalRequest] = []

    def interrupt(_: int, event: Event) -> bool:
        if isinstance(event, ApprovalRequest):
            request.append(event)
            agent.interrupt()
        return bool(request)

    events = await play(agent, interrupt)
    finished = only(events, ToolFinished)
    assert (finished.status, finished.output) == ("cancelled", INTERRUPTED)
    assert not (tmp_path / "hello.py").exists()
    with pytest.raises(UsageError):
        agent.decide(request[0].item_id, Decision("once", request[0].digest))


@dataclass
class Slow:
    """A tool that runs until it is cancelled, and says when that happens."""

    log: list[str]
    name: str = "slow"
    declaration: FunctionDeclaration = SLOW
    summary: str = "slow"
    effect: Effect | None = None

    async def prepare(self, arguments: str) -> Slow:
        if arguments == "crash":
            raise ZeroDivisionError("a fault in the tool")
        return self

    async def run(self, on_output: Callable[[str], None]) -> ToolResult:
        on_output("tick")
        try:
            await asyncio.Event().wait()
        finally:
            self.log.append("stopped")
            asyncio.get_running_loop().call_soon(on_output, "too late")
        raise AssertionError("unreachable")


async def test_interrupt_stops_the_running_tool(tmp_path: Path) -> None:
    log: list[str] = []
    engine = make_engine(call("slow", "{}"))
    agent = Agent(engine, load_tokenizer(), ToolRegistry([Slow(log)]), workspace=tmp_path)

    def interrupt(_: int, event: Event) -> bool:
        if isinstance(event, ToolStarted):
            asyncio.get_running_loop().call_soon(agent.interrupt)
        return False

    events = await play(agent, interrupt)
    assert log == ["stopped"]
    assert [e.text for e in events if isinstance(e, ToolOutputDelta)] == ["tick"]
    finished = only(events, ToolFinished)
    assert (finished.status, finished.output) == ("cancelled", INTERRUPTED_RUNNING)
    assert only(events, TurnFinished).reason == "interrupted"
    assert_valid(agent, engine)


async def test_a_fault_in_a_tool_is_an_error_for_the_model(tmp_path: Path) -> None:
    engine = make_engine(call("slow", "crash"), ANSWER)
    agent = Agent(engine, load_tokenizer(), ToolRegistry([Slow([])]), workspace=tmp_path)
    events = await run_turn(agent)
    assert only(events, ToolFinished).status == "error"
    assert "a fault in the tool" in only(events, ToolFinished).output
    assert only(events, TurnFinished).reason == "done"


async def test_a_cancelled_consumer_leaves_an_idle_engine(tmp_path: Path) -> None:
    engine = make_engine(CALL_PATCH, hang_after=5)
    agent = make_agent(engine, tmp_path)
    consumer = asyncio.create_task(run_turn(agent))
    engine.on_hang = consumer.cancel
    with pytest.raises(asyncio.CancelledError):
        await consumer
    assert_valid(agent, engine)


async def test_interrupt_without_a_turn_does_nothing(tmp_path: Path) -> None:
    agent = make_agent(make_engine(ANSWER), tmp_path)
    agent.interrupt()
    assert only(await run_turn(agent), TurnFinished).reason == "done"
