"""What a person does, from the first key to the last: the app on a scripted agent, driven by keys."""

from __future__ import annotations

import pytest
from textual.events import AppBlur, AppFocus

from gptoss_tui.agent import events as ev
from gptoss_tui.errors import CheckpointError, EngineDiedError, EngineError
from gptoss_tui.tui.controllers.frames import FrameClock
from tests.tui.conftest import until
from tests.tui.screen import composer, conversation, screen, status, transcript
from tests.tui.scripted_agent import (
    ScriptedEngine,
    answer_script,
    make_app,
)

SMALL, WIDE = (80, 24), (160, 50)


async def test_welcome_is_shown_before_the_model_is_loaded() -> None:
    app, _ = make_app(engine=ScriptedEngine(hold=True))
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: "Reading weights" in screen(app))
        assert "create hello.py that prints hello" in conversation(app)
        assert "50%" in screen(app)
        assert "loading" in status(app)


async def test_prompts_typed_while_loading_are_shown_as_queued_and_then_run() -> None:
    engine = ScriptedEngine(hold=True)
    app, agent = make_app(engine=engine)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"one", "enter", *"two", "enter")
        await until(pilot, lambda: "queued   two" in screen(app))
        assert "queued   one" in screen(app)
        assert agent.prompts == []
        engine.loaded.set()
        await until(pilot, lambda: agent.prompts == ["one", "two"])
        await until(pilot, lambda: "queued" not in screen(app))


async def test_prompt_from_the_command_line_is_the_first_message() -> None:
    app, agent = make_app(prompt="hello there")
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: agent.prompts == ["hello there"])


async def test_loading_that_fails_says_why_and_a_message_tries_again() -> None:
    engine = ScriptedEngine(failure=CheckpointError("The file config.json is missing", hint="download it again"))
    app, agent = make_app(engine=engine)
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: "config.json is missing" in conversation(app))
        assert "Download it again" in conversation(app)
        assert "no model" in status(app)
        engine.failure = None
        await pilot.press(*"again", "enter")
        await until(pilot, lambda: agent.prompts == ["again"])
        assert engine.loads == 2


async def test_queued_prompts_come_back_to_the_draft_when_loading_fails() -> None:
    engine = ScriptedEngine(hold=True, failure=CheckpointError("broken"))
    app, agent = make_app(engine=engine)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"keep", "enter")
        engine.loaded.set()
        await until(pilot, lambda: composer(app).text == "keep")
        assert agent.prompts == []


async def test_escape_interrupts_and_queued_prompts_return_to_the_draft() -> None:
    app, agent = make_app([ev.AnswerDelta(item_id="a", text="half an ans"), "hold"])
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: "half an ans" in conversation(app))
        await pilot.press(*"next", "tab")
        await until(pilot, lambda: "queued   next" in screen(app))
        await pilot.press("escape")
        await until(pilot, lambda: "interrupted" in conversation(app))
        assert "half an ans" in conversation(app)
        assert composer(app).text == "next"
        assert agent.prompts == ["go"]
        assert "ready" in status(app)


async def test_up_in_an_empty_composer_takes_the_queued_prompt_back() -> None:
    app, agent = make_app(["hold"])
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: agent.prompts)
        await pilot.press(*"next", "tab")
        await until(pilot, lambda: "queued   next" in screen(app))
        await pilot.press("up")
        await until(pilot, lambda: composer(app).text == "next")
        assert "queued" not in screen(app)


async def test_failed_turn_shows_its_hint() -> None:
    end = ev.TurnFinished(reason="failed", error="The prompt is too long", hint="Start a new conversation")
    app, _ = make_app([end])
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: "The prompt is too long" in conversation(app))
        assert "Start a new conversation" in conversation(app)
        assert "ready" in status(app)


async def test_engine_that_died_is_loaded_again_with_the_next_message() -> None:
    engine = ScriptedEngine()
    app, agent = make_app([ev.TurnFinished(reason="failed", error="The engine is gone")], engine=engine)
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: "ready" in status(app))
        engine.failure = CheckpointError("gone")
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: "no model" in status(app))
        engine.failure = None
        await pilot.press(*"on", "enter")
        await until(pilot, lambda: agent.prompts == ["go", "on"])
        assert engine.loads == 2


