"""The composer as a person meets it: chips, completion, shell lines, drafts, history. Driven by keys."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from textual.events import Click, Key, Paste
from textual.pilot import Pilot

from gptoss_tui.agent.approvals import Approvals
from gptoss_tui.errors import UsageError
from gptoss_tui.tui.app import GptOssApp
from gptoss_tui.tui.widgets import composer as composer_module
from gptoss_tui.tui.widgets.choices import ChoiceList
from tests.tui.conftest import until
from tests.tui.screen import composer, conversation, panel, rows, screen, status
from tests.tui.scripted_agent import Clock, ScriptedEngine, answer_script, make_app

SMALL, WIDE = (80, 24), (140, 40)
LONG = "row\n" * 40
CHIP = "[paste 1: 41 lines]"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with files, as the app's workspace; settings and state are in it too."""
    folder = tmp_path / "project"
    for name in ("src/main.py", "src/deep/engine.py", "notes with spaces.md", "README.md", "node_modules/x.js"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"content of {name}\n")
    (folder / ".gitignore").write_text("node_modules/\n")
    monkeypatch.setenv("GPTOSS_TUI_CONFIG", str(tmp_path / "config" / "config.toml"))
    return folder


def state(workspace: Path) -> Path:
    """Where the app keeps its history, and its drafts beside it."""
    return workspace.parent / "state" / "history.jsonl"


def choices(app: object) -> ChoiceList:
    return app.screen_stack[0].query_one("#completion", ChoiceList)  # type: ignore[attr-defined, no-any-return]


def offered(app: object) -> list[str]:
    """The rows that are offered; none when the list is closed."""
    found = choices(app)
    return [row.label for row in found.rows] if found.display else []


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
    app, agent = make_app()
    app._workspace = str(workspace)
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


# Completion


async def test_commands_are_offered_filtered_and_run() -> None:
    app, _ = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("slash")
        assert offered(app)[0].startswith("/model")
        await pilot.press(*"eff")
        assert offered(app)[0].startswith("/effort")
        await pilot.press("tab")
        assert composer(app).text == "/effort "
        assert offered(app) == ["low", "medium", "high"]
        await pilot.press("down", "down", "enter")
        await until(pilot, lambda: "effort ▮▮▮ high" in screen(app))
        assert composer(app).text == ""
        assert offered(app) == []


async def test_escape_closes_the_list_and_interrupts_nothing() -> None:
    app, agent = make_app(["hold"])
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: agent.prompts)
        await pilot.press("slash", "c")
        assert offered(app)
        await pilot.press("escape")
        assert offered(app) == []
        assert agent.interrupts == 0
        await pilot.press("o")
        assert offered(app) == [], "closed for this word"
        await pilot.press("escape")
        await until(pilot, lambda: agent.interrupts == 1)


async def test_a_command_that_there_is_not_is_told_and_can_be_mended() -> None:
    app, agent = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"/modle x", "enter")
        await until(pilot, lambda: "There is no command /modle" in conversation(app))
        assert "Did you mean /model?" in conversation(app)
        assert composer(app).text == "/modle x"
        await pilot.press("home", "space", "enter")
        await until(pilot, lambda: agent.prompts == [" /modle x"])


async def test_paths_and_multi_line_text_are_messages() -> None:
    app, agent = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"/etc/hosts is what?", "enter")
        await until(pilot, lambda: agent.prompts == ["/etc/hosts is what?"])
        assert offered(app) == []


async def test_files_are_offered_without_ignored_ones_and_attached(workspace: Path) -> None:
    app, agent = make_app()
    app._workspace = str(workspace)
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: "ready" in status(app))
        await pilot.press(*"read @")
        await until(pilot, lambda: offered(app))
        assert "src/" in offered(app)
        assert not [row for row in offered(app) if "node_modules" in row]
        await pilot.press(*"eng")
        await until(pilot, lambda: offered(app) == ["src/deep/engine.py"])
        await pilot.press("tab")
        assert composer(app).text == "read @src/deep/engine.py "
        await pilot.press("at", *"notes")
        await until(pilot, lambda: offered(app) == ["notes with spaces.md"])
        await pilot.press("enter")
        assert composer(app).text == 'read @src/deep/engine.py @"notes with spaces.md" '
        await pilot.press("enter")
        await until(pilot, lambda: agent.prompts)
        assert "[src/deep/engine.py: lines 1-1 of 1]\ncontent of src/deep/engine.py" in agent.prompts[0]
        assert "content of notes with spaces.md" in agent.prompts[0]
        await until(pilot, lambda: "+ src/deep/engine.py: lines 1-1 of 1" in conversation(app))
        assert "content of" not in conversation(app)


async def test_tab_waits_for_the_search_that_is_under_way(workspace: Path) -> None:
    app, _ = make_app()
    app._workspace = str(workspace)
    async with app.run_test(size=SMALL) as pilot:
        for character in "@readme":
            app.post_message(Key("at" if character == "@" else character, character))
        app.post_message(Key("tab", "\t"))
        await until(pilot, lambda: composer(app).text == "@README.md ")


async def test_folders_are_gone_into(workspace: Path) -> None:
    app, _ = make_app()
    app._workspace = str(workspace)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"@src")
        await until(pilot, lambda: offered(app)[:1] == ["src/"])
        await pilot.press("tab")
        await until(pilot, lambda: offered(app)[:2] == ["src/", "src/main.py"] or "src/main.py" in offered(app))
        assert composer(app).text == "@src/"


