"""The composer as a person meets it: chips, growth, undo, history, drafts. Driven by keys."""

from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from textual.events import Click, Key, Paste

from tests.tui.conftest import until
from tests.tui.screen import composer, screen, status
from tests.tui.scripted_agent import make_app

SMALL, WIDE = (80, 24), (140, 40)
LONG = "row\n" * 40
CHIP = "[paste 1: 40 lines]"


def state(workspace: Path) -> Path:
    """Where the app keeps its history, and its drafts beside it."""
    return workspace.parent / "state" / "history.jsonl"


# Chips


async def test_a_chip_moves_and_goes_as_one() -> None:
    app, _ = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"a")
        app.post_message(Paste(LONG))
        await until(pilot, lambda: composer(app).text == f"a{CHIP}")
        await pilot.press("b", "left", "left")
        assert composer(app).cursor_location == (0, 1), "one step over the whole chip"
        await pilot.press("right")
        assert composer(app).cursor_location == (0, 1 + len(CHIP))
        await pilot.press("backspace")
        assert composer(app).text == "ab"
        await pilot.press("ctrl+underscore")
        assert composer(app).text == f"a{CHIP}b"
        await pilot.press("home", "right", "delete")
        assert composer(app).text == "ab"


async def test_a_chip_is_spelled_out_by_key_and_by_double_click() -> None:
    app, agent = make_app()
    async with app.run_test(size=SMALL) as pilot:
        app.post_message(Paste(LONG))
        await until(pilot, lambda: composer(app).text == CHIP)
        await pilot.press("alt+v")
        assert composer(app).text == LONG
        await pilot.press("ctrl+underscore")
        assert composer(app).text == CHIP
        composer(app).post_message(Click(composer(app), 5, 1, 0, 0, 1, False, False, False, chain=2))
        await until(pilot, lambda: composer(app).text == LONG)
        await pilot.press("enter")
        await until(pilot, lambda: agent.prompts == [LONG])


async def test_a_sent_chip_comes_back_from_the_history_as_a_chip() -> None:
    app, agent = make_app()
    async with app.run_test(size=SMALL) as pilot:
        app.post_message(Paste(LONG))
        await pilot.press(*"why?", "enter")
        await until(pilot, lambda: agent.prompts == [f"{LONG}why?"])
        await pilot.press("up")
        assert composer(app).text == f"{CHIP}why?"
        await pilot.press("enter")
        await until(pilot, lambda: len(agent.prompts) == 2)
        assert agent.prompts[1] == f"{LONG}why?"


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from(
            ["a", "space", "left", "right", "backspace", "delete", "home", "end", "ctrl+w", "ctrl+left", "up", "chip"]
        ),
        max_size=25,
    )
)
async def test_no_key_leaves_a_part_of_a_chip(keys: list[str]) -> None:
    app, _ = make_app()
    async with app.run_test(size=SMALL) as pilot:
        for key in ["chip", *keys]:
            if key == "chip":
                app.post_message(Paste(LONG))
                await pilot.pause()
            else:
                await pilot.press(key)
        text = composer(app).text
        left = text.replace(CHIP, "")
        assert "[" not in left
        assert "]" not in left
        start, end = next(iter(composer(app).chips.spans(text)), (0, 0))
        assert not start < composer(app).cursor_location[1] < end


# Growth, undo, keys


async def test_the_composer_grows_with_the_draft_to_a_share_of_the_screen() -> None:
    app, _ = make_app()
    async with app.run_test(size=WIDE) as pilot:
        assert composer(app).outer_size.height == 3
        await pilot.press("a", "ctrl+j", "b", "ctrl+j", "c")
        await until(pilot, lambda: composer(app).outer_size.height == 5)
        for _ in range(40):
            await pilot.press("ctrl+j")
        await until(pilot, lambda: composer(app).outer_size.height == 16)
        await pilot.resize_terminal(80, 12)
        await until(pilot, lambda: composer(app).outer_size.height == 5)


