"""Sessions of real turns: what is in the file when, and conversations rebuilt from it."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gptoss_tui.agent.agent import Agent
from gptoss_tui.agent.commands import Decision
from gptoss_tui.agent.events import ApprovalRequest, Notice, TurnFinished, to_dict
from gptoss_tui.agent.history import restore_history
from gptoss_tui.agent.session import SessionFile, SessionState, SessionStore, is_lasting, load_session
from gptoss_tui.errors import SessionError
from gptoss_tui.harmony.conversation import Conversation
from gptoss_tui.harmony.messages import Preamble
from gptoss_tui.harmony.tokenizer import load_tokenizer
from tests.agent.helpers import ANSWER, CALL_PATCH, make_agent, make_engine, only, run_turn
from tests.agent.test_interrupt import assert_valid


def restored_conversation(state: SessionState) -> Conversation:
    return restore_history(load_tokenizer(), state, Preamble(), lambda _: None).conversation


async def finished_session(tmp_path: Path) -> tuple[Agent, Path]:
    """Two turns with a call, a denial and an effort change between them."""
    agent = make_agent(
        make_engine(CALL_PATCH, ANSWER, CALL_PATCH, ANSWER), tmp_path, session_store=SessionStore(tmp_path / "s")
    )
    await run_turn(agent, answer=lambda r: Decision("session", r.digest))
    agent.approvals.forget()
    (tmp_path / "hello.py").unlink()
    agent.effort = "high"
    await run_turn(agent, "again", answer=lambda r: Decision("deny", r.digest, "no"))
    assert agent.session_path is not None
    return agent, agent.session_path


async def test_the_file_has_every_lasting_event_in_order(tmp_path: Path) -> None:
    agent = make_agent(make_engine(CALL_PATCH, ANSWER), tmp_path, session_store=SessionStore(tmp_path / "s"))
    events = await run_turn(agent)
    assert agent.session_path is not None
    state = load_session(agent.session_path)
    lasting = [json.loads(json.dumps(to_dict(e))) for e in events if is_lasting(e)]
    assert list(state.events) == lasting
    assert state.header.model == "scripted"
    assert state.header.date == "2026-01-02"
    assert state.header.workspace == str(tmp_path)


async def test_an_event_is_in_the_file_before_anybody_sees_it(tmp_path: Path) -> None:
    agent = make_agent(make_engine(CALL_PATCH, ANSWER), tmp_path, session_store=SessionStore(tmp_path / "s"))
    seen = 0
    async for event in agent.submit("go"):
        if is_lasting(event):
            seen += 1
            assert agent.session_path is not None
            assert json.loads(json.dumps(to_dict(event))) in load_session(agent.session_path).events
        if isinstance(event, ApprovalRequest):
            agent.decide(event.item_id, Decision("once", event.digest))
    assert seen == 11


async def test_a_conversation_comes_back_token_for_token(tmp_path: Path) -> None:
    agent, path = await finished_session(tmp_path)
    restored = restored_conversation(load_session(path))
    assert restored.tokens == agent.conversation.tokens
    assert restored.to_dict() == agent.conversation.to_dict()


async def test_resuming_goes_on_in_the_same_file_and_allows_nothing(tmp_path: Path) -> None:
    first, path = await finished_session(tmp_path)
    first.close()
    engine = make_engine(CALL_PATCH, ANSWER)
    agent = make_agent(engine, tmp_path, effort="high", session_store=SessionStore(tmp_path / "s"))
    agent.resume(path.stem)
    events = await run_turn(agent, "third")
    assert events[0].turn_id == "t3"
    only(events, ApprovalRequest)
    prompt = load_tokenizer().decode(engine.requests[0].prompt)
    assert "again" in prompt
    assert "I created hello.py." in prompt
    assert agent.session_path == path
    assert [e["text"] for e in load_session(path).events if e["type"] == "turn_started"] == [
        "create hello.py",
        "again",
        "third",
    ]


async def test_every_cut_of_the_file_gives_a_conversation_that_can_go_on(tmp_path: Path) -> None:
    first, path = await finished_session(tmp_path)
    first.close()
    data = path.read_bytes()
    lines = data.splitlines(keepends=True)
    for count in range(1, len(lines) + 1):
        path.write_bytes(b"".join(lines[:count]) + b'{"type":"hist')
        engine = make_engine(ANSWER)
        agent = make_agent(engine, tmp_path, session_store=SessionStore(tmp_path / "s"))
        state = load_session(path)
        assert len(state.notices) == 1
        agent.resume("last" if count > len(lines) // 2 else path.stem)
        assert only(await run_turn(agent, "go on"), TurnFinished).reason == "done"
        assert_valid(agent, engine)
        shown = [e["text"] for e in state.events if e["type"] == "answer_done"]
        prompt = load_tokenizer().decode(engine.requests[0].prompt)
        assert all(text in prompt for text in shown), count
        agent.close()


async def test_a_history_that_does_not_fit_is_a_session_error(tmp_path: Path) -> None:
    _, path = await finished_session(tmp_path)
    path.write_bytes(path.read_bytes().replace(b'"op":"preamble","preamble":{', b'"op":"preamble","preamble":{"x":1,'))
    with path.open("ab") as file:
        file.write(b'{"type":"history","op":"ids","ids":["x"]}\n')
    with pytest.raises(SessionError, match="cannot be rebuilt"):
        restored_conversation(load_session(path))


async def test_a_new_conversation_is_a_new_file(tmp_path: Path) -> None:
    agent = make_agent(make_engine(ANSWER, ANSWER), tmp_path, session_store=SessionStore(tmp_path / "s"))
    await run_turn(agent)
    first = agent.session_path
    agent.new_conversation()
    assert agent.session_path is None
    assert agent.conversation.entries == ()
    await run_turn(agent, "other")
    assert agent.session_path not in (None, first)


async def test_without_a_place_to_save_the_chat_goes_on_with_a_notice(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    agent = make_agent(make_engine(ANSWER), tmp_path, session_store=SessionStore(tmp_path / "file"))
    events = await run_turn(agent)
    assert "cannot be saved" in only(events, Notice).text
    assert only(events, TurnFinished).reason == "done"


class FullDisk(SessionFile):
    """A file on a disk that is full between two moments."""

    full = False

    def append(self, record: Mapping[str, Any]) -> None:
        write = os.write

        def refuse(descriptor: int, data: bytes) -> int:
            if self.full:
                if len(data) > 3:
                    return write(descriptor, data[:3])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return write(descriptor, data)

        os.write = refuse  # type: ignore[assignment]
        try:
            super().append(record)
        finally:
            os.write = write


class FullDiskStore(SessionStore):
    """A store on such a disk."""

    file: FullDisk

    def create(self, **header: Any) -> SessionFile:
        path = super().create(**header).path
        self.file = FullDisk(path, os.open(path, os.O_WRONLY | os.O_APPEND))
        return self.file


async def test_a_full_disk_is_said_once_and_nothing_is_lost_when_there_is_room_again(tmp_path: Path) -> None:
    store = FullDiskStore(tmp_path / "s")
    agent = make_agent(make_engine(ANSWER, ANSWER, ANSWER), tmp_path, session_store=store)
    await run_turn(agent)
    assert agent.session_path is not None
    path = agent.session_path
    store.file.full = True
    assert "No space left" in only(await run_turn(agent, "two"), Notice).text
    store.file.full = False
    events = await run_turn(agent, "three")
    assert not [e for e in events if isinstance(e, Notice)]
    state = load_session(path)
    assert state.notices == ()
    assert [e["text"] for e in state.events if e["type"] == "turn_started"] == ["create hello.py", "two", "three"]
    restored = restored_conversation(state)
    assert restored.tokens == agent.conversation.tokens
