"""What is offered while a person types: commands and files. Driven by keys."""

from __future__ import annotations

from pathlib import Path

from textual.events import Key

from tests.tui.conftest import until
from tests.tui.screen import choices, composer, conversation, offered, screen, status
from tests.tui.scripted_agent import make_app

SMALL, WIDE = (80, 24), (140, 40)


async def test_commands_are_offered_filtered_and_run() -> None:
    app, _ = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("slash")
        await until(pilot, lambda: offered(app) and offered(app)[0].startswith("/model"))
        await pilot.press(*"eff")
        assert offered(app)[0].startswith("/effort")
        await pilot.press("tab")
        assert composer(app).text == "/effort "
        assert offered(app) == ["low", "medium", "high"]
        await pilot.press("down", "down", "enter")
        await until(pilot, lambda: "effort ▮▮▮ high" in screen(app))
        assert composer(app).text == ""
        assert offered(app) == []


async def test_a_name_that_is_typed_out_runs_though_another_begins_with_it() -> None:
    app, _ = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"/mode")
        await until(pilot, lambda: len(offered(app)) == 2)
        assert [row.split()[0] for row in offered(app)] == ["/mode", "/model"]


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
    app, agent = make_app(workspace=workspace)
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
    app, _ = make_app(workspace=workspace)
    async with app.run_test(size=SMALL) as pilot:
        for character in "@readme":
            app.post_message(Key("at" if character == "@" else character, character))
        app.post_message(Key("tab", "\t"))
        await until(pilot, lambda: composer(app).text == "@README.md ")


async def test_folders_are_gone_into(workspace: Path) -> None:
    app, _ = make_app(workspace=workspace)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"@src")
        await until(pilot, lambda: offered(app)[:1] == ["src/"])
        await pilot.press("tab")
        await until(pilot, lambda: offered(app)[:2] == ["src/", "src/main.py"] or "src/main.py" in offered(app))
        assert composer(app).text == "@src/"


async def test_names_with_controls_are_shown_and_written_escaped(workspace: Path) -> None:
    (workspace / "evil\x1b]0;pwned\x07\n.txt").write_text("x")
    (workspace / "re\u202ednuor.txt").write_text("bidi\n")
    app, agent = make_app(workspace=workspace)
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
