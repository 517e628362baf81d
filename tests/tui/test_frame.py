"""The frame around the conversation: modes, going back, quitting, panes, themes, status, the first run, the palette."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.color import Color

from gptoss_tui.agent import events as ev
from gptoss_tui.engine.types import LoadProgress
from gptoss_tui.errors import CheckpointError
from gptoss_tui.harmony.messages import EFFORTS
from gptoss_tui.settings import Mode
from gptoss_tui.tui.app import GptOssApp
from gptoss_tui.tui.controllers.attention import AttentionController
from gptoss_tui.tui.controllers.hints import Situation, hints_for
from gptoss_tui.tui.screens.chat import ChatScreen
from gptoss_tui.tui.state import Remembered, StateFile
from gptoss_tui.tui.terminal.driver import TerminalColours, TerminalGone
from gptoss_tui.tui.theme import CONTRAST, CONTRAST_LIGHT, DARK, LIGHT, THEMES, Palette, theme_named
from gptoss_tui.tui.widgets.gauge import composer_edge
from tests.tui.conftest import until
from tests.tui.screen import composer, conversation, screen, status
from tests.tui.scripted_agent import INFO, Clock, ScriptedEngine, answer_script, make_app

SMALL, WIDE = (80, 24), (160, 50)


def palette_of(app: GptOssApp) -> Palette:
    return app._palette()


async def test_shift_tab_goes_through_the_modes_also_before_there_is_a_model() -> None:
    engine = ScriptedEngine(hold=True)
    app, agent = make_app(engine=engine)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press("shift+tab")
        await until(pilot, lambda: "edits without asking" in screen(app))
        engine.loaded.set()
        await until(pilot, lambda: agent.mode == "auto-edit")
        seen = []
        for _ in range(4):
            await pilot.press("shift+tab")
            seen.append(agent.mode)
        assert seen == ["read-only", "full-auto", "ask", "auto-edit"]


async def test_modes_that_the_workspace_forbids_are_left_out() -> None:
    app, agent = make_app()
    agent.modes = ("read-only", "ask")
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: "ready" in status(app))
        await pilot.press("shift+tab")
        assert agent.mode == "read-only"
        await pilot.press("shift+tab")
        assert agent.mode == "ask"


async def test_the_cost_of_another_effort_is_shown_until_it_is_paid() -> None:
    app, _ = make_app(answer_script("one"), answer_script("two"))
    async with app.run_test(size=SMALL) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: "30 tokens" in conversation(app))
        await pilot.press("alt+full_stop")
        await until(pilot, lambda: "effort ▮▮▮ high, reads 1.2k again" in screen(app))
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: "two" in conversation(app) and "again" not in screen(app))


async def test_escape_twice_goes_back_to_an_earlier_message() -> None:
    app, agent = make_app(answer_script("one"), answer_script("two"))
    async with app.run_test(size=SMALL) as pilot:
        for text in ("first", "second"):
            await pilot.press(*text, "enter")
            await until(pilot, lambda: "ready" in status(app) and composer(app).is_empty and not agent._turn)
        await pilot.press("escape")
        await until(pilot, lambda: "again to go back to an earlier message" in screen(app))
        await pilot.press("escape")
        await until(pilot, lambda: len(app.screen_stack) == 2 and "second" in screen(app))
        await pilot.press("enter")
        await until(pilot, lambda: agent.rewound == [2])
        await until(pilot, lambda: composer(app).text == "second")
        assert "one" in conversation(app)
        assert "two" not in conversation(app)


async def test_escape_over_a_draft_arms_nothing() -> None:
    app, _ = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: "ready" in status(app))
        await pilot.press(*"draft", "escape", "escape")
        assert len(app.screen_stack) == 1
        assert composer(app).text == "draft"


async def test_ctrl_c_clears_the_draft_first() -> None:
    app, _ = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: "ready" in status(app))
        await pilot.press(*"draft", "ctrl+c")
        assert composer(app).is_empty
        assert "again to quit" in screen(app)
        await pilot.press("ctrl+c")
    assert app.return_value is None
    assert not app.is_running


async def test_closed_panes_stay_closed_in_the_next_run(tmp_path: Path) -> None:
    state = tmp_path / "state" / "screen.json"
    app, _ = make_app(state_path=state)
    async with app.run_test(size=WIDE) as pilot:
        assert "Reasoning" in screen(app)
        await pilot.press("f2")
        await until(pilot, lambda: "Reasoning" not in screen(app))
    again, _ = make_app(state_path=state)
    async with again.run_test(size=WIDE) as pilot:
        assert "Reasoning" not in screen(again)
        await pilot.press("f2")
        await until(pilot, lambda: "Reasoning" in screen(again))


@pytest.mark.parametrize(
    "text", ["", "[]", "null", '{"panes": {"reasoning": 3, "tools": true}, "theme": 1, "dark": "x"}', "\xff"]
)
def test_a_damaged_state_counts_as_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "screen.json"
    path.write_text(text, encoding="latin-1")
    remembered = StateFile(path).remembered
    assert remembered in (Remembered(), Remembered(panes={"tools": True}))


def test_state_that_cannot_be_written_is_not_remembered(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    file = StateFile(tmp_path / "file" / "screen.json")
    file.save()
    StateFile(None).save()
    assert not file.remembered.welcomed


async def test_the_theme_follows_the_terminal_until_one_is_chosen(tmp_path: Path) -> None:
    state = tmp_path / "screen.json"
    app, _ = make_app(state_path=state)
    async with app.run_test(size=SMALL) as pilot:
        assert app.theme == DARK.name
        app.post_message(TerminalColours(dark=False))
        await until(pilot, lambda: app.theme == LIGHT.name)
        app.use_theme("contrast")
        assert app.theme == CONTRAST.name
        app.post_message(TerminalColours(dark=True))
        await pilot.pause()
        assert app.theme == CONTRAST.name
    assert json.loads(state.read_text())["theme"] == "contrast"
    again, _ = make_app(state_path=state)
    assert again.theme == CONTRAST.name
    chosen, _ = make_app(state_path=state, theme="light")
    assert chosen.theme == LIGHT.name


async def test_colours_may_come_while_the_screen_is_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    mount = ChatScreen.on_mount

    def early(screen: ChatScreen) -> None:
        screen.app.theme = LIGHT.name  # all widgets are there, and nothing that draws in them
        mount(screen)

    monkeypatch.setattr(ChatScreen, "on_mount", early)
    app, _ = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: "Ask something" in screen(app) or composer(app).is_attached)
        assert app.theme == LIGHT.name


def test_names_of_themes() -> None:
    known = {theme.name for theme in THEMES} | {"nord"}
    assert theme_named("nord", known, dark=None) == "nord"
    assert theme_named("contrast-light", known, dark=True) == CONTRAST_LIGHT.name
    assert theme_named("unheard-of", known, dark=False) == LIGHT.name


def luminance(colour: Color) -> float:
    parts = [part / 255 for part in colour.get_truecolor()]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_text_can_be_read_in_every_theme(theme: object) -> None:
    app, _ = make_app(theme=theme.name)  # type: ignore[attr-defined]
    palette = palette_of(app)
    assert palette.base.bgcolor is not None
    paper = luminance(palette.base.bgcolor)
    high = theme in (CONTRAST, CONTRAST_LIGHT)
    wanted = {"text": 7, "muted": 4.5, "faint": 3, "accent": 4.3, "heading": 4.3, "user": 4.3, "ok": 4.3, "error": 4.3}
    for name, least in wanted.items():
        colour = getattr(palette, name).color
        lighter, darker = max(luminance(colour), paper), min(luminance(colour), paper)
        assert (lighter + 0.05) / (darker + 0.05) >= (7 if high else least), name


@pytest.mark.parametrize("width", [30, 40, 60, 80, 100, 130, 200])
async def test_the_status_line_keeps_what_matters_most(width: int) -> None:
    app, _ = make_app(answer_script("ok"))
    async with app.run_test(size=(width, 20)) as pilot:
        await pilot.press(*"go", "enter")
        await until(pilot, lambda: "tokens" in conversation(app) and "ready" in status(app))
        line = status(app)
        assert len(line) <= width
        assert "1.2k/32.8k" in line
        assert ("nano on torch cpu" in line) == (width >= 60)
        assert ("60 tok/s" in line) == (width >= 60)
        assert ("50% cached" in line) == (width >= 80)


def test_the_composer_edge_fits_every_width() -> None:
    app, _ = make_app()
    palette = palette_of(app)
    modes: tuple[Mode, ...] = ("read-only", "ask", "auto-edit", "full-auto")
    for width in range(4, 90):
        for mode in modes:
            for effort in EFFORTS:
                assert composer_edge(mode, effort, 1234, palette, width).cell_len <= width
    assert "full auto" in composer_edge("full-auto", "high", 0, palette, 40).plain


def test_hints_name_what_can_be_done() -> None:
    def actions(situation: Situation) -> list[str]:
        return [what for _, what, _ in hints_for(situation, lambda name: name)]

    assert actions(Situation())[0] == "send"
    assert actions(Situation(running=True))[:3] == ["stop", "steer", "queue"]
    assert "send" not in actions(Situation(asking=True))
    assert actions(Situation(following=False))[0] == "newest"
    assert actions(Situation(quit_armed=True)) == ["again to quit"]
    assert actions(Situation(running=True, choosing="command")) == ["choose", "take", "take and run", "close"]
    assert actions(Situation(choosing="file")) == ["choose", "take", "take", "close"]
    assert actions(Situation(beside=True))[:2] == ["stop", "send"]
    assert hints_for(Situation(), lambda name: "")[:1] == ()


async def test_while_something_is_offered_the_hints_are_those_of_the_list() -> None:
    app, _ = make_app()
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: "Enter send" in screen(app))
        await pilot.press(*"/eff")
        await until(pilot, lambda: "Tab take" in screen(app))
        row, line = next((y, row) for y, row in enumerate(screen(app).splitlines()) if "Esc close" in row)
        await pilot.click(offset=(line.index("Tab take"), row))
        await until(pilot, lambda: composer(app).text == "/effort ")
        await pilot.press("escape")
        await until(pilot, lambda: "Enter send" in screen(app))


async def test_a_first_run_names_the_machine_and_what_fits_until_something_was_said(tmp_path: Path) -> None:
    state = tmp_path / "screen.json"
    app, _ = make_app(state_path=state, hardware=lambda: "A processor, 8 cores, 64 GB memory")
    async with app.run_test(size=(100, 40)) as pilot:
        await until(pilot, lambda: "gpt-oss-120b" in conversation(app))
        assert "A processor, 8 cores, 64 GB memory" in conversation(app)
        assert "built in, runs now" in conversation(app)
        assert "disk free" in conversation(app)
        await pilot.press(*"hi", "enter")
        await until(pilot, lambda: "ready" in status(app) and "This machine" not in conversation(app))
    again, _ = make_app(state_path=state, hardware=lambda: "A processor")
    async with again.run_test(size=(100, 40)) as pilot:
        await until(pilot, lambda: "All keys" in conversation(again))
        assert "This machine" not in conversation(again)


async def test_a_model_that_cannot_be_loaded_leaves_the_built_in_one() -> None:
    class Picky(ScriptedEngine):
        async def load(self):  # type: ignore[no-untyped-def]
            self.loads += 1
            if self.loads == 1:
                raise CheckpointError("gpt-oss-20b is not on this machine", hint="download it")
            yield LoadProgress("ready", 1.0, done=True, info=INFO)

    app, agent = make_app(engine=Picky())
    app._backend.use_model("gpt-oss-20b")
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: "nano, which is built in, is loaded instead" in conversation(app))
        assert "gpt-oss-20b is not on this machine" in conversation(app)
        await until(pilot, lambda: "ready" in status(app))
        await pilot.press(*"hi", "enter")
        await until(pilot, lambda: agent.prompts == ["hi"])


async def test_the_palette_finds_commands_and_keys_and_runs_them() -> None:
    app, agent = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: "ready" in status(app))
        await pilot.press("ctrl+p")
        await until(pilot, lambda: "/effort" in screen(app))
        await pilot.press(*"next approval")
        await until(pilot, lambda: "Shift+Tab" in screen(app))
        await pilot.press("enter")
        await until(pilot, lambda: agent.mode == "auto-edit")
        await pilot.press("ctrl+p")
        await until(pilot, lambda: "/new" in screen(app))
        await pilot.press(*"/new", "enter")
        await until(pilot, lambda: agent.conversations == 1)


async def test_a_terminal_that_is_gone_ends_the_app() -> None:
    app, agent = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: "ready" in status(app))
        app.post_message(TerminalGone())
        await until(pilot, lambda: not app.is_running)
    assert app.return_code == 129
    assert agent.closed


def test_calls_only_when_nobody_looks_and_not_twice_in_a_moment() -> None:
    written: list[str] = []
    clock = Clock()
    attention = AttentionController(written.append, clock, "osc9", "/home/ada/project")
    attention.begin()
    assert written.pop() == "\x1b]0;gptoss-tui project\x07"
    request = ev.ApprovalRequest(
        item_id="c",
        tool="shell",
        kind="command",
        title="Run \x1b]0;x\x07make",
        preview="",
        preview_type="text",
        digest="",
    )
    attention.apply(ev.TurnStarted(text="go"))
    attention.apply(request)
    assert written[-1] == "\x1b]0;? gptoss-tui project\x07"
    attention.focus(False)
    attention.apply(request)
    assert written[-1].startswith("\x1b]9;gptoss-tui: waits for your answer: Run")
    assert written[-1].count("\x1b") == 1
    calls = len(written)
    attention.apply(request)
    assert len(written) == calls
    clock.now += 65
    attention.apply(ev.TurnFinished(reason="done", answer="All good"))
    assert written[-1] == "\x1b]9;gptoss-tui: the turn is done after 1 min 05 s: All good\x07"
    clock.now += 5
    attention.apply(ev.TurnFinished(reason="interrupted"))
    assert "interrupted" not in written[-1]


async def test_a_mode_that_is_refused_is_told() -> None:
    app, agent = make_app()
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: "ready" in status(app))
        agent.refused_modes = {"auto-edit"}
        await pilot.press("shift+tab")
        await until(pilot, lambda: "auto-edit is not available here" in conversation(app))
        assert agent.mode == "ask"


def test_sixteen_colours_get_a_high_contrast_unless_a_theme_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLORTERM", raising=False)
    monkeypatch.setenv("TERM", "xterm-16color")
    few = make_app()[0]
    assert few.theme == CONTRAST.name
    assert few._palette().removed_line is not None
    monkeypatch.setenv("COLORFGBG", "0;15")
    assert make_app()[0].theme == CONTRAST_LIGHT.name
    assert make_app(theme="light")[0].theme == LIGHT.name
    monkeypatch.setenv("TERM", "xterm-256color")
    many = make_app()[0]
    assert many.theme == LIGHT.name
    assert many._palette().removed_line is None


async def test_a_turn_that_is_shown_at_once_says_how_long_it_took() -> None:
    app, _ = make_app(answer_script("ok"))
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: "ready" in status(app))
        await pilot.press(*"hi", "enter")
        await until(pilot, lambda: "─── 0.6 s · 30 tokens" in conversation(app))


async def test_a_passing_message_covers_neither_the_draft_nor_the_status() -> None:
    app, _ = make_app()
    async with app.run_test(size=SMALL, notifications=True) as pilot:
        await until(pilot, lambda: "ready" in status(app))
        app.notify("Copied 12 characters to the clipboard, which is a long sentence", markup=False)
        await until(pilot, lambda: "Copied 12 characters" in screen(app))
        assert any("Copied 12 characters" in row for row in screen(app).split("\n")[:3])
        assert app.screen.query_one("Toast").region.bottom < composer(app).region.y
