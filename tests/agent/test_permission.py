"""Permission seen from outside: what the events of a turn say about who allowed what."""

from __future__ import annotations

from pathlib import Path

import pytest

from gptoss_tui.agent.approvals import Approvals
from gptoss_tui.agent.commands import Decision
from gptoss_tui.agent.events import (
    ApprovalRequest,
    ApprovalResolved,
    ModeChanged,
    Notice,
    ToolFinished,
    ToolStarted,
    TurnFinished,
)
from gptoss_tui.agent.policy.book import RuleBook
from gptoss_tui.agent.policy.decide import PLAN_ONLY
from gptoss_tui.agent.session import SessionStore, load_session
from gptoss_tui.errors import UsageError
from tests.agent.helpers import ANSWER, CALL_PATCH, files_in, make_agent, make_engine, only, run_turn

CALL_HOOK = CALL_PATCH.replace("hello.py", ".husky/pre-commit")


async def test_what_was_decided_about_is_what_runs(tmp_path: Path) -> None:
    events = await run_turn(make_agent(make_engine(CALL_PATCH, ANSWER), tmp_path))
    request, resolved, started = (only(events, kind) for kind in (ApprovalRequest, ApprovalResolved, ToolStarted))
    assert request.digest == resolved.digest == started.digest != ""
    assert request.preview == started.preview
    assert request.grants == ("edits of this workspace",)


async def test_what_passes_unasked_is_told_all_the_same(tmp_path: Path) -> None:
    events = await run_turn(make_agent(make_engine(CALL_PATCH, ANSWER), tmp_path, mode="auto-edit"))
    resolved, started = only(events, ApprovalResolved), only(events, ToolStarted)
    assert (resolved.by, resolved.why, resolved.decision) == ("policy", "auto-edit", "once")
    assert resolved.digest == started.digest
    assert "hello.py" in started.preview


async def test_a_protected_file_asks_in_full_auto_and_cannot_be_allowed_for_longer(tmp_path: Path) -> None:
    agent = make_agent(make_engine(CALL_HOOK, ANSWER), tmp_path, mode="full-auto")
    answers: list[str] = []

    def answer(request: ApprovalRequest) -> Decision:
        with pytest.raises(UsageError, match="only be allowed once"):
            agent.decide(request.item_id, Decision("session", request.digest))
        answers.append(request.reasons[0])
        return Decision("deny", request.digest)

    events = await run_turn(agent, answer=answer)
    assert only(events, ApprovalRequest).grants == ()
    assert "protected" in answers[0]
    assert files_in(tmp_path) == []


async def test_read_only_denies_and_says_what_to_do(tmp_path: Path) -> None:
    events = await run_turn(make_agent(make_engine(CALL_PATCH, ANSWER), tmp_path, mode="read-only"))
    assert not [event for event in events if isinstance(event, ApprovalRequest)]
    assert PLAN_ONLY in only(events, ToolFinished).output
    assert files_in(tmp_path) == []


async def test_always_holds_in_the_next_conversation_and_can_be_revoked(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()

    def agent() -> object:
        book = RuleBook(root.resolve(), store=tmp_path / "state", user=tmp_path / "none")
        return make_agent(make_engine(CALL_PATCH, ANSWER), root, approvals=Approvals(book=book))

    first = agent()
    await run_turn(first, answer=lambda request: Decision("always", request.digest))  # type: ignore[arg-type]
    (root / "hello.py").unlink()
    second = agent()
    events = await run_turn(second, answer=lambda request: Decision("deny", request.digest))  # type: ignore[arg-type]
    assert only(events, ApprovalResolved).by == "rule"
    (rule,) = second.rules()  # type: ignore[attr-defined]
    assert only(events, ApprovalResolved).rules == (rule.id,)
    second.revoke(rule.id)  # type: ignore[attr-defined]
    assert first.rules() == ()  # type: ignore[attr-defined]


async def test_a_change_of_the_mode_is_an_event_and_in_the_session(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    agent = make_agent(make_engine(CALL_PATCH, ANSWER), root, session_store=SessionStore(tmp_path / "sessions"))

    def answer(request: ApprovalRequest) -> Decision:
        agent.mode = "auto-edit"
        return Decision("once", request.digest)

    events = await run_turn(agent, answer=answer)
    changed = only(events, ModeChanged)
    assert (changed.before, changed.mode, changed.turn_id) == ("ask", "auto-edit", "t1")
    agent.mode = "read-only"
    agent.mode = "read-only"
    assert agent.session_path is not None
    records = load_session(agent.session_path).events
    modes = [record["mode"] for record in records if record["type"] == "mode_changed"]
    assert modes == ["auto-edit", "read-only"]


async def test_a_damaged_file_of_rules_is_told_once_and_nothing_passes(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "approvals.toml").write_text("rules = 1")
    book = RuleBook(root.resolve(), store=tmp_path / "state", user=tmp_path / "approvals.toml")
    agent = make_agent(make_engine(CALL_PATCH, ANSWER, ANSWER), root, approvals=Approvals("full-auto", book=book))
    events = await run_turn(agent, answer=lambda request: Decision("deny", request.digest))
    assert "must be a list" in only(events, Notice).text
    assert only(events, ApprovalResolved).by == "user"
    assert agent.modes == ("read-only", "ask")
    again = await run_turn(agent, "and now?")
    assert not [event for event in again if isinstance(event, Notice)]
    assert only(again, TurnFinished).reason == "done"