async def test_typing_recalling_and_clearing_can_be_undone() -> None:
    app, agent = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"first", "enter")
        await until(pilot, lambda: agent.prompts == ["first"])
        await pilot.press(*"half", "up")
        assert composer(app).text == "first"
        await pilot.press("ctrl+underscore")
        assert composer(app).text == "half"
        await pilot.press("ctrl+y")
        assert composer(app).text == "first"


async def test_a_burst_of_keys_with_completions_loses_none(workspace: Path) -> None:
    app, agent = make_app(workspace=workspace)
    typed = "see @src and /effort, @READ then?"
    names = {" ": "space", "@": "at", "/": "slash", ",": "comma", "?": "question_mark"}
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: "ready" in status(app))
        for character in typed:
            app.post_message(Key(names.get(character, character), character))
        app.post_message(Key("space", " "))
        app.post_message(Key("enter", "\r"))
        await until(pilot, lambda: agent.prompts)
        assert agent.prompts[0].startswith(f"{typed} ")


async def test_editing_keys_in_a_burst_keep_their_place() -> None:
    app, agent = make_app()
    async with app.run_test(size=SMALL) as pilot:
        burst = [("x", "x"), ("y", "y"), ("ctrl+u", "\x15"), ("a", "a"), ("b", "b"), ("left", None), ("c", "c")]
        for key, character in [*burst, ("backspace", "\x7f"), ("end", None), ("d", "d"), ("enter", "\r")]:
            app.post_message(Key(key, character))
        await until(pilot, lambda: agent.prompts == ["abd"])


# History


async def test_words_are_gone_over_and_a_backslash_before_enter_breaks_the_line() -> None:
    app, agent = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"one two", "alt+left", *"X", "alt+b", "alt+b", "alt+d", *"Y")
        assert composer(app).text == "Y Xtwo"
        await pilot.press("end", "backslash", "enter", *"more")
        assert composer(app).text == "Y Xtwo\nmore"
        await pilot.press("enter")
        await until(pilot, lambda: agent.prompts == ["Y Xtwo\nmore"])


async def test_control_d_deletes_and_leaves_when_nothing_is_typed() -> None:
    app, _ = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: "ready" in status(app))
        await pilot.press(*"ab", "left", "ctrl+d")
        assert composer(app).text == "a"
        assert app.is_running
        await pilot.press("backspace", "ctrl+d")
        await until(pilot, lambda: not app.is_running)


async def test_prompts_of_all_sessions_can_be_searched(workspace: Path) -> None:
    path = state(workspace)
    app, agent = make_app(history_path=path)
    async with app.run_test(size=SMALL) as pilot:
        for prompt in ("fix the parser", "write a readme", "explain the parser"):
            await pilot.press(*prompt, "enter")
            await until(pilot, lambda prompt=prompt: prompt in agent.prompts)
    app, _ = make_app(history_path=path)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("ctrl+r")
        await until(pilot, lambda: "Earlier prompts" in screen(app))
        await pilot.press(*"parser")
        await until(pilot, lambda: "write a readme" not in screen(app))
        await pilot.press("down", "enter")
        await until(pilot, lambda: composer(app).text == "fix the parser")
        assert app.focused is composer(app)
        await pilot.press("ctrl+underscore")
        assert composer(app).text == ""


# The draft on disk


async def test_a_draft_survives_the_app(workspace: Path) -> None:
    path = state(workspace)
    app, _ = make_app(history_path=path)
    async with app.run_test(size=SMALL) as pilot:
        app.post_message(Paste(LONG))
        await pilot.press(*"not sent")
    app, agent = make_app(history_path=path)
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: composer(app).text == f"{CHIP}not sent")
        await pilot.press("enter")
        await until(pilot, lambda: agent.prompts == [f"{LONG}not sent"])
    app, _ = make_app(history_path=path)
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: "ready" in status(app))
        assert composer(app).text == ""


async def test_a_draft_is_on_disk_shortly_after_the_last_key(workspace: Path) -> None:
    app, _ = make_app(history_path=state(workspace))
    folder = state(workspace).parent / "drafts"
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"half a thou")
        await until(pilot, lambda: any("half a thou" in file.read_text() for file in folder.glob("*.json")))
