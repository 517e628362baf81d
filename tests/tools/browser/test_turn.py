"""Built-in tools in a turn of the agent: a real browser, real Python, called as models call them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gptoss_tui.agent.agent import Agent
from gptoss_tui.agent.commands import Decision
from gptoss_tui.agent.events import AnswerCited, ApprovalRequest, ToolFinished, event_type
from gptoss_tui.agent.factory import build_agent
from gptoss_tui.agent.session import SessionStore
from gptoss_tui.harmony.tokenizer import load_tokenizer
from gptoss_tui.settings import Settings
from tests.agent.helpers import make_engine, only, run_turn, types
from tests.tools.python.conftest import find


def browser_call(function: str, arguments: str) -> str:
    return f" to=browser.{function}<|channel|>analysis<|message|>{arguments}<|call|>"


def python_call(code: str, recipient: str = "python") -> str:
    return f" to={recipient}<|channel|>analysis<|message|>{code}<|call|>"


def answer(text: str) -> str:
    return f"<|channel|>final<|message|>{text}<|return|>"


def build(tmp_path: Path, folder: Path, *transcripts: str) -> Agent:
    settings = Settings(
        workspace=tmp_path, browser=True, browser_folder=folder, python=True, python_sandbox="bubblewrap"
    )
    store = SessionStore(tmp_path / "sessions")
    return build_agent(settings, make_engine(*transcripts), load_tokenizer(), session_store=store)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


async def test_search_open_answer(tmp_path: Path, folder: Path) -> None:
    said = "It costs 89 euros 【1†L6】, they say 【4†L1】."
    agent = build(
        tmp_path,
        folder,
        browser_call("search", '{"query": "lantern price"}'),
        browser_call("open", '{"cursor": 0, "id": 0}'),
        answer(said),
    )
    events = await run_turn(agent, "how much is it?")
    tools = [e for e in events if isinstance(e, ToolFinished)]
    assert [(t.tool, t.status) for t in tools] == [("browser.search", "ok"), ("browser.open", "ok")]
    assert "L6: It costs 89 euros." in tools[1].output
    assert types(events)[-4:] == ["answer_done", "answer_cited", "step_finished", "turn_finished"]
    cited = only(events, AnswerCited).citations
    assert [(c.number, c.url, c.first_line) for c in cited] == [(1, "local://kb/lamp.md", 6), (0, "", 1)]
    assert said[slice(*cited[0].span)] == "【1†L6】"
    assert not [e for e in events if isinstance(e, ApprovalRequest)]
    agent.close()


async def test_an_answer_without_marks_has_no_citations(tmp_path: Path, folder: Path) -> None:
    agent = build(tmp_path, folder, answer("Hello."))
    assert "answer_cited" not in map(event_type, await run_turn(agent, "hi"))
    agent.close()


@pytest.mark.parametrize("recipient", ["python", "functions.python"])
async def test_python_keeps_its_state_over_calls_and_turns(tmp_path: Path, folder: Path, recipient: str) -> None:
    await find("bubblewrap")
    agent = build(
        tmp_path,
        folder,
        python_call("x = 20", recipient),
        python_call("x + 1", recipient),
        answer("21"),
        python_call("x"),
        answer("20"),
        python_call("x"),
        answer("gone"),
    )
    events = await run_turn(agent, "compute")
    assert [e.output for e in events if isinstance(e, ToolFinished)][1] == "21\n"
    assert [e.kind for e in events if isinstance(e, ApprovalRequest)] == ["python", "python"]
    assert only(await run_turn(agent, "again"), ToolFinished).output == "20\n"
    agent.new_conversation()
    assert "NameError" in only(await run_turn(agent, "new"), ToolFinished).output
    agent.close()


async def test_code_that_is_denied_does_not_run(tmp_path: Path, folder: Path) -> None:
    await find("bubblewrap")
    agent = build(tmp_path, folder, python_call("print(1)"), answer("ok"))
    events = await run_turn(agent, "compute", lambda request: Decision("deny", request.digest, "no code"))
    assert only(events, ToolFinished).status == "denied"
    assert "tool_started" not in types(events)
    agent.close()
