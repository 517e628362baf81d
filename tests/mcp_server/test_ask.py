"""The agent as a tool: progress, approvals, citations, going on, cancelling."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from mcp import MCPError

from gptoss_tui.harmony.tokenizer import load_tokenizer
from tests.agent.helpers import ANSWER, CALL_PATCH, files_in, make_engine
from tests.mcp_server.hosts import LEGACY, MODERN, Person, host, text
from tests.processes import until

BOTH = pytest.mark.parametrize("mode", [LEGACY, MODERN])
SEARCH = (
    "<|channel|>analysis<|message|>x<|end|><|start|>assistant to=browser.search<|channel|>analysis <|constrain|>json"
    '<|message|>{"query": "keys"}<|call|>'
)
OPEN = SEARCH.replace("search", "open").replace('"query": "keys"', '"id": 0')
CITES = "<|channel|>final<|message|>Ctrl+O opens it 【1†L4】.<|return|>"


@BOTH
async def test_an_answer_with_progress(work: Path, mode: str) -> None:
    told: list[tuple[float, str | None]] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        told.append((done, message))

    async with host(make_engine(CALL_PATCH, ANSWER), work, mode=mode, approve="edits") as one:
        result = await one.call_tool("ask", {"prompt": "create hello.py"}, progress_callback=progress)
    assert (result.is_error, text(result)) == (False, "I created hello.py.")
    session = result.structured_content.pop("session")
    assert result.structured_content == {
        "answer": "I created hello.py.",
        "complete": True,
        "citations": [],
        "files": ["hello.py"],
    }
    assert (work.parent / "sessions" / f"{session}.jsonl").exists()
    assert [done for done, _ in told] == sorted({done for done, _ in told}), "progress only grows"
    assert [message for _, message in told] == ["Loading the model (100%)", "Thinking", "apply_patch hello.py"]


async def test_citations(work: Path) -> None:
    (work / "keys.md").write_text("# Keys\n\nCtrl+O opens a call.\n")
    async with host(make_engine(SEARCH, OPEN, CITES), work, browser=True) as one:
        result = await one.call_tool("ask", {"prompt": "which key?"})
    assert text(result).startswith("Ctrl+O opens it [1].\n\n[1] Keys (local://work/keys.md) L4")
    (citation,) = result.structured_content["citations"]
    assert citation == {
        "label": "[1]",
        "title": "Keys",
        "url": "local://work/keys.md",
        "first_line": 4,
        "last_line": 4,
    }


@BOTH
async def test_the_person_is_asked_about_what_the_agent_does(work: Path, mode: str) -> None:
    person = Person()
    other = CALL_PATCH.replace("hello.py", "other.py")
    async with host(make_engine(CALL_PATCH, other, ANSWER), work, person, mode=mode) as one:
        assert text(await one.call_tool("ask", {"prompt": "two files"})) == "I created hello.py."
    assert [message.partition("\n")[0] for message, _ in person.asked] == ["Create hello.py?", "Create other.py?"]
    assert files_in(work) == ["hello.py", "other.py"]


async def test_a_host_that_never_brings_the_answer_waits_for_nothing(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gptoss_tui.mcp_server.retry.ANSWER_SECONDS", 0.2)
    engine = make_engine(CALL_PATCH, ANSWER)
    async with host(engine, work, Person(), mode=MODERN) as one:
        await one.session.call_tool("ask", {"prompt": "create hello.py"}, allow_input_required=True)
        await until(lambda: len(engine.requests) == 2 and engine.idle)
    assert files_in(work) == []


@BOTH
@pytest.mark.parametrize("person", [None, Person(lambda message, choices: "reject")])
async def test_what_nobody_allows_the_agent_does_not_do(work: Path, person: Person | None, mode: str) -> None:
    engine = make_engine(CALL_PATCH, ANSWER)
    async with host(engine, work, person, mode=mode) as one:
        result = await one.call_tool("ask", {"prompt": "create hello.py"})
    assert result.structured_content["files"] == []
    assert not (work / "hello.py").exists()
    assert len(engine.requests) == 2, "the agent was told, and answered"


async def test_a_conversation_goes_on_only_when_asked_to(work: Path) -> None:
    engine = make_engine(ANSWER, ANSWER, ANSWER)
    async with host(engine, work) as one:
        await one.call_tool("ask", {"prompt": "the first one"})
        await one.call_tool("ask", {"prompt": "the second one", "go_on": True, "effort": "high"})
        await one.call_tool("ask", {"prompt": "the third one"})
    prompts = [load_tokenizer().decode(request.prompt) for request in engine.requests]
    assert ["the first one" in prompt for prompt in prompts] == [True, True, False]
    assert "Reasoning: high" in prompts[1]


async def test_a_model_that_fails_is_a_result(work: Path) -> None:
    async with host(make_engine(ANSWER, die_after=3), work) as one:
        result = await one.call_tool("ask", {"prompt": "hello"})
    assert result.is_error
    assert "The engine process died" in text(result)


@BOTH
async def test_a_call_that_is_cancelled_ends_the_turn(work: Path, mode: str) -> None:
    hung = asyncio.Event()
    engine = make_engine(ANSWER, ANSWER, hang_after=6, on_hang=hung.set)
    async with host(engine, work, mode=mode) as one:
        asking = asyncio.create_task(one.call_tool("ask", {"prompt": "hello"}))
        await hung.wait()
        engine.hang_after = None
        asking.cancel()
        with pytest.raises((asyncio.CancelledError, MCPError)):
            await asking
        assert text(await one.call_tool("ask", {"prompt": "again"})) == "I created hello.py."
        assert engine.idle


async def test_two_hosts_ask_at_once(work: Path, tmp_path: Path) -> None:
    """Two calls of one session wait for each other, and the engine takes one generation at a time."""
    async with host(make_engine(ANSWER, ANSWER), work) as one:
        results = await asyncio.gather(*(one.call_tool("ask", {"prompt": f"number {n}"}) for n in range(2)))
    assert [text(result) for result in results] == ["I created hello.py."] * 2
