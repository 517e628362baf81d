"""Slash commands without a screen: registry, completion, prompts of one's own, export, copying, the page."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptoss_tui.agent import events as ev
from gptoss_tui.agent.commands import ContextReport
from gptoss_tui.agent.saved_prompts import Prompt
from gptoss_tui.agent.slash import NAME, parse_call
from gptoss_tui.sanitize import fenced
from gptoss_tui.tools.base import Citation
from gptoss_tui.tui.clipboard import system_program
from gptoss_tui.tui.composing.message import join_message
from gptoss_tui.tui.screens.context import context_rows, shares
from gptoss_tui.tui.slash.builtin import BUILTIN
from gptoss_tui.tui.slash.conversation import ago
from gptoss_tui.tui.slash.export import FORMATS, export
from gptoss_tui.tui.slash.page import commands_page
from gptoss_tui.tui.slash.prompts import prompt_commands
from gptoss_tui.tui.slash.record import Record, code_blocks
from gptoss_tui.tui.slash.registry import Registry
from gptoss_tui.tui.theme import DARK, Palette

ROOT = Path(__file__).parents[2]
PALETTE = Palette.from_variables(DARK.to_color_system().generate(), dark=True)
WANTED = (
    *("model", "effort", "new", "resume", "fork", "undo", "redo", "compact", "context", "tools", "approvals"),
    *("diff", "init", "status", "mode"),
    *("export", "copy", "theme", "keys", "help", "quit"),
)


# The registry


def test_all_commands_are_there_and_describe_themselves() -> None:
    commands = BUILTIN
    assert set(WANTED) <= {command.name for command in commands}
    names = [name for command in commands for name in (command.name, *command.aliases)]
    assert len(names) == len(set(names))
    for command in commands:
        assert NAME.fullmatch(command.name)
        assert command.help
        assert len(command.help) <= 50, "it has to fit beside the name"
        assert not command.help.endswith(".")


def test_the_page_of_commands_is_current() -> None:
    assert (ROOT / "docs" / "commands.md").read_text(encoding="utf-8") == commands_page(), (
        "python -m gptoss_tui.tui.slash.page > docs/commands.md"
    )


def test_nothing_replaces_a_command_of_the_program() -> None:
    own = prompt_commands(
        [Prompt("new", "mine", "", "x"), Prompt("exit", "mine", "", "x"), Prompt("own", "m", "", "x")]
    )
    registry = Registry([*BUILTIN, *own])
    new, leave, mine = registry.find("new"), registry.find("EXIT"), registry.find("own")
    assert new is not None
    assert new.group == "Conversation"
    assert leave is not None
    assert leave.name == "quit"
    assert mine is not None


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("/new", ("new", "")),
        ("/Effort  high ", ("effort", "high")),
        ("/compact keep\nthe plan", ("compact", "keep\nthe plan")),
        ("/etc/hosts", None),
        ("/ new", None),
        (" /new", None),
        ("new", None),
        ("/usr/bin is full", None),
    ],
)
def test_what_is_a_call(text: str, call: tuple[str, str] | None) -> None:
    found = parse_call(text)
    assert (None if found is None else (found.name, found.argument)) == call


@given(st.text(max_size=60))
def test_any_text_is_a_call_or_a_message(text: str) -> None:
    found = parse_call(text)
    assert found is None or (text.startswith("/") and NAME.fullmatch(found.name))


# Prompts of one's own


def test_a_prompt_is_a_command_that_says_what_it_takes_and_where_it_is_from() -> None:
    own, theirs = prompt_commands(
        [Prompt("review", "d", "", "Review $1"), Prompt("fix", "mend it", "", "Fix it", ".claude/commands/fix.md")]
    )
    assert (own.usage, own.help, own.group) == ("/review [arguments]", "d", "Your prompts")
    assert (theirs.usage, theirs.help) == ("/fix", "mend it (.claude/commands/fix.md)")
    assert theirs.group == "The project's prompts"


# The conversation as a document


HOSTILE = "</pre><script>alert(1)</script>\n```\n# [x](javascript:alert(1)) <img src=x onerror=alert(1)>"


def conversation() -> list[ev.Event]:
    """One turn with everything in it."""
    cited = "See 【1†L1-L2】."
    return [
        ev.TurnStarted(turn_id="t1", text=join_message("why?", ["[a.py: lines 1-2 of 2]\nsecret"])),
        ev.ReasoningDone(turn_id="t1", item_id="r", text=f"hm {HOSTILE}", tokens=3, seconds=1.0),
        ev.ToolCall(turn_id="t1", item_id="c", tool="shell", arguments=HOSTILE, summary="shell ls"),
        ev.ToolFinished(turn_id="t1", item_id="c", tool="shell", status="ok", output=HOSTILE, seconds=0.2),
        ev.AnswerDone(
            turn_id="t1", item_id="a", text=f"{cited}\n\n```python\nprint(1)\n```\n{HOSTILE}", tokens=5, seconds=1.0
        ),
        ev.AnswerCited(turn_id="t1", item_id="a", citations=(Citation(1, "Page", "https://x.org", 1, 2, (4, 13)),)),
        ev.TurnFinished(turn_id="t1", reason="interrupted"),
    ]


def test_a_markdown_export_has_all_of_it_in_fences_that_hold() -> None:
    text = export(conversation(), "markdown", "A talk")
    assert text.startswith("# A talk\n\n## You\n\nwhy?")
    assert "(with a.py: lines 1-2 of 2)" in text
    assert "secret" not in text
    assert "> **Thought for 1.0 s, 3 tokens**" in text
    assert "````text\n" in text
    assert "See [1]." in text
    assert "https://x.org" in text


def test_an_html_export_runs_nothing() -> None:
    page = export(conversation(), "html", "<b>")
    assert "<script" not in page
    assert "<img" not in page
    assert 'href="javascript' not in page
    assert "default-src 'none'" in page
    assert '<code class="language-python">print(1)' in page
    assert "&lt;b&gt;" in page


def test_a_json_export_has_the_events() -> None:
    data = json.loads(export(conversation(), "json", "A talk"))
    assert [ev.from_dict(event) for event in data["events"]] == conversation()
    assert set(FORMATS) == {"markdown", "json", "html"}


@given(st.text(alphabet="`~ab\n", max_size=60))
def test_no_text_closes_its_fence(text: str) -> None:
    first, *body, last = fenced(text).split("\n")
    assert last == first.removesuffix("text")
    assert not any(row.strip().startswith(last) for row in body)


def test_code_blocks_are_found_without_their_fences() -> None:
    text = "a\n```python\nprint(1)\n```\nb\n\n  ~~~\n  x = ```\n  ~~~\n````\n```\n````\n"
    assert [(block.language, block.code) for block in code_blocks(text)] == [
        ("python", "print(1)"),
        ("", "x = ```"),
        ("", "```"),
    ]


def test_the_record_drops_turns_and_brings_them_back() -> None:
    record = Record()
    for turn in ("t1", "t2", "t3"):
        record.apply(ev.TurnStarted(turn_id=turn, text=turn))
        record.apply(ev.AnswerDelta(turn_id=turn, item_id="a", text="x"))
        record.apply(ev.AnswerDone(turn_id=turn, item_id="a", text=f"answer {turn}", tokens=1, seconds=0.1))
    assert record.last_answer() == "answer t3"
    record.keep_before("t3")
    record.keep_before("t2")
    assert list(record.answers()) == ["answer t1"]
    record.bring_back()
    assert record.last_answer() == "answer t2"
    record.apply(ev.TurnStarted(turn_id="t4", text="other"))
    record.bring_back()
    assert record.last_answer() == "answer t2", "redo works until you send a new message brought back"


# The context as a picture


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=8), st.integers(10, 80))
def test_shares_fill_the_bar_and_what_is_there_is_seen(sizes: list[int], cells: int) -> None:
    found = shares(sizes, max(1, sum(sizes)), cells)
    assert sum(found) == (cells if sum(sizes) else 0)
    assert all(width >= 0 for width in found)
    if sum(sizes):
        assert all(width for width, size in zip(found, sizes, strict=True) if size)


def test_the_picture_names_every_part() -> None:
    report = ContextReport(100, 900, 50, 300, 80, 2000, 400, 3830, 3000, 32_768)
    text = "\n".join(row.plain for row in context_rows(report, PALETTE))
    for words in ("3,830 of 32,768 tokens  12%", "Tool results", "2,000", "28,938", "In the cache, read already"):
        assert words in text
    no_limit = ContextReport(0, 0, 0, 0, 0, 0, 0, 0, 0, None)
    assert context_rows(no_limit, PALETTE)


# Small parts


@pytest.mark.parametrize(
    ("when", "words"),
    [
        ("2026-03-04T11:59:40", "just now"),
        ("2026-03-04T11:15:00", "45 min ago"),
        ("2026-03-04T02:00:00", "10 h ago"),
        ("2026-03-03T10:00:00", "yesterday"),
        ("2026-03-01T10:00:00", "3 days ago"),
        ("2026-01-01T10:00:00", "2026-01-01"),
        ("no time", ""),
    ],
)
def test_times_as_people_say_them(when: str, words: str) -> None:
    assert ago(when, datetime(2026, 3, 4, 12, 0)) == words


def test_no_program_of_another_machine_gets_the_clipboard(tmp_path: Path) -> None:
    for name in ("xclip", "pbcopy"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    display = {"DISPLAY": ":0", "PATH": str(tmp_path)}
    assert system_program(display, "linux") == ("xclip", "-selection", "clipboard", "-in")
    assert system_program({**display, "SSH_TTY": "/dev/pts/1"}, "linux") is None
    assert system_program({"PATH": str(tmp_path)}, "linux") is None
    assert system_program({"PATH": str(tmp_path)}, "darwin") == ("pbcopy",)
