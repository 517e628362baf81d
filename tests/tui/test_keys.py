"""Keys, pastes and clicks on the way into the draft and out of it. The app on a scripted agent."""

from __future__ import annotations

from pathlib import Path

from textual.events import Key, Paste

from tests.tui.conftest import until
from tests.tui.screen import composer, help_text, screen
from tests.tui.scripted_agent import (
    Clock,
    make_app,
)

SMALL = (80, 24)


async def test_effort_keys_and_their_ends() -> None:
    app, agent = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("alt+comma", "alt+comma")
        assert "effort ▮▯▯ low" in screen(app)
        await pilot.press("alt+full_stop", "alt+full_stop", "alt+full_stop")
        assert "effort ▮▮▮ high" in screen(app)
        await pilot.press("ctrl+t")
        assert "effort ▮▯▯ low" in screen(app)
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: agent.efforts == ["low"])
        assert composer(app).text == ""


async def test_history_walks_at_the_edges_and_survives_the_app(tmp_path: Path) -> None:
    path = tmp_path / "state" / "history.jsonl"
    app, agent = make_app(history_path=path)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"first", "enter")
        await until(pilot, lambda: agent.prompts == ["first"])
        await pilot.press(*"a", "ctrl+j", *"b", "enter")
        await until(pilot, lambda: agent.prompts == ["first", "a\nb"])
    assert path.stat().st_mode & 0o777 == 0o600
    app, _ = make_app(history_path=path)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"draft", "up")
        assert composer(app).text == "a\nb"
        await pilot.press("up")
        assert composer(app).text == "a\nb", "inside the text Up moves the cursor"
        await pilot.press("up")
        assert composer(app).text == "first"
        await pilot.press("down")
        assert composer(app).text == "a\nb"
        await pilot.press("down", "down")
        assert composer(app).text == "draft"


async def test_a_large_paste_becomes_a_chip_and_is_sent_in_full() -> None:
    pasted = "\r".join(f"line {n}" for n in range(30_000))
    app, agent = make_app()
    async with app.run_test(size=SMALL) as pilot:
        app.post_message(Paste(pasted))
        await until(pilot, lambda: "30,000 lines" in composer(app).text)
        assert len(composer(app).text) < 80
        await pilot.press("enter")
        await until(pilot, lambda: agent.prompts)
        assert agent.prompts[0] == pasted.replace("\r", "\n")


async def test_question_mark_helps_only_when_nothing_is_typed() -> None:
    app, _ = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("question_mark")
        assert "Think less" in help_text(app)
        await pilot.press("escape")
        await pilot.press("a", "question_mark")
        assert composer(app).text == "a?"
        await pilot.press("f1")
        assert "Think less" in help_text(app)


async def test_keys_that_come_in_one_burst_keep_their_order() -> None:
    app, agent = make_app()
    async with app.run_test(size=SMALL) as pilot:
        for character in "is it so?":
            app.post_message(Key(_key_of(character), character))
        app.post_message(Key("enter", "\r"))
        await until(pilot, lambda: agent.prompts)
        assert agent.prompts == ["is it so?"]


async def test_keys_before_the_composer_has_the_focus_are_not_lost() -> None:
    app, _ = make_app()
    async with app.run_test(size=SMALL) as pilot:
        app.screen.set_focus(None)
        app.post_message(Key("h", "h"))
        app.post_message(Key("i", "i"))
        await until(pilot, lambda: composer(app).text == "hi")
        assert app.focused is composer(app)


def _key_of(character: str) -> str:
    return {" ": "space", "?": "question_mark"}.get(character, character)


async def test_ctrl_c_interrupts_first_and_quits_when_pressed_again() -> None:
    clock = Clock()
    app, agent = make_app(["hold"], clock=clock)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: agent.prompts)
        await pilot.press("ctrl+c")
        await until(pilot, lambda: agent.interrupts == 1)
        assert app.is_running
        assert "again to quit" in screen(app)
        clock.now += 3
        await pilot.press("ctrl+c")
        assert app._exit is False
        clock.now += 1
        await pilot.press("ctrl+c")
        assert app._exit is True


async def test_what_is_typed_between_two_ctrl_c_is_cleared_and_does_not_quit() -> None:
    app, _ = make_app(clock=Clock())
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"one", "ctrl+c")
        assert "again to quit" in screen(app)
        await pilot.press(*"two")
        await until(pilot, lambda: "again to quit" not in screen(app))
        await pilot.press("ctrl+c")
        assert composer(app).text == ""
        assert app._exit is False
        await pilot.press("ctrl+c")
        assert app._exit is True


async def test_a_click_on_an_example_fills_the_composer() -> None:
    app, _ = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await pilot.click("#conversation", offset=(8, 5))
        assert composer(app).text == "create hello.py that prints hello"


async def test_hints_can_be_clicked() -> None:
    app, agent = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go")
        await pilot.click("#hints", offset=(2, 0))
        await until(pilot, lambda: agent.prompts == ["go"])
