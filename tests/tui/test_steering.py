"""What is typed while the model works: it steers the running turn, or waits for a turn of its own."""

from __future__ import annotations

from gptoss_tui.agent import events as ev
from tests.tui.conftest import until
from tests.tui.screen import composer, conversation, screen, status
from tests.tui.scripted_agent import ScriptedEngine, Step, answer_script, make_app

SMALL = (80, 24)


def held(*rest: Step) -> list[Step]:
    """A turn that says something, waits to be released, and goes on with `rest`."""
    return [ev.AnswerDelta(item_id="a", text="working"), "hold", *rest]


async def test_enter_steers_the_running_turn_and_is_shown_until_the_model_read_it() -> None:
    app, agent = make_app(held(*answer_script("as you say", item="b")))
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: "working" in conversation(app))
        await pilot.press(*"use tabs", "enter")
        await until(pilot, lambda: "steering use tabs" in screen(app))
        assert agent.steered == ["use tabs"]
        agent.release()
        await until(pilot, lambda: "as you say" in conversation(app))
        assert "steering" not in screen(app)
        assert agent.prompts == ["go"]


async def test_tab_queues_behind_the_running_turn() -> None:
    app, agent = make_app(held())
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: "working" in conversation(app))
        await pilot.press(*"then this", "tab")
        await until(pilot, lambda: "queued   then this" in screen(app))
        assert agent.steered == []
        agent.release()
        await until(pilot, lambda: agent.prompts == ["go", "then this"])


async def test_a_message_that_came_too_late_to_steer_runs_next() -> None:
    app, agent = make_app(held())
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: "working" in conversation(app))
        await pilot.press(*"late", "enter")
        await until(pilot, lambda: "steering late" in screen(app))
        agent.release()  # the script ends here: no step takes the message
        await until(pilot, lambda: agent.prompts == ["go", "late"])
        await until(pilot, lambda: "ready" in status(app))


async def test_a_message_that_steers_a_turn_that_is_stopped_comes_back_to_the_draft() -> None:
    app, agent = make_app(held())
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: "working" in conversation(app))
        await pilot.press(*"kept", "enter")
        await until(pilot, lambda: agent.steered)
        await pilot.press("escape")
        await until(pilot, lambda: composer(app).text == "kept")
        assert agent.prompts == ["go"]


async def test_a_click_on_a_waiting_message_edits_it() -> None:
    engine = ScriptedEngine(hold=True)
    app, agent = make_app(engine=engine)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"one", "enter", *"two", "enter")
        await until(pilot, lambda: "queued   two" in screen(app))
        await pilot.click("#queue", offset=(12, 0))
        await until(pilot, lambda: composer(app).text == "one")
        assert "queued   one" not in screen(app)
        await pilot.press("end", *" more", "enter")
        engine.loaded.set()
        await until(pilot, lambda: agent.prompts == ["two", "one more"])


async def test_many_waiting_messages_take_few_rows() -> None:
    app, _ = make_app(engine=ScriptedEngine(hold=True))
    async with app.run_test(size=SMALL) as pilot:
        for number in range(7):
            await pilot.press(*f"m{number}", "enter")
        await until(pilot, lambda: "and 4 more" in screen(app))
        assert screen(app).count("queued") == 3
