"""Vim keys in the app: modes, undo, what the row of hints says, and switching them on."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from textual.events import Key, Paste
from textual.keys import _character_to_key

from gptoss_tui.agent import events as ev
from gptoss_tui.tui.screens.picker import PickerScreen
from tests.tui.conftest import until
from tests.tui.screen import composer, conversation, offered, rows, screen, status
from tests.tui.scripted_agent import ScriptedEngine, make_app

SMALL = (80, 24)
CHIP = "[paste 1: 40 lines]"


async def test_escape_leaves_insert_mode_and_enter_sends_in_both() -> None:
    app, agent = make_app(vim=True)
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: "INSERT" in rows(app)[-1])
        await pilot.press(*"one two", "escape")
        await until(pilot, lambda: "NORMAL" in rows(app)[-1])
        assert composer(app).cursor_location == (0, 6)
        await pilot.press("b", "2")
        await until(pilot, lambda: "NORMAL 2" in rows(app)[-1])
        await pilot.press("x", "enter")
        await until(pilot, lambda: agent.prompts == ["one o"])
        await until(pilot, lambda: "INSERT" in rows(app)[-1])
        await pilot.press(*"next", "enter")
        await until(pilot, lambda: agent.prompts[1:] == ["next"])


async def test_what_was_typed_in_one_go_is_undone_in_one_go() -> None:
    app, _ = make_app(vim=True)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"one two", "ctrl+j", *"three", "backspace", "escape")
        await pilot.press("g", "g", "c", "w", *"ONE", "backspace", "escape")
        assert composer(app).text == "ON two\nthre"
        await pilot.press("u")
        assert composer(app).text == "one two\nthre"
        assert composer(app).cursor_location == (0, 0)
        await pilot.press("u")
        assert composer(app).text == ""
        await pilot.press("ctrl+r", "ctrl+r")
        assert composer(app).text == "ON two\nthre"
        await pilot.press("d", "d", "p", "2", "u")
        assert composer(app).text == "ON two\nthre"


async def test_new_lines_in_several_places_are_undone_at_once_on_the_screen_too() -> None:
    app, _ = make_app(vim=True)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("a", "ctrl+j", "b", "escape", "i", "ctrl+j", "up", "up", "ctrl+j", "escape")
        assert composer(app).text == "\na\n\nb"
        for key, text in (("u", "a\nb"), ("ctrl+r", "\na\n\nb")):
            await pilot.press(key)
            assert composer(app).text == text
            assert composer(app).wrapped_document.height == composer(app).document.line_count


async def test_the_cursor_stays_on_the_line_and_chips_go_as_one() -> None:
    app, _ = make_app(vim=True)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"ab ")
        app.post_message(Paste("row\n" * 40))
        await until(pilot, lambda: composer(app).text == f"ab {CHIP}")
        await pilot.press("escape")
        assert composer(app).cursor_location == (0, 3)
        await pilot.press("right")
        assert composer(app).cursor_location == (0, 3)
        await pilot.press("x", "p")
        assert composer(app).text == f"ab {CHIP}"
        await pilot.press("0", "d", "w", "d", "w")
        assert composer(app).text == ""


async def test_a_selection_is_shown_and_changed() -> None:
    app, _ = make_app(vim=True)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"one two", "escape", "0", "v", "e")
        await until(pilot, lambda: "VISUAL" in rows(app)[-1])
        assert composer(app).marked_text == "one"
        await pilot.press("ctrl+c")
        assert app.clipboard == "one"
        await pilot.press("0", "v", "e")
        await pilot.press("c", *"ONE", "escape")
        assert composer(app).text == "ONE two"


async def test_the_history_and_the_completion_work_from_normal_mode() -> None:
    app, agent = make_app(vim=True)
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: "ready" in status(app))
        await pilot.press(*"first", "enter")
        await until(pilot, lambda: agent.prompts == ["first"])
        await pilot.press(*"/he")
        await until(pilot, lambda: offered(app))
        await pilot.press("escape")
        await until(pilot, lambda: not offered(app) and "NORMAL" in rows(app)[-1])
        await pilot.press("d", "d", "k")
        assert composer(app).text == "first"
        assert composer(app).cursor_location == (0, 4)
        await pilot.press("j", "slash")
        await until(pilot, lambda: isinstance(app.screen, PickerScreen))


async def test_a_letter_that_follows_escape_at_once_counts_in_normal_mode() -> None:
    app, _ = make_app(vim=True)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"one two")
        app.post_message(Key("alt+d", None))
        await pilot.press("b")
        assert composer(app).text == "one o"


async def test_the_first_escape_is_vims_and_the_second_stops_the_model() -> None:
    app, _ = make_app([ev.AnswerDelta(item_id="a", text="half an ans"), "hold"], vim=True)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: "half an ans" in conversation(app))
        assert "Ctrl+C stop" in rows(app)[-1]
        await pilot.press("escape")
        await until(pilot, lambda: "Esc stop" in rows(app)[-1])
        assert "interrupted" not in conversation(app)
        await pilot.press("escape")
        await until(pilot, lambda: "interrupted" in conversation(app))


async def test_the_first_frame_has_the_mode() -> None:
    app, _ = make_app(vim=True, engine=ScriptedEngine(hold=True))
    async with app.run_test(size=SMALL):
        assert "INSERT" in rows(app)[-1]


async def test_the_help_lists_them_while_they_are_on() -> None:
    app, _ = make_app(vim=True)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("escape", "question_mark")
        await until(pilot, lambda: "Vim keys" in screen(app))
        await pilot.press("escape")
        composer(app).use_vim(False)
        await pilot.press("f1")
        await until(pilot, lambda: "Send the message" in screen(app))
        assert "Vim keys" not in screen(app)


async def test_the_command_switches_them_and_the_app_remembers(tmp_path: Path) -> None:
    state = tmp_path / "screen.json"
    app, _ = make_app(state_path=state)
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: "ready" in status(app))
        assert "INSERT" not in screen(app)
        await pilot.press(*"/vim", "enter")
        await until(pilot, lambda: "INSERT" in rows(app)[-1])
    again, _ = make_app(state_path=state)
    async with again.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: "INSERT" in rows(again)[-1])
        await until(pilot, lambda: "ready" in status(again))
        await pilot.press(*"/vim off", "enter")
        await until(pilot, lambda: composer(again).vim is None)
        await pilot.press(*"/vim maybe", "enter")
        await until(pilot, lambda: "on or off" in screen(again))
    settled, _ = make_app(state_path=state, vim=True)
    async with settled.run_test(size=SMALL):
        assert composer(settled).vim is not None, "the settings come first"


KEYS = [*'hjklwbe0^$GgdcyxpPuvVoOiaIA~.;,fFtTJrsSDCXY123("[ ', *["escape"] * 8]
EDITING = ["ctrl+r", "left", "right", "up", "down", "home", "end", "ctrl+j", "backspace", "delete", "ctrl+w", "ctrl+k"]


@pytest.mark.parametrize("seed", range(4))
async def test_no_keys_break_the_composer(seed: int) -> None:
    chance = random.Random(seed)
    app, _ = make_app(vim=True)
    async with app.run_test(size=SMALL) as pilot:
        for _ in range(20):
            for key in chance.choices([*KEYS, *EDITING, "ctrl+underscore", "paste"], k=15):
                if key == "paste":
                    app.post_message(Paste("row\n" * 40))
                else:
                    app.post_message(
                        Key(_character_to_key(key) if len(key) == 1 else key, key if len(key) == 1 else None)
                    )
            await pilot.pause()
            found = composer(app)
            row, column = found.cursor_location
            assert column <= len(found.document.get_line(row))
            rest = found.text
            for chip in found.chips.pasted:
                rest = rest.replace(chip, "")
            assert "lines]" not in rest.lower()
