"""The parts without a screen: history, key grace, frame pacing, thoughts, tool cards, keys page."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.color import Color, ColorSystem
from rich.segment import Segment

from gptoss_tui.sanitize import to_terminal_text
from gptoss_tui.settings import Settings
from gptoss_tui.tools.formats import format_listing, format_matches, format_read
from gptoss_tui.tui import lines
from gptoss_tui.tui.blocks.base import count, seconds
from gptoss_tui.tui.blocks.draft import Draft
from gptoss_tui.tui.blocks.notice import NoticeBlock
from gptoss_tui.tui.blocks.output import Ends, draw_ends, fold
from gptoss_tui.tui.blocks.reasoning import Thought
from gptoss_tui.tui.blocks.tool import KEEP_CHARS, ToolBlock
from gptoss_tui.tui.controllers import frames as frames_module
from gptoss_tui.tui.controllers.frames import FrameClock, pause_after
from gptoss_tui.tui.history import KEPT, SAVED_CHARS, PromptHistory
from gptoss_tui.tui.keyboard import register_alt_keys
from gptoss_tui.tui.keys import key_groups, key_name, keys_page
from gptoss_tui.tui.plain import PlainView
from gptoss_tui.tui.sandboxes import sandbox_in_use
from gptoss_tui.tui.theme import CONTRAST, CONTRAST_LIGHT, DARK, LIGHT, Palette
from gptoss_tui.tui.widgets.grace import GRACE_SECONDS, KeyGrace
from gptoss_tui.tui.widgets.status import engine_place
from tests.tui.scripted_agent import DIFF, Clock

ROOT = Path(__file__).parents[2]
PALETTE = Palette.from_variables(DARK.to_color_system().generate(), dark=True)


def test_grace_counts_from_the_moment_of_being_shown() -> None:
    clock = Clock()
    grace = KeyGrace(clock)
    assert not grace.accepts()
    grace.shown()
    clock.now += GRACE_SECONDS - 0.01
    assert not grace.accepts()
    clock.now += GRACE_SECONDS - 0.01
    assert not grace.accepts()
    clock.now += GRACE_SECONDS + 0.01
    assert grace.accepts()
    grace.hidden()
    assert not grace.accepts()


def test_history_drops_damaged_lines_and_keeps_the_newest(tmp_path: Path) -> None:
    path = tmp_path / "h"
    lines = [f'"{n}"' for n in range(KEPT + 10)]
    path.write_text("\n".join([*lines[:-2], "{damaged", '["no text"]', *lines[-2:]]))
    prompts = PromptHistory(path).prompts
    assert prompts[-1] == str(KEPT + 9)
    assert "{damaged" not in prompts
    assert len(prompts) == KEPT - 2


def test_history_without_a_file_or_with_a_broken_one_still_works(tmp_path: Path) -> None:
    for path in (None, tmp_path):  # a folder cannot be read or written as a file
        history = PromptHistory(path)
        history.add("one")
        assert history.earlier("draft") == "one"
        assert history.earlier("one") is None
        assert history.later("one") == "draft"
        assert history.later("draft") is None


def test_repeated_prompts_are_kept_once(tmp_path: Path) -> None:
    history = PromptHistory(tmp_path / "h")
    history.add("same")
    history.add("same")
    assert history.prompts == ["same"]
    assert (tmp_path / "h").read_text() == '"same"\n'


def test_a_huge_prompt_is_kept_for_this_run_only(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    history = PromptHistory(path)
    history.add("x" * (SAVED_CHARS + 1))
    history.add("small")
    assert len(history.prompts) == 2
    assert PromptHistory(path).prompts == ["small"]


def test_frames_come_between_8_and_30_times_a_second() -> None:
    assert pause_after(0.0) == pytest.approx(1 / 30)
    assert pause_after(0.01) == pytest.approx(0.08)
    assert pause_after(1.0) == pytest.approx(1 / 8)


def test_stopping_the_frames_draws_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames_module, "perf_counter", lambda: 100.0)
    drawn: list[str] = []
    frames = FrameClock(lambda: drawn.append("draw"), lambda: drawn.append("tick"))
    frames.frame()
    frames.frame()
    assert drawn == ["tick", "draw"], "the second frame comes too early"
    frames.stop()
    assert drawn == ["tick", "draw", "draw"]


def test_numbers_for_people() -> None:
    assert [seconds(s) for s in (0.04, 9.9, 12.4, 185)] == ["0.0 s", "9.9 s", "12 s", "3 min 05 s"]
    assert [count(n) for n in (0, 999, 1234, 32_768, 131_072)] == ["0", "999", "1.2k", "32.8k", "131k"]


def test_a_thought_estimates_its_tokens_until_it_is_done() -> None:
    thought = Thought()
    thought.append("a" * 42, 0.5)
    assert thought.cost() == "≈ 10 tokens · 0.5 s"
    thought.finish("a" * 42, 13, 0.7)
    assert thought.cost() == "13 tokens · 0.7 s"


def test_endless_output_is_counted_and_not_kept() -> None:
    block = ToolBlock("shell")
    block.state = "running"
    for _ in range(5):
        block.add_output("x" * (KEEP_CHARS // 2))
    assert len(block.output) == KEEP_CHARS
    block.is_open = True
    assert f"[{KEEP_CHARS // 2 * 3} more characters]" in "".join(s.text for s in block.render(80, PALETTE)[-2:])


def test_a_closed_card_of_huge_output_draws_a_few_rows() -> None:
    block = ToolBlock("fetch")
    block.finish("ok", "y" * 100_000 + "\nz" * 50_000, 0.1)
    rows = block.render(80, PALETTE)
    assert len(rows) < 10
    assert "more lines" in rows[-1].text


def shown(block: ToolBlock, width: int = 40) -> list[str]:
    return [row.text.strip(" ▎") for row in block.render(width, PALETTE)[1:]]


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (format_read("a.py", ["x"] * 300, start=1, total=300), "300 lines"),
        (format_read("a.py", ["x"], start=1, total=1), "1 line"),
        (format_read("a: b.py", ["x"] * 40, start=41, total=300), "lines 41-80 of 300"),
        (format_read("a.py", [], start=1, total=0), "empty file"),
        (format_listing(["a", "b"], total=2), "2 lines"),
        (format_listing(["a", "b"], total=90), "90 lines"),
        (format_listing([], total=0), "no files"),
        (format_matches([("a", 1, "[x]")], total=1), "1 line"),
        (format_matches([], total=0), "no matches"),
    ],
)
def test_what_was_read_is_told_by_its_size(output: str, said: str) -> None:
    block = ToolBlock("read_file")
    block.finish("ok", output, 0.0)
    (head,) = (row.text.rstrip() for row in block.render(60, PALETTE))
    assert head.endswith(f"✓ {said}")


def test_what_could_not_be_read_says_why() -> None:
    block = ToolBlock("read_file")
    block.finish("error", "a.py: there is no such file", 0.0)
    assert shown(block) == ["a.py: there is no such file"]
    assert block.render(40, PALETTE)[0].text.endswith("✗ error ")


def test_an_open_card_says_its_arguments_without_json_and_once() -> None:
    block = ToolBlock("python")
    block.summary, block.arguments = "python print(1)", json.dumps({"code": "print(1)\nprint('a\\n')"})
    block.finish("ok", "1", 0.1)
    block.toggle()
    assert shown(block) == ["print(1)", "print('a\\n')", "1"]
    block.arguments = json.dumps({"code": "print(1)"})
    assert shown(block) == ["1"], "the head says it"
    block.arguments = json.dumps({"code": "1\x1b[2J"})
    assert "\x1b" not in "".join(shown(block))


def test_the_card_of_one_changed_file_names_it_once() -> None:
    block = ToolBlock("edit_file")
    block.summary = "edit_file hello.py"
    block.show_preview(DIFF, is_diff=True)
    block.finish("ok", "Done!", 0.1)
    assert "hello.py" in DIFF
    assert not [row for row in shown(block, 60) if "hello.py" in row]
    block.summary = "edit_file two files"
    block.forget()
    assert [row for row in shown(block, 60) if "hello.py" in row]


def test_a_failed_command_says_its_exit_code_and_what_took_no_time_says_none() -> None:
    block = ToolBlock("shell")
    block.finish("error", "x", 1.4, 2)
    assert block.render(40, PALETTE)[0].text.endswith("✗ exit 2 · 1.4 s ")
    block.finish("ok", "x", 0.04)
    assert block.render(40, PALETTE)[0].text.endswith("✓ ok ")


def test_a_closed_card_of_a_command_shows_how_it_began_and_ended() -> None:
    block = ToolBlock("shell")
    block.finish("ok", "\n".join(f"row {n}" for n in range(40)), 0.1)
    assert shown(block) == ["row 0", "row 1", "… 32 more lines (Ctrl+O opens)", *(f"row {n}" for n in range(34, 40))]
    block.finish("ok", "\n".join(f"row {n}" for n in range(9)), 0.1)
    assert shown(block) == [f"row {n}" for n in range(9)], "no row says that one more is not shown"


def test_a_running_command_shows_where_it_is_however_much_it_wrote() -> None:
    block = ToolBlock("shell")
    block.state = "running"
    for n in range(KEEP_CHARS // 50):
        block.add_output(f"{n:099}\n")
    assert block.output.startswith("0" * 99)
    assert [int(row) for row in shown(block, 120)[1:]] == list(range(KEEP_CHARS // 50 - 8, KEEP_CHARS // 50))


@given(
    st.lists(st.text(st.sampled_from("ab🦙 \t"), max_size=60), min_size=1, max_size=30),
    st.integers(0, 5),
    st.integers(0, 5),
)
def test_the_ends_of_any_output_are_few_rows_of_its_own(source: list[str], head: int, tail: int) -> None:
    rows = [row.text for row in draw_ends("\n".join(source), Ends(head, tail), 40, PALETTE.text, PALETTE.faint)]
    whole = [row.text for row in fold(source, 40, PALETTE.text)]
    assert len(rows) <= head + tail + 1
    if rows != whole:
        assert rows[:head] == whole[:head]
        assert "more line" in rows[head]
        assert not tail or rows[-1].strip()[-1:] == whole[-1].strip()[-1:]


def drafted(arguments: str, size: int) -> Draft:
    draft = Draft()
    for at in range(0, len(arguments), size):
        draft.feed(arguments[at : at + size])
    return draft


@given(
    st.dictionaries(st.text("abcde_", min_size=1), st.text() | st.integers() | st.booleans(), min_size=1, max_size=4),
    st.integers(1, 9),
    st.booleans(),
)
def test_a_call_that_is_being_written_reads_as_what_its_json_says(
    values: dict[str, str | int | bool], size: int, escaped: bool
) -> None:
    said = "\n".join(
        f"{key}: {value if isinstance(value, str) else json.dumps(value)}" for key, value in values.items()
    )
    draft = drafted(json.dumps(values, ensure_ascii=escaped), size)
    assert "\n".join(draft.last_lines(10**6)) == to_terminal_text(said)[-4000:]


def test_a_draft_of_a_patch_says_how_far_it_is_and_hides_nothing() -> None:
    patch = "*** Begin Patch\n*** Update File: a\x1b.py\n@@\n-one\n+two\n+\x1b[31mthree\u202e"
    for arguments in (patch, json.dumps({"patch": patch}), json.dumps({"input": patch}).removesuffix('"}')):
        draft = drafted(arguments, 7)
        assert draft.progress() == "a␛.py  +2 -1"
        assert draft.last_lines(2) == ["+two", "+␛[31mthree<U+202E>"]
    assert drafted('{"path": "a.py"}', 3).progress() == ""


@given(st.text('{}[]:,"\\nu0d8 \n*+-', max_size=40))
def test_whatever_is_written_as_a_call_can_be_shown(arguments: str) -> None:
    block = ToolBlock("t")
    block.write(arguments)
    assert len(block.render(30, PALETTE)) <= 7


def test_a_message_of_two_columns_wraps_in_its_second_one() -> None:
    block = NoticeBlock(
        "info", "Tools    read_file, list_files, search_files\nno  columns", "read  this hint in all its length"
    )
    rows = block.render(34, PALETTE)
    assert [row.text.rstrip() for row in rows] == [
        "  · Tools    read_file,",
        "             list_files,",
        "             search_files",
        "    no  columns",
        "    Read  this hint in all its",
        "    length",
    ]
    assert [row.text[row.lead :].rstrip() for row in rows[:2] if isinstance(row, lines.Row)] == [
        "Tools    read_file,",
        "list_files,",
    ], "what is copied has no room before it"


def test_the_error_colours_of_all_themes_are_red_with_sixteen_colours_too() -> None:
    for theme in (CONTRAST, CONTRAST_LIGHT):
        colour = Color.parse(theme.error or "")
        assert colour.downgrade(ColorSystem.STANDARD).number in (1, 9)


def test_a_server_is_named_without_the_word_for_its_engine() -> None:
    assert engine_place("native", "cpu") == "native cpu"
    assert engine_place("remote", "vLLM at 127.0.0.1:8000") == "vLLM at 127.0.0.1:8000"
    assert engine_place("remote", "") == "remote"


def test_both_themes_give_a_palette() -> None:
    for theme in (DARK, LIGHT):
        palette = Palette.from_variables(theme.to_color_system().generate(), dark=theme.dark)
        assert palette.text.color is not None
        assert palette.added.bgcolor != palette.removed.bgcolor


@pytest.mark.parametrize(
    ("sent", "key"), [("\x1b,", "alt+comma"), ("\x1b.", "alt+full_stop"), ("\x1b\r", "alt+enter"), ("\n", "ctrl+j")]
)
def test_keys_arrive_without_the_kitty_protocol(sent: str, key: str) -> None:
    from textual._xterm_parser import XTermParser

    register_alt_keys()
    assert [event.key for event in XTermParser(False).feed(sent)] == [key]  # type: ignore[attr-defined]


def test_key_names() -> None:
    names = [key_name(key) for key in ("alt+comma", "ctrl+t", "f1", "y", "question_mark", "shift+enter")]
    assert names == ["Alt+,", "Ctrl+T", "F1", "y", "?", "Shift+Enter"]


def test_every_binding_has_an_id_and_a_description() -> None:
    rows = [row for group in key_groups() for row in group.rows]
    assert all(row.id and row.description for row in rows)
    assert len({row.id for row in rows}) == len(rows)


def test_the_keys_page_is_current() -> None:
    assert (ROOT / "docs" / "keys.md").read_text() == keys_page(), "python -m gptoss_tui.tui.keys > docs/keys.md"


def test_importing_the_app_imports_no_model_code() -> None:
    heavy = ["torch", "triton", "openai_harmony", "docker", "aiohttp", "huggingface_hub", "transformers", "numpy"]
    heavy += ["pygments", "markdown_it", "mcp", "httpx", "pydantic", "sqlite3"]
    code = f"import sys, gptoss_tui.tui.app; print([m for m in {heavy!r} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"


FIRST_FRAME = """
import sys, gptoss_tui.tui.app as app, gptoss_tui.tui.screens.chat as chat
def after_the_first_frame(screen):
    print(*(name for name in sys.modules if name.startswith("gptoss_tui.")))
    screen.app.exit()
