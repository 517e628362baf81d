"""Lines that a person runs from the composer, and the notes on them that go with the next message."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from textual.events import Paste
from textual.pilot import Pilot

from gptoss_tui.agent.approvals import Approvals
from gptoss_tui.errors import UsageError
from gptoss_tui.tui.app import GptOssApp
from gptoss_tui.tui.widgets import composer as composer_module
from tests.tui.conftest import until
from tests.tui.screen import composer, conversation, panel, rows, screen, status
from tests.tui.scripted_agent import Clock, ScriptedEngine, answer_script, make_app

SMALL, WIDE = (80, 24), (140, 40)


async def test_a_shell_line_is_run_shown_and_told_to_the_model(workspace: Path) -> None:
    app, agent = make_app(workspace=workspace)
    async with app.run_test(size=WIDE) as pilot:
        await until(pilot, lambda: "ready" in status(app))
        await pilot.press(*"!echo out; pwd; exit 3", "enter")
        await until(pilot, lambda: "exit code 3" in conversation(app))
        assert str(workspace) in conversation(app)
        assert agent.prompts == []
        assert any("(Backspace drops it): ! echo out; pwd; exit 3 (exit code 3)" in row for row in rows(app))
        await pilot.press(*"why?", "enter")
        await until(pilot, lambda: agent.prompts)
        assert "[the user ran: echo out; pwd; exit 3 (exit code 3)]\nout\n" in agent.prompts[0]
        assert "goes with the next message" not in screen(app)
        assert "+ ! echo out; pwd; exit 3 (exit code 3)" in conversation(app)
        await pilot.press(*"and now?", "enter")
        await until(pilot, lambda: len(agent.prompts) == 2)
        assert agent.prompts[1] == "and now?"


async def test_backspace_in_the_empty_composer_keeps_the_output_from_the_model(workspace: Path) -> None:
    app, agent = make_app(workspace=workspace)
    async with app.run_test(size=WIDE) as pilot:
        await until(pilot, lambda: "ready" in status(app))
        await pilot.press(*"!echo secret", "enter")
        await until(pilot, lambda: "goes with the next message" in screen(app))
        await pilot.press("backspace")
        await until(pilot, lambda: "goes with the next message" not in screen(app))
        await pilot.press(*"hi", "enter")
        await until(pilot, lambda: agent.prompts == ["hi"])


async def test_escape_ends_a_shell_line(workspace: Path) -> None:
    app, _ = make_app(workspace=workspace)
    async with app.run_test(size=WIDE) as pilot:
        await until(pilot, lambda: "ready" in status(app))
        await pilot.press(*"!echo started; sleep 60", "enter")
        await until(pilot, lambda: "started" in conversation(app).replace("echo started", ""))
        assert "running your command" in status(app)
        assert "Esc stop" in rows(app)[-1]
        spinner = status(app)[:3]
        await until(pilot, lambda: status(app)[:3] != spinner)
        await pilot.press("escape")
        await until(pilot, lambda: "stopped by the user" in conversation(app))
        await until(pilot, lambda: "ready" in status(app))
        assert "Esc stop" not in rows(app)[-1]


async def answer(pilot: Pilot[int], app: GptOssApp, clock: Clock, key: str) -> None:
    """Press a key when the question is on screen and old enough for it."""
    await until(pilot, lambda: panel(app).grace.is_shown)
    clock.now += 1
    await pilot.press(key)


async def test_the_policy_decides_about_a_shell_line(workspace: Path) -> None:
    clock = Clock()
    app, agent = make_app(clock=clock, workspace=workspace)
    agent.approvals = Approvals("read-only")
    async with app.run_test(size=WIDE) as pilot:
        await until(pilot, lambda: "ready" in status(app))
        await pilot.press(*"!touch one", "enter")
        await until(pilot, lambda: "read-only" in conversation(app))
        assert "goes with the next message" not in screen(app)

        agent.approvals.mode = "ask"
        await pilot.press(*"!touch two", "enter")
        await answer(pilot, app, clock, "n")
        await until(pilot, lambda: conversation(app).count("denied") > 1)
        assert not {"one", "two"} & set(os.listdir(workspace))

        await pilot.press(*"!touch three", "enter")
        await answer(pilot, app, clock, "y")
        await until(pilot, (workspace / "three").exists)


async def test_a_shell_line_waits_for_what_decides_about_it(workspace: Path) -> None:
    app, _ = make_app(engine=ScriptedEngine(hold=True), workspace=workspace)
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press(*"!touch one", "enter")
        await until(pilot, lambda: "Commands cannot run before the model is loaded" in conversation(app))
        assert composer(app).text == "!touch one"
        assert "one" not in os.listdir(workspace)


async def test_an_answer_for_the_session_holds_for_shell_lines_and_escape_withdraws_a_question(workspace: Path) -> None:
    clock = Clock()
    app, agent = make_app(clock=clock, workspace=workspace)
    agent.approvals = Approvals("ask")
    async with app.run_test(size=WIDE) as pilot:
        await until(pilot, lambda: "ready" in status(app))
        await pilot.press(*"!echo first", "enter")
        await answer(pilot, app, clock, "a")
        await until(pilot, lambda: "goes with the next message" in screen(app))
        await pilot.press(*"!echo first", "enter")
        await until(pilot, lambda: conversation(app).count("✓") == 2)
        assert agent.approvals.policy.rules[0].reach == "sandbox"

        await pilot.press(*"!touch never", "enter")
        await until(pilot, lambda: "waits for you" in status(app))
        await answer(pilot, app, clock, "escape")
        await until(pilot, lambda: app.screen.focused is composer(app))
        assert not (workspace / "never").exists()


async def test_a_message_that_comes_back_has_its_notes_and_no_attachments(workspace: Path) -> None:
    app, agent = make_app(["hold"], answer_script("ok"), workspace=workspace)
    async with app.run_test(size=WIDE) as pilot:
        await until(pilot, lambda: "ready" in status(app))
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: agent.prompts == ["go"])
        await pilot.press(*"!echo noted", "enter")
        await until(pilot, lambda: "goes with the next message" in screen(app))
        await pilot.press(*"see @README.md ", "tab")
        await until(pilot, lambda: "queued" in screen(app))
        await pilot.press("up")
        await until(pilot, lambda: composer(app).text == "see @README.md ")
        assert "goes with the next message" in screen(app)


async def test_a_large_message_comes_back_as_chips() -> None:
    app, agent = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: "ready" in status(app))
        agent.refusal = UsageError("The message is too long")
        large = "a line of text\n" * 100_000
        app.post_message(Paste(large))
        await pilot.press(*" end", "enter")
        await until(pilot, lambda: "The message is too long" in conversation(app))
        draft = composer(app)
        await until(pilot, lambda: draft.text == "[paste 1: 100,000 lines] end")
        assert draft.expanded == f"{large} end"
        draft.set_draft("word " * 5000)
        assert draft.text == "[paste 2: 25,000 characters]"


async def test_the_cursor_of_an_untouched_composer_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composer_module, "BLINKS", 2)
    app, _ = make_app()
    async with app.run_test(size=SMALL) as pilot:
        draft = composer(app)
        await until(pilot, lambda: not draft.blink_timer._active.is_set())
        assert draft._cursor_visible
        await pilot.press("a")
        assert draft.blink_timer._active.is_set()
        await until(pilot, lambda: not draft.blink_timer._active.is_set())
        assert draft._cursor_visible
