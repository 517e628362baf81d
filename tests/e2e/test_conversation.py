"""A conversation on the built-in model that goes back and forth: what is read again, and what comes out as if cold."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gptoss_tui.agent.agent import Agent
from gptoss_tui.agent.commands import Decision
from gptoss_tui.agent.events import ApprovalRequest, EffortChanged, Event, StepFinished, TurnFinished
from gptoss_tui.agent.factory import build_agent
from gptoss_tui.engine.types import SamplingParams, TokenBatch
from gptoss_tui.engine.worker.client import EngineClient
from gptoss_tui.harmony.tokenizer import STOP_TOKENS, load_tokenizer
from gptoss_tui.settings import Settings
from tests.agent.helpers import files_in


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: Path) -> None:
    """Sessions, edits and rules of this test alone; nano is unpacked once for all."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
async def engine(workspace: Path) -> AsyncIterator[EngineClient]:
    """nano in its worker."""
    client = EngineClient(Settings(workspace=workspace).engine_spec())
    async for _ in client.load():
        pass
    yield client
    await client.close()


async def say(agent: Agent, text: str) -> list[Event]:
    """The events of a turn that did what it was asked; every question is answered with yes."""
    events: list[Event] = []
    async for event in agent.submit(text):
        events.append(event)
        if isinstance(event, ApprovalRequest):
            agent.decide(event.item_id, Decision("once", event.digest))
    assert isinstance(events[-1], TurnFinished)
    assert events[-1].reason == "done"
    return events


def first_step(events: list[Event]) -> StepFinished:
    return next(event for event in events if isinstance(event, StepFinished))


def changed_effort(events: list[Event]) -> Iterator[EffortChanged]:
    return (event for event in events if isinstance(event, EffortChanged))


async def sampled(engine: EngineClient, prompt: list[int]) -> list[int]:
    """What nano says behind a prompt."""
    params = SamplingParams(temperature=0.0, max_tokens=48, stop_token_ids=STOP_TOKENS)
    batches = [event async for event in engine.generate(prompt, params) if isinstance(event, TokenBatch)]
    return [token.id for batch in batches for token in batch.tokens]


async def test_going_back_and_forth_reads_little_again_and_changes_nothing(
    engine: EngineClient, workspace: Path
) -> None:
    agent = build_agent(Settings(workspace=workspace), engine, load_tokenizer())
    await agent.warm()
    head = agent.conversation.preamble_length

    step = first_step(await say(agent, "create hello.py that prints hello"))
    assert step.cached_tokens == head
    assert (workspace / "hello.py").exists()
    await say(agent, "thanks")

    agent.effort = "high"
    await say(agent, "thanks")
    expected = agent.effort_cost("medium")
    agent.effort = "medium"
    events = await say(agent, "what files are here?")
    assert [event.tokens for event in changed_effort(events)] == [expected]
    assert first_step(events).cached_tokens > head, "the conversation waited as it stood under that effort"

    before = agent.conversation.tokens
    agent.rewind(4)
    events = await say(agent, "what files are here?")
    assert first_step(events).prefilled_tokens < 64, "what stands before the turn is in the cache still"
    assert agent.conversation.tokens == before, "the same words again"

    prompt = agent.conversation.prompt_ids()
    warm = await sampled(engine, prompt)
    await engine.close()
    async for _ in engine.load():
        pass
    assert await sampled(engine, prompt) == warm, "as from a cold start"

    agent.close()
    again = build_agent(Settings(workspace=workspace), engine, load_tokenizer())
    again.resume("last")
    assert again.conversation.prompt_ids() == prompt
    assert again.turns()[0].text == "create hello.py that prints hello"
    outcome = await again.undo(1)
    assert outcome.text == "create hello.py that prints hello"
    assert files_in(workspace) == []
    await again.redo()
    assert (workspace / "hello.py").exists()
    assert again.conversation.prompt_ids() == prompt
    again.close()


async def test_nano_can_be_steered_and_its_conversation_compacted(engine: EngineClient, workspace: Path) -> None:
    agent = build_agent(Settings(workspace=workspace), engine, load_tokenizer())
    steered = False
    async for event in agent.submit("create hello.py that prints hello"):
        if isinstance(event, ApprovalRequest):
            agent.steer("create bye.py that prints bye")
            steered = True
            agent.decide(event.item_id, Decision("once", event.digest))
    assert steered
    assert "hello.py" in files_in(workspace)
    assert "create bye.py" in load_tokenizer().decode(agent.conversation.tokens)
    before = agent.context()
    events = [event async for event in agent.compact()]
    assert events[-1].error == ""  # type: ignore[attr-defined]
    after = agent.context()
    assert after.used < before.used
    assert (after.system, after.developer, after.calls) == (before.system, before.developer, 0)
    await say(agent, "create done.py that prints done")
    assert (workspace / "done.py").exists()
    agent.close()