chat.ChatScreen._start = after_the_first_frame
app.GptOssApp(app.LocalBackend(None)).run(headless=True, size=(120, 40))
"""


def test_the_first_frame_goes_without_what_it_does_not_show() -> None:
    done = subprocess.run([sys.executable, "-c", FIRST_FRAME], capture_output=True, text=True, check=True)
    names = done.stdout.split()
    assert len(names) > 40
    assert len(names) < 95, "one more module is a millisecond or more before anybody sees anything"
    later = ("agent.events", "agent.agent", "engine.types", "harmony.messages", "tools", "tui.diff", "tui.slash")
    later += ("tui.blocks.answer", "tui.widgets.approval", "tui.controllers.composing", "tui.screens.picker")
    assert not [name for name in names if name.removeprefix("gptoss_tui.").startswith(later)]


def test_plain_text_draws_its_complete_lines_once() -> None:
    view = PlainView([Segment("| ")])
    first = view.render("one two three\nfour\nfi", 8, PALETTE.text)
    second = view.render("one two three\nfour\nfive six", 8, PALETTE.text)
    assert [row.text.rstrip() for row in second] == ["| one", "| two", "| three", "| four", "| five", "| six"]
    assert all(old is new for old, new in zip(first[:4], second[:4], strict=True))
    assert [row.text.rstrip() for row in view.render("another", 10, PALETTE.text)] == ["| another"]


def test_a_spinner_does_not_draw_the_diff_again() -> None:
    block = ToolBlock("apply_patch")
    block.show_preview(DIFF, is_diff=True)
    block.state = "running"
    first = block._diff_rows(60, PALETTE)
    assert block.tick()
    assert block._diff_rows(60, PALETTE) is first
    assert "+1 -1" in block.render(60, PALETTE)[0].text


async def test_the_status_line_hears_where_the_browser_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAVILY_API_KEY", "k")
    assert await sandbox_in_use(Settings(browser=True)) == "local documents"
    assert await sandbox_in_use(Settings(browser=True, browser_backend="duckduckgo")) == "web by duckduckgo"
    assert await sandbox_in_use(Settings(model="other", shell=False, browser=True)) == "web by tavily"
    assert await sandbox_in_use(Settings(browser=False)) == ""