async def test_a_conversation_waits_for_its_own_model() -> None:
    """A server that is started again, say: the built-in model would know nothing of what was said."""
    engine = ScriptedEngine()
    app, agent = make_app([ev.TurnFinished(reason="failed", error="The server is gone")], engine=engine)
    app._backend.use_model("http://gpu.example:8000/v1")
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: "ready" in status(app))
        engine.failure = EngineDiedError("gpu.example cannot be reached", hint="start the server")
        await pilot.press(*"one", "enter")
        await until(pilot, lambda: "is no longer loaded" in conversation(app))
        await pilot.press(*"two", "enter")
        await until(pilot, lambda: "Send a message to try again" in conversation(app))
        assert "is loaded instead" not in conversation(app)
        engine.failure = None
        await pilot.press("enter")
        await until(pilot, lambda: agent.prompts == ["one", "two"])


async def test_a_prompt_that_began_no_turn_comes_back_to_the_draft() -> None:
    app, agent = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: "ready" in status(app))
        agent.refusal = EngineError("No model is loaded")
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: "No model is loaded" in conversation(app))
        assert composer(app).text == "go"
        agent.refusal = None
        await pilot.press("enter")
        await until(pilot, lambda: agent.prompts == ["go"])


async def test_new_conversation_clears_the_view() -> None:
    app, agent = make_app(answer_script("first answer"))
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: "30 tokens" in conversation(app))
        await until(pilot, lambda: "Enter send" in screen(app))
        await pilot.press("ctrl+n")
        assert agent.conversations == 1
        assert "first answer" not in conversation(app)
        assert "create hello.py" in conversation(app)
        assert "0/32.8k" in status(app)


async def test_new_conversation_waits_for_the_running_turn() -> None:
    app, agent = make_app(["hold"])
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: agent.prompts)
        await pilot.press("ctrl+n")
        assert agent.conversations == 0
        assert "Stop the model first" in conversation(app)


async def test_quitting_ends_the_engine() -> None:
    engine = ScriptedEngine()
    app, agent = make_app(engine=engine)
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: "ready" in status(app))
        await pilot.press("ctrl+q")
    assert engine.closed
    assert agent.closed


async def test_quitting_before_anything_is_loaded() -> None:
    engine = ScriptedEngine(hold=True)
    app, _ = make_app(engine=engine)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("ctrl+q")
    assert app.return_code == 0


async def test_a_bug_in_a_turn_does_not_take_the_app_down() -> None:
    app, agent = make_app()
    agent.submit = lambda text: 1 / 0  # type: ignore[method-assign, assignment, return-value]
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: "ZeroDivisionError" in conversation(app))
        assert "ready" in status(app)


async def test_nothing_ticks_when_nothing_runs_and_no_node_is_added_by_talking(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frames: list[int] = []
    beat = FrameClock.frame
    monkeypatch.setattr(FrameClock, "frame", lambda clock: (frames.append(1), beat(clock))[1])
    app, agent = make_app(*[answer_script(f"answer {n}", item=f"a{n}") for n in range(5)])
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: "ready" in status(app))
        nodes = len(app.screen.query("*"))
        for n in range(5):
            await pilot.press("x", "enter")
            await until(pilot, lambda n=n: len(agent.prompts) == n + 1 and "ready" in status(app))
        assert len(app.screen.query("*")) == nodes
        seen = len(frames)
        await pilot.pause(0.2)
        assert len(frames) == seen


async def test_focus_restyles_a_handful_of_nodes() -> None:
    app, _ = make_app()
    async with app.run_test(size=WIDE) as pilot:
        await until(pilot, lambda: "ready" in status(app))
        styled: list[object] = []
        original = app.stylesheet.update_nodes
        app.stylesheet.update_nodes = lambda nodes, animate=False: (  # type: ignore[method-assign]
            styled.extend(nodes := list(nodes)),
            original(nodes, animate=animate),
        )[1]
        app.post_message(AppBlur())
        app.post_message(AppFocus())
        await until(pilot, lambda: styled)
        assert transcript(app) not in styled
        assert len({id(node) for node in styled}) <= 10


async def test_a_turn_that_was_stopped_for_repeating_says_it_once() -> None:
    what, why = "The model repeats itself", "The model repeats itself, so it was stopped"
    end = ev.TurnFinished(reason="limit", error=why, hint="say `continue`")
    script = [*answer_script("la la la"), ev.RunawayDetected(item_id="a1", kind="tokens", what=what, asked=False), end]
    app, _ = make_app(script)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press(*"sing", "enter")
        await until(pilot, lambda: why in conversation(app))
        assert conversation(app).count(what) == 1
