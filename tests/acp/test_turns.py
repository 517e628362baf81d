"""Turns of an editor: what it sees, what it allows, how it stops them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from acp import RequestError, text_block
from acp.schema import AgentPlanUpdate, ToolCallProgress, ToolCallStart, UsageUpdate

from tests.acp.client import Client, editor, never
from tests.agent.helpers import ANSWER, CALL_PATCH, HELLO_PATCH, call, make_engine

OTHER = call(
    "apply_patch", HELLO_PATCH.replace("hello.py", "other.py"), before="<|channel|>analysis<|message|>x<|end|>"
)
READ = call("read_file", '{"path": "notes.txt", "start_line": 2}')


async def test_a_turn_with_an_edit(work: Path) -> None:
    async with editor(make_engine(CALL_PATCH, ANSWER), work) as one:
        session = await one.session(work)
        response = await one.call.prompt(session_id=session, prompt=[text_block("create hello.py")])
        assert response.stop_reason == "end_turn"
        assert (work / "hello.py").read_text() == "print('hello')\n"
        assert one.client.thought() == "I add the file."
        assert one.client.said() == "I created hello.py."
        edit = one.client.call("apply_patch")
        assert (edit["kind"], edit["status"], edit["title"]) == ("edit", "completed", "apply_patch hello.py")
        assert edit["locations"] == [{"path": str(work / "hello.py"), "line": 1}]
        assert edit["content"] == [{"type": "diff", "path": str(work / "hello.py"), "new_text": "print('hello')\n"}]
        assert edit["raw_input"] == {"patch": HELLO_PATCH}
        ((asked, options),) = one.client.asked
        assert asked.tool_call_id == edit["tool_call_id"]
        assert asked.model_dump(exclude_none=True)["content"] == edit["content"]
        assert [option.kind for option in options] == ["allow_once", "allow_always", "allow_always", "reject_once"]
        (*_, usage) = one.client.of(UsageUpdate)
        assert usage.size == 4096
        assert response.usage is not None
        assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens > 0


async def test_the_statuses_of_a_call_come_in_order(work: Path) -> None:
    async with editor(make_engine(CALL_PATCH, ANSWER), work) as one:
        await one.say(await one.session(work), "create hello.py")
        statuses = [update.status for update in one.client.of(ToolCallProgress) if update.status]
        assert statuses == ["completed", "pending", "in_progress", "completed"]  # the first one is the model's load


async def test_a_call_that_reads_asks_nothing_and_names_its_place(work: Path) -> None:
    (work / "notes.txt").write_text("one\n```\x1b[2J\n")
    async with editor(make_engine(READ, ANSWER), work) as one:
        assert await one.say(await one.session(work), "read") == "end_turn"
        read = one.client.call("read_file")
        assert (read["kind"], one.client.asked) == ("read", [])
        assert read["locations"] == [{"path": str(work / "notes.txt"), "line": 2}]
        (content,) = read["content"]
        assert content["content"]["text"] == "````\n[notes.txt: lines 2-2 of 2]\n```␛[2J\n````"


PLAN = {
    "explanation": "why",
    "plan": [{"step": "Read \x1b[2Jit", "status": "completed"}, {"step": "Write", "status": "in_progress"}],
}
ENTRIES = [
    {"content": "Read ␛[2Jit", "priority": "medium", "status": "completed"},
    {"content": "Write", "priority": "medium", "status": "in_progress"},
]


async def test_a_plan_is_the_editors_plan_live_and_when_it_is_told_again(work: Path) -> None:
    async with editor(make_engine(call("update_plan", json.dumps(PLAN)), ANSWER), work) as one:
        session = await one.session(work)
        assert await one.say(session, "do it") == "end_turn"
        (plan,) = one.client.of(AgentPlanUpdate)
        assert [entry.model_dump(exclude_none=True) for entry in plan.entries] == ENTRIES
        assert [update.title.split()[0] for update in one.client.of(ToolCallStart)] == ["Loading"], "no call beside it"
        await one.call.close_session(session_id=session)
        await one.call.load_session(cwd=str(work), session_id=session, mcp_servers=[])
        assert one.client.of(AgentPlanUpdate) == [plan, plan]


async def test_a_plan_that_is_none_is_a_failed_call(work: Path) -> None:
    async with editor(make_engine(call("update_plan", '{"plan": []}'), ANSWER), work) as one:
        assert await one.say(await one.session(work), "do it") == "end_turn"
        failed = one.client.call("update_plan")
        assert (failed["kind"], failed["status"]) == ("think", "failed")
        assert "no steps" in failed["content"][0]["content"]["text"]
        assert one.client.of(AgentPlanUpdate) == []


@pytest.mark.parametrize("chosen", ["deny", "no such option", "session:7", "always:x"])
async def test_what_is_not_allowed_does_not_happen(work: Path, chosen: str) -> None:
    engine = make_engine(CALL_PATCH, ANSWER)
    async with editor(engine, work, Client(lambda call, options: chosen)) as one:
        assert await one.say(await one.session(work), "create hello.py") == "end_turn"
        assert not (work / "hello.py").exists()
        assert one.client.call("apply_patch")["status"] == "failed"
        assert len(engine.requests) == 2, "the model heard of it and went on"


async def test_a_client_that_cannot_ask_allows_nothing(work: Path) -> None:
    def fail(call: object, options: object) -> str:
        raise RequestError.method_not_found("session/request_permission")

    async with editor(make_engine(CALL_PATCH, ANSWER), work, Client(fail)) as one:
        assert await one.say(await one.session(work), "create hello.py") == "end_turn"
        assert not (work / "hello.py").exists()


async def test_what_is_allowed_for_the_session_is_not_asked_again(work: Path) -> None:
    async with editor(make_engine(CALL_PATCH, OTHER, ANSWER), work, Client(lambda call, options: "session:0")) as one:
        assert await one.say(await one.session(work), "two files") == "end_turn"
        assert len(one.client.asked) == 1
        assert (work / "other.py").exists()


async def test_a_question_that_is_cancelled_ends_the_turn(work: Path) -> None:
    async with editor(make_engine(CALL_PATCH), work, Client(lambda call, options: "")) as one:
        assert await one.say(await one.session(work), "create hello.py") == "cancelled"
        assert not (work / "hello.py").exists()


async def test_cancel_while_the_model_speaks_and_go_on(work: Path) -> None:
    engine = make_engine(ANSWER, ANSWER, hang_after=6)
    async with editor(engine, work) as one:
        session = await one.session(work)
        turn = asyncio.create_task(one.say(session, "hello"))
        await one.client.until(one.client.said)
        await one.call.cancel(session_id=session)
        assert await turn == "cancelled"
        assert engine.idle
        engine.hang_after = None
        assert await one.say(session, "again") == "end_turn"


async def test_cancel_while_a_question_is_open(work: Path) -> None:
    async with editor(make_engine(CALL_PATCH, ANSWER), work, Client(never)) as one:
        session = await one.session(work)
        turn = asyncio.create_task(one.say(session, "create hello.py"))
        await one.client.until(lambda: one.client.asked)
        await one.call.cancel(session_id=session)
        assert await turn == "cancelled"
        assert one.client.call("apply_patch")["status"] == "failed"
        assert not (work / "hello.py").exists()
        assert await one.say(session, "again") == "end_turn"


async def test_one_turn_at_a_time_in_a_session(work: Path) -> None:
    async with editor(make_engine(CALL_PATCH, ANSWER), work, Client(never)) as one:
        session = await one.session(work)
        turn = asyncio.create_task(one.say(session, "create hello.py"))
        await one.client.until(lambda: one.client.asked)
        with pytest.raises(RequestError, match="A turn is running"):
            await one.say(session, "and this")
        await one.call.cancel(session_id=session)
        assert await one.say(session, "at once behind a cancel") == "end_turn"
        assert await turn == "cancelled"


async def test_the_client_dies_in_the_middle_of_a_turn(work: Path, caplog: pytest.LogCaptureFixture) -> None:
    engine = make_engine(CALL_PATCH, hang_after=6)
    async with editor(engine, work) as one:
        turn = asyncio.create_task(one.say(await one.session(work), "create hello.py"))
        await one.client.until(one.client.thought)
        one.socket.shutdown(2)
        await one.serving
        assert engine.idle
        with pytest.raises(ConnectionError):
            await turn
    assert [record.message for record in caplog.records] == [], "nobody is there to read complaints"


async def test_a_model_that_fails_is_an_error_and_the_session_goes_on(work: Path) -> None:
    engine = make_engine(ANSWER, ANSWER, die_after=3)
    async with editor(engine, work) as one:
        session = await one.session(work)
        with pytest.raises(RequestError, match=r"The engine process died.*restart it"):
            await one.say(session, "hello")
        engine.die_after = None
        engine.dead = False
        assert await one.say(session, "again") == "end_turn"


async def test_a_turn_that_runs_out_of_room_says_so(work: Path) -> None:
    async with editor(make_engine(ANSWER), work, max_tokens=6) as one:
        assert await one.say(await one.session(work), "hello") == "max_tokens"
        assert "say `continue`" in one.client.said()


async def test_two_sessions_share_one_engine(work: Path, tmp_path: Path) -> None:
    """The scripted engine refuses a second generation beside the first: the sessions have to take turns."""
    other = tmp_path / "other"
    other.mkdir()
    engine = make_engine(CALL_PATCH, CALL_PATCH, ANSWER, ANSWER)
    async with editor(engine, work) as one:
        sessions = [await one.session(work), await one.session(other)]
        ended = await asyncio.gather(*(one.say(session, "create hello.py") for session in sessions))
        assert ended == ["end_turn", "end_turn"]
        assert (work / "hello.py").exists()
        assert (other / "hello.py").exists()
        assert [one.client.said(session=session) for session in sessions] == ["I created hello.py."] * 2
        prompts = [request.prompt for request in engine.requests]
        assert [len(prompt) for prompt in prompts[:2]] == [len(prompts[0])] * 2, "each began before either went on"
        assert len(one.made) == 1


async def test_cancelling_one_session_leaves_the_other_alone(work: Path) -> None:
    engine = make_engine(ANSWER, ANSWER, hang_after=6)
    async with editor(engine, work) as one:
        first, second = await one.session(work), await one.session(work)
        hanging = asyncio.create_task(one.say(first, "hello"))
        await one.client.until(lambda: one.client.said(session=first))
        waiting = asyncio.create_task(one.say(second, "hello"))
        await asyncio.sleep(0)
        engine.hang_after = None
        await one.call.cancel(session_id=first)
        assert (await hanging, await waiting) == ("cancelled", "end_turn")
        assert one.client.said(session=second) == "I created hello.py."
