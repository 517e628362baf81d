"""A whole session as a person has it, from the first message to the next day, in a real terminal on the real model."""

from __future__ import annotations

from pathlib import Path

import pytest

from gptoss_tui.tui.widgets.grace import GRACE_SECONDS
from tests.e2e.conftest import OpenApp
from tests.e2e.terminal import ENTER
from tests.e2e.test_app import allow, quit_and_look_behind, send

pytestmark = pytest.mark.slow

ESCAPE, TAB, SHIFT_TAB, MORE_EFFORT = "\x1b", "\t", "\x1b[Z", "\x1b."
CREATE = "create notes.txt with milk"
CHANGE = "change milk to tea in notes.txt"


def test_a_whole_session(open_app: OpenApp, workspace: Path) -> None:
    terminal = open_app(size=(100, 32))
    notes = workspace / "notes.txt"

    # chat
    send(terminal, "what can you do?")
    terminal.wait_for("I can create and change small files")
    terminal.wait_for("● ready")

    # another effort, with its cost before it is paid
    terminal.type(MORE_EFFORT)
    terminal.wait_for("effort ▮▮▮ high, reads ")

    # an edit is approved by its diff
    send(terminal, CREATE)
    question = allow(terminal)
    assert "+ milk" in question
    terminal.wait_for(lambda _: notes.exists())
    terminal.wait_for("● ready")
    assert notes.read_text() == "milk\n"
    terminal.wait_for("effort ▮▮▮ high  ")

    # another one is denied, with the reason
    send(terminal, CHANGE)
    terminal.wait_for("y allow once")
    terminal.watch(2 * GRACE_SECONDS)
    terminal.type("m")
    terminal.wait_for("Tell the model why")
    terminal.type("I changed my mind")
    terminal.wait_for("I changed my mind")
    terminal.type(ENTER)
    terminal.wait_for("denied")
    terminal.wait_for("● ready")
    assert notes.read_text() == "milk\n"

    # going back to before the denied message: it is in the draft again
    terminal.type(ESCAPE)
    terminal.wait_for("again to go back to an earlier message")
    terminal.type(ESCAPE)
    terminal.wait_for("Go back to before this message")
    terminal.watch(0.5)
    terminal.type(ENTER)
    terminal.wait_for(f"│ {CHANGE}")
    terminal.type("\x03")
    terminal.wait_for("│ Ask something")

    # the window changes, a turn is interrupted, nothing is written
    terminal.resize(80, 24)
    send(terminal, CHANGE)
    terminal.wait_for("Esc stop")
    terminal.type(ESCAPE)
    terminal.wait_for("interrupted")
    terminal.wait_for("● ready")
    assert notes.read_text() == "milk\n"
    quit_and_look_behind(terminal)
    assert "To go on: gptoss-tui --resume 20" in terminal.text

    # the next day
    again = open_app("--resume", "last", size=(100, 32))
    again.wait_for("● ready")
    again.wait_for("interrupted")
    assert "milk" in again.text
    quit_and_look_behind(again)


def test_undo_takes_the_file_back(open_app: OpenApp, workspace: Path) -> None:
    terminal = open_app()
    send(terminal, CREATE)
    allow(terminal)
    terminal.wait_for(lambda _: (workspace / "notes.txt").exists())
    terminal.wait_for("● ready")
    send(terminal, "/undo ")
    terminal.wait_for(lambda _: not (workspace / "notes.txt").exists())
    quit_and_look_behind(terminal)


def test_a_mode_lets_edits_pass_without_a_question(open_app: OpenApp, workspace: Path) -> None:
    terminal = open_app()
    terminal.wait_for("● ready")
    terminal.type(SHIFT_TAB)
    terminal.wait_for("edits without asking")
    send(terminal, CREATE)
    terminal.wait_for(lambda _: (workspace / "notes.txt").exists())
    terminal.wait_for("● ready")
    assert "allow once" not in terminal.text
    quit_and_look_behind(terminal)


def test_messages_typed_while_the_model_works_wait_and_run(open_app: OpenApp, workspace: Path) -> None:
    terminal = open_app()
    send(terminal, CREATE)
    terminal.wait_for("Esc stop")
    terminal.type("what can you do?" + TAB)
    terminal.wait_for("queued   what can you do?")
    allow(terminal)
    terminal.wait_for("I can create and change small files")
    assert (workspace / "notes.txt").read_text() == "milk\n"
    quit_and_look_behind(terminal)
