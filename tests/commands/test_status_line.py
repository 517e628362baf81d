"""The line of progress on stderr."""

from __future__ import annotations

import io
from contextlib import redirect_stderr

import pytest

from gptoss_tui.commands.status_line import StatusLine
from gptoss_tui.engine.types import LoadProgress

CLEAR = "\r\x1b[K"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_text_takes_the_place_of_the_one_before_and_is_gone_at_the_end() -> None:
    with redirect_stderr(Terminal()) as shown, StatusLine() as line:
        line.show("one")
        line.clear()
        line.show("two\x1b]0;title\x07")
        before = shown.getvalue()
    assert before.startswith(f"{CLEAR}one{CLEAR}{CLEAR}two")
    assert "\x1b]" not in before
    assert shown.getvalue() == f"{before}{CLEAR}"


def test_texts_that_follow_at_once_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 5.0
    monkeypatch.setattr("gptoss_tui.commands.status_line.time.monotonic", lambda: now)
    line = StatusLine()
    with redirect_stderr(Terminal()) as shown:
        line.show("one")
        line.show("two")
        now += 0.1
        line.show("three")
    assert shown.getvalue() == f"{CLEAR}one{CLEAR}three"


def test_the_last_step_of_loading_clears_it() -> None:
    line = StatusLine()
    with redirect_stderr(Terminal()) as shown:
        line.load(LoadProgress("Loading weights", 0.5))
        line.load(LoadProgress("Ready", 1.0, done=True))
    assert shown.getvalue() == f"{CLEAR}Loading weights 50%{CLEAR}"


def test_a_file_gets_none_of_it() -> None:
    with redirect_stderr(io.StringIO()) as written, StatusLine() as line:
        line.show("one")
    assert written.getvalue() == ""
