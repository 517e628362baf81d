"""What an editor does with sessions: lists, loads, copies and closes them, and chooses how they work."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from acp import RequestError
from acp.schema import (
    AvailableCommandsUpdate,
    ConfigOptionUpdate,
    CurrentModeUpdate,
    EnvVariable,
    McpServerStdio,
    SessionInfoUpdate,
    SseMcpServer,
)

from gptoss_tui.harmony.tokenizer import load_tokenizer
from tests.acp.client import Client, editor, never
from tests.agent.helpers import ANSWER, CALL_PATCH, call, make_engine
from tests.processes import running, until

TOOLBOX = Path(__file__).parents[1] / "tools" / "mcp" / "server.py"


async def test_a_session_is_saved_listed_and_told_again(work: Path) -> None:
    async with editor(make_engine(CALL_PATCH, ANSWER), work) as one:
        session = await one.session(work)
        assert (await one.call.list_sessions(cwd=str(work))).sessions == [], "nothing was said yet"
        await one.say(session, "create hello.py")
        assert [update.title for update in one.client.of(SessionInfoUpdate)] == ["create hello.py"]
        live = one.client.call("apply_patch")

    client = Client()
    async with editor(make_engine(ANSWER), work, client) as one:
        (saved,) = (await one.call.list_sessions(cwd=str(work))).sessions
        assert (saved.session_id, saved.cwd, saved.title) == (session, str(work), "create hello.py")
        assert (await one.call.list_sessions(cwd="/nowhere")).sessions == []
        loaded = await one.call.load_session(cwd=str(work), session_id=session, mcp_servers=[])
        assert (client.heard(), client.thought(), client.said()) == (
            "create hello.py",
            "I add the file.",
            "I created hello.py.",
        )
        assert client.call("apply_patch") == live
        assert loaded.modes is not None
        assert client.asked == []
        assert await one.say(session, "again") == "end_turn"


async def test_the_model_reads_a_loaded_session_as_it_was(work: Path) -> None:
    before, after = make_engine(ANSWER), make_engine(ANSWER)
    async with editor(before, work) as one:
        session = await one.session(work)
        await one.say(session, "first")
    async with editor(after, work) as one:
        await one.call.resume_session(session_id=session, cwd=str(work))
        assert one.client.heard() == "", "a client that resumes knows it all"
        await one.say(session, "second")
    prompt = load_tokenizer().decode(after.requests[0].prompt)
    assert prompt.index("first") < prompt.index("I created hello.py.") < prompt.index("second")


async def test_a_copy_of_a_session(work: Path) -> None:
    engine = make_engine(ANSWER, ANSWER, ANSWER)
    async with editor(engine, work) as one:
        session = await one.session(work)
        await one.say(session, "first")
        copy = (await one.call.fork_session(session_id=session, cwd=str(work))).session_id
        assert copy != session
        assert await one.say(copy, "in the copy") == "end_turn"
        assert await one.say(session, "in the first one, which is still open") == "end_turn"
        prompts = [load_tokenizer().decode(request.prompt) for request in engine.requests]
        assert ["in the copy" in prompt for prompt in prompts] == [False, True, False]
        assert all("first" in prompt for prompt in prompts)
        ids = {saved.session_id for saved in (await one.call.list_sessions(cwd=str(work))).sessions}
        assert ids == {session, copy}
        await one.call.close_session(session_id=session)
        with pytest.raises(RequestError, match="no session"):
            await one.say(session, "gone")


async def test_sessions_that_cannot_be(work: Path) -> None:
    async with editor(make_engine(ANSWER), work) as one:
        for cwd in ("relative", str(work / "nowhere"), f"{work}\0", f"{work}/\ud800"):
            with pytest.raises(RequestError) as error:
                await one.call.new_session(cwd=cwd, mcp_servers=[])
            assert error.value.code == -32602
        with pytest.raises(RequestError, match="additional directories"):
            await one.call.new_session(cwd=str(work), mcp_servers=[], additional_directories=["/tmp"])
        with pytest.raises(RequestError, match="There is no session") as error:
            await one.call.load_session(cwd=str(work), session_id="20260101-000000-abcdef", mcp_servers=[])
        assert error.value.code == -32002, "clients begin another session then"
        await one.say(await one.session(work), "hello")
        for name in ("last", "2", "", "../../etc/passwd", "a" * 5000, "\0", "\ud800"):
            for ask in (one.call.load_session, one.call.fork_session, one.call.resume_session):
                with pytest.raises(RequestError, match="no session"):
                    await ask(cwd=str(work), session_id=name, mcp_servers=[])
        with pytest.raises(RequestError, match="cursor"):
            await one.call.list_sessions(cursor="x")
        with pytest.raises(RequestError, match="cwd"):
            await one.call.list_sessions(cwd="/\0")
        with pytest.raises(RequestError):
            await one.call.authenticate(method_id="any")
        await one.call.cancel(session_id="no such session")
        assert await one.session(work), "none of this did any harm"


async def test_a_list_comes_in_pages(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gptoss_tui.acp.server._PAGE", 2)
    async with editor(make_engine(ANSWER, ANSWER, ANSWER), work) as one:
        made = [await one.session(work) for _ in range(3)]
        for session in made:
            await one.say(session, "hello")
        first = await one.call.list_sessions(cwd=str(work))
        second = await one.call.list_sessions(cwd=str(work), cursor=first.next_cursor)
        assert [len(first.sessions), len(second.sessions), second.next_cursor] == [2, 1, None]
        assert {saved.session_id for saved in (*first.sessions, *second.sessions)} == set(made)


async def test_modes(work: Path) -> None:
    async with editor(make_engine(CALL_PATCH, ANSWER, CALL_PATCH, ANSWER), work) as one:
        new = await one.call.new_session(cwd=str(work), mcp_servers=[])
        assert new.modes is not None
        assert new.modes.current_mode_id == "ask"
        assert [mode.id for mode in new.modes.available_modes] == ["read-only", "ask", "auto-edit", "full-auto"]
        session = new.session_id
        await one.call.set_session_mode(session_id=session, mode_id="read-only")
        await one.say(session, "create hello.py")
        assert not (work / "hello.py").exists()
        chosen = await one.call.set_config_option(session_id=session, config_id="mode", value="auto-edit")
        assert chosen.config_options[0].current_value == "auto-edit"
        await one.say(session, "create hello.py")
        assert (work / "hello.py").exists()
        assert one.client.asked == []
        with pytest.raises(RequestError, match="no mode 'root'"):
            await one.call.set_session_mode(session_id=session, mode_id="root")


async def test_effort(work: Path) -> None:
    engine = make_engine(ANSWER)
    async with editor(engine, work) as one:
        session = await one.session(work)
        with pytest.raises(RequestError, match="no effort 'endless'"):
            await one.call.set_config_option(session_id=session, config_id="effort", value="endless")
        await one.call.set_config_option(session_id=session, config_id="effort", value="high")
        await one.say(session, "hello")
        assert "Reasoning: high" in load_tokenizer().decode(engine.requests[0].prompt)


async def test_another_model_goes_on_with_the_conversation(work: Path, tmp_path: Path) -> None:
    other = tmp_path / "models" / "other"
    other.mkdir(parents=True)
    engines = [make_engine(ANSWER), make_engine(ANSWER)]
    made = iter(engines)
    async with editor(lambda spec: next(made), work) as one:
        session = await one.session(work)
        await one.say(session, "first")
        options = await one.call.set_config_option(session_id=session, config_id="model", value="nano")
        assert options.config_options[1].current_value == "nano"
        await one.say(session, "second")
        assert [spec.name for spec in one.made] == ["", "nano"]
        assert "first" in load_tokenizer().decode(engines[1].requests[0].prompt)
        with pytest.raises(RequestError, match="no model"):
            await one.call.set_config_option(session_id=session, config_id="model", value="/etc")


async def test_saved_prompts_are_commands_and_a_project_s_is_shown_first(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPTOSS_TUI_APPROVALS", str(tmp_path / "approvals"))
    (work / ".claude" / "commands").mkdir(parents=True)
    (work / ".claude" / "commands" / "look.md").write_text("Look at $1.")
    engine = make_engine(ANSWER)
    async with editor(engine, work) as one:
        session = await one.session(work)
        await one.client.until(lambda: one.client.of(AvailableCommandsUpdate))
        (commands,) = one.client.of(AvailableCommandsUpdate)
        found = {command.name: command.description for command in commands.available_commands}
        assert found["look"] == "Look at $1. (.claude/commands/look.md)"
        assert await one.say(session, "/look src") == "end_turn"
        assert "/look is the project's: .claude/commands/look.md" in one.client.said()
        assert engine.requests == []
        assert await one.say(session, "/look src") == "end_turn"
        assert "Look at src." in load_tokenizer().decode(engine.requests[0].prompt)


async def test_slash_commands(work: Path) -> None:
    engine = make_engine(CALL_PATCH, ANSWER)
    async with editor(engine, work) as one:
        session = await one.session(work)
        await one.client.until(lambda: one.client.of(AvailableCommandsUpdate))
        (commands,) = one.client.of(AvailableCommandsUpdate)
        assert {"compact", "undo", "context"} <= {command.name for command in commands.available_commands}
        await one.say(session, "create hello.py")
        assert await one.say(session, "/undo") == "end_turn"
        assert not (work / "hello.py").exists()
        assert "Turn 1 is undone." in one.client.said()
        await one.say(session, "/mode auto-edit")
        assert one.client.of(CurrentModeUpdate)[0].current_mode_id == "auto-edit"
        assert one.client.of(ConfigOptionUpdate)[0].config_options[0].current_value == "auto-edit"
        await one.say(session, "/effort endless")
        assert "There is no effort endless" in one.client.said()
        assert len(engine.requests) == 2, "no command was sent to the model"


@pytest.mark.parametrize(
    ("chosen", "left"), [("keep", "mine\n"), ("restore", None), ("", "mine\n"), ("no option", "mine\n")]
)
async def test_a_file_that_changed_since_is_asked_about(work: Path, chosen: str, left: str | None) -> None:
    client = Client(lambda call, options: chosen if call.title == "Put hello.py back?" else "once")
    async with editor(make_engine(CALL_PATCH, ANSWER), work, client) as one:
        session = await one.session(work)
        await one.say(session, "create hello.py")
        (work / "hello.py").write_text("mine\n")
        assert await one.say(session, "/undo") == "end_turn"
        _, (asked, options) = client.asked
        assert asked.title == "Put hello.py back?"
        assert {"keep", "restore"} <= {option.option_id for option in options}
    assert ((work / "hello.py").read_text() if (work / "hello.py").exists() else None) == left


async def test_cancel_while_a_file_is_asked_about(work: Path) -> None:
    async with editor(make_engine(CALL_PATCH, ANSWER), work) as one:
        session = await one.session(work)
        await one.say(session, "create hello.py")
        (work / "hello.py").write_text("mine\n")
        one.client.answer = never
        undoing = asyncio.create_task(one.say(session, "/undo"))
        await one.client.until(lambda: len(one.client.asked) == 2)
        await one.call.cancel(session_id=session)
        assert await undoing == "cancelled"
    assert (work / "hello.py").read_text() == "mine\n"


async def test_compact(work: Path) -> None:
    summary = "We said hello.<|return|>"
    async with editor(make_engine(ANSWER, summary), work) as one:
        session = await one.session(work)
        await one.say(session, "hello")
        assert await one.say(session, "/compact the names") == "end_turn"
        assert "tokens now" in one.client.thought()


async def test_servers_of_the_editor_are_tools_that_ask(work: Path) -> None:
    server = McpServerStdio(
        name="box",
        command=sys.executable,
        args=[str(TOOLBOX)],
        env=[EnvVariable(name="SECRET", value="from the editor")],
    )
    variable = call("x", '{"name": "SECRET"}').replace("functions.x", "box.variable")
    engine = make_engine(ANSWER, variable, ANSWER)
    async with editor(engine, work) as one:
        session = (await one.call.new_session(cwd=str(work), mcp_servers=[server])).session_id
        await one.say(session, "a turn waits for servers, but not for long")
        listed = ""
        while "box: " not in listed:  # what was said before may be about a server that is slow
            before = len(one.client.said())
            await asyncio.sleep(0.05)
            await one.say(session, "/tools")
            listed = one.client.said()[before:]
        await one.say(session, "what is it?")
        ((asked, _),) = one.client.asked
        assert asked.title == "Call variable of box"
        assert "from the editor" in load_tokenizer().decode(engine.requests[2].prompt)
        with pytest.raises(RequestError, match="transport"):
            await one.call.new_session(
                cwd=str(work), mcp_servers=[SseMcpServer(type="sse", name="old", url="http://localhost", headers=[])]
            )
        assert running(sys.executable, str(TOOLBOX))
    await until(lambda: not running(sys.executable, str(TOOLBOX)))