async def test_names_with_controls_are_shown_and_written_escaped(workspace: Path) -> None:
    (workspace / "evil\x1b]0;pwned\x07\n.txt").write_text("x")
    (workspace / "re\u202ednuor.txt").write_text("bidi\n")
    app, agent = make_app()
    app._workspace = str(workspace)
    async with app.run_test(size=WIDE) as pilot:
        await until(pilot, lambda: "ready" in status(app))
        await pilot.press(*"@nuor")
        await until(pilot, lambda: offered(app) == ["re\\u{202e}dnuor.txt"])
        assert not {"\x1b", "\u202e"} & set(screen(app))
        await pilot.press("tab", "enter")
        await until(pilot, lambda: agent.prompts)
        assert "bidi" in agent.prompts[0]


async def test_a_row_can_be_clicked() -> None:
    app, _ = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("slash")
        await pilot.pause()
        await pilot.click("#completion", offset=(4, 1))
        await until(pilot, lambda: composer(app).text == "/effort ")
        assert app.focused is composer(app)


async def test_the_list_lies_over_the_conversation_and_moves_nothing() -> None:
    app, _ = make_app()
    async with app.run_test(size=SMALL) as pilot:
        before = composer(app).region
        await pilot.press("slash")
        await until(pilot, lambda: offered(app))
        assert composer(app).region == before
        assert choices(app).region.bottom == before.y


async def test_walking_the_history_over_a_command_opens_no_list() -> None:
    app, agent = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"one", "enter")
        await until(pilot, lambda: agent.prompts == ["one"])
        await pilot.press(*"/effort low", "enter")
        await until(pilot, lambda: "effort ▮▯▯ low" in screen(app))
        await pilot.press("up")
        assert composer(app).text == "/effort low"
        assert offered(app) == []
        await pilot.press("up")
        assert composer(app).text == "one"


# History


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


# Shell lines


async def test_a_shell_line_is_run_shown_and_told_to_the_model(workspace: Path) -> None:
    app, agent = make_app()
    app._workspace = str(workspace)
    async with app.run_test(size=WIDE) as pilot:
        await until(pilot, lambda: "ready" in status(app))
        await pilot.press(*"!echo out; pwd; exit 3", "enter")
        await until(pilot, lambda: "exit code 3" in conversation(app))
        assert str(workspace) in conversation(app)
        assert agent.prompts == []
        assert any("goes with the next message" in row for row in rows(app))
        await pilot.press(*"why?", "enter")
        await until(pilot, lambda: agent.prompts)
        assert "[the user ran: echo out; pwd; exit 3 (exit code 3)]\nout\n" in agent.prompts[0]
        assert "goes with the next message" not in screen(app)
        await pilot.press(*"and now?", "enter")
        await until(pilot, lambda: len(agent.prompts) == 2)
        assert agent.prompts[1] == "and now?"


async def test_backspace_in_the_empty_composer_keeps_the_output_from_the_model(workspace: Path) -> None:
    app, agent = make_app()
    app._workspace = str(workspace)
    async with app.run_test(size=WIDE) as pilot:
        await until(pilot, lambda: "ready" in status(app))
        await pilot.press(*"!echo secret", "enter")
        await until(pilot, lambda: "goes with the next message" in screen(app))
        await pilot.press("backspace")
        await until(pilot, lambda: "goes with the next message" not in screen(app))
        await pilot.press(*"hi", "enter")
        await until(pilot, lambda: agent.prompts == ["hi"])


async def test_escape_ends_a_shell_line(workspace: Path) -> None:
    app, _ = make_app()
    app._workspace = str(workspace)
    async with app.run_test(size=WIDE) as pilot:
        await until(pilot, lambda: "ready" in status(app))
        await pilot.press(*"!echo started; sleep 60", "enter")
        await until(pilot, lambda: "started" in conversation(app).replace("echo started", ""))
        await pilot.press("escape")
        await until(pilot, lambda: "stopped by the user" in conversation(app))


async def answer(pilot: Pilot[int], app: GptOssApp, clock: Clock, key: str) -> None:
    """Press a key when the question is on screen and old enough for it."""
    await until(pilot, lambda: panel(app).grace.is_shown)
    clock.now += 1
    await pilot.press(key)


async def test_the_policy_decides_about_a_shell_line(workspace: Path) -> None:
    clock = Clock()
    app, agent = make_app(clock=clock)
    app._workspace = str(workspace)
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
    app, _ = make_app(engine=ScriptedEngine(hold=True))
    app._workspace = str(workspace)
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press(*"!touch one", "enter")
        await until(pilot, lambda: "Commands wait for the model" in conversation(app))
        assert composer(app).text == "!touch one"
        assert "one" not in os.listdir(workspace)


async def test_an_answer_for_the_session_holds_for_shell_lines_and_escape_withdraws_a_question(workspace: Path) -> None:
    clock = Clock()
    app, agent = make_app(clock=clock)
    app._workspace = str(workspace)
    agent.approvals = Approvals("ask")
    async with app.run_test(size=WIDE) as pilot:
        await until(pilot, lambda: "ready" in status(app))
        await pilot.press(*"!echo first", "enter")
        await answer(pilot, app, clock, "a")
        await until(pilot, lambda: "goes with the next message" in screen(app))
        await pilot.press(*"!echo first", "enter")
        await until(pilot, lambda: conversation(app).count("✓ ok") == 2)
        assert agent.approvals.policy.rules[0].reach == "sandbox"

        await pilot.press(*"!touch never", "enter")
        await answer(pilot, app, clock, "escape")
        await until(pilot, lambda: app.screen.focused is composer(app))
        assert not (workspace / "never").exists()


# Messages that were not sent


async def test_a_message_that_comes_back_has_its_notes_and_no_attachments(workspace: Path) -> None:
    app, agent = make_app(["hold"], answer_script("ok"))
    app._workspace = str(workspace)
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
        await until(pilot, lambda: draft.text == "[paste 1: 100,001 lines] end")
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
