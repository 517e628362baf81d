"""Keys of the person's own: how they are written, what is refused, and that they work and are named."""

from __future__ import annotations

import pytest

from gptoss_tui.tui.bindings import PLACES
from gptoss_tui.tui.keymap import NO_KEY, parse_keys, read_keymap
from gptoss_tui.tui.keys import key_name
from tests.tui.conftest import until
from tests.tui.screen import composer, conversation, help_text, screen
from tests.tui.scripted_agent import answer_script, make_app

SMALL = (80, 24)


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("Ctrl+J, Alt+,", "ctrl+j,alt+comma"),
        ("alt+. f5", "alt+full_stop,f5"),
        ("Esc", "escape"),
        ("Shift+Ctrl+Left", "ctrl+shift+left"),
        ("alt++", "alt+plus"),
        ("PgUp", "pageup"),
        ("?", "question_mark"),
        ("alt+comma", "alt+comma"),
    ],
)
def test_keys_as_people_write_them(text: str, keys: str) -> None:
    assert parse_keys(text) == keys


@pytest.mark.parametrize("text", ["", "foo", "Ctrl+Foo", "Foo+x", "ctrl+"])
def test_what_is_no_key(text: str) -> None:
    with pytest.raises(ValueError, match=r"no key|not a key"):
        parse_keys(text)


def test_every_key_of_the_app_can_be_written_as_it_is_shown() -> None:
    keys = [key for _, bindings in PLACES for b in bindings for key in b.key.split(",")]
    assert [parse_keys(key_name(key)) for key in keys] == keys


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        ({"chat.hlp": "ctrl+y"}, "`chat.hlp` is not an action; did you mean `chat.help`?"),
        ({"chat.help": "Foo+x"}, "`chat.help`: `Foo+x` is not a key"),
        ({"chat.help": "x"}, "`x` alone types text"),
        ({"chat.help": "F2"}, "F2 already does `chat.reasoning`"),
        ({"chat.help": "ctrl+m"}, "Ctrl+M already does `composer.submit`"),
        ({"chat.help": "f9", "chat.tail": "f9"}, "F9 already does"),
    ],
)
def test_problems_are_said_and_change_nothing(wanted: dict[str, str], problem: str) -> None:
    keymap = read_keymap(wanted)
    assert problem in "\n".join(keymap.problems)
    assert len(keymap.keys) == len(wanted) - 1


def test_keys_may_be_exchanged_and_taken_away() -> None:
    keymap = read_keymap({"chat.help": "F2", "chat.reasoning": "F1", "chat.details": "none"})
    assert keymap.problems == ()
    assert keymap.keys == {"chat.help": "f2", "chat.reasoning": "f1", "chat.details": NO_KEY}


async def test_another_key_works_instead_of_the_old_one_and_is_named() -> None:
    app, agent = make_app(answer_script("ok"), keys={"composer.submit": "F9", "chat.help": "F11, F12"})
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"hi", "enter")
        assert agent.prompts == []
        await pilot.press("f9")
        await until(pilot, lambda: agent.prompts)
        await until(pilot, lambda: "F9 send" in screen(app))
        await pilot.press("f1")
        assert app.screen is app.screen_stack[0]
        await pilot.press("f12")
        assert "F11, F12" in help_text(app)


async def test_problems_are_told_in_the_conversation() -> None:
    app, _ = make_app(keys={"chat.nothing": "F9"})
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: "`chat.nothing` is not an action" in conversation(app))
        assert composer(app).is_empty
