"""The whole path in a real terminal: the app, the agent, the tools and the built-in model in its worker."""

from __future__ import annotations

import re
from pathlib import Path

import psutil
import pytest

from gptoss_tui.tui.widgets.grace import GRACE_SECONDS
from tests.e2e.conftest import OpenApp
from tests.e2e.terminal import ENTER, QUIT, Terminal

pytestmark = pytest.mark.slow

CREATE = "create hello.py that prints hello"
ANSWERED = re.compile(r"✓ [^─]*hello\.py[^─]*\n +───", re.DOTALL)
"""The tool's result, an answer that names the file, and the line that ends a turn."""
EMPTY = "Ask something"
"""What the empty composer shows."""


def send(terminal: Terminal, prompt: str) -> None:
    """Write a prompt into the composer and send it when it is there."""
    terminal.wait_for(f"│ {EMPTY}")
    terminal.type(prompt)
    terminal.wait_for(f"│ {prompt}")
    terminal.type(ENTER)


def allow(terminal: Terminal) -> str:
    """Read the question and say yes. Gives what the screen showed."""
    terminal.wait_for("y allow once")
    terminal.watch(2 * GRACE_SECONDS)
    question = terminal.text
    terminal.type("y")
    return question


def quit_and_look_behind(terminal: Terminal) -> None:
    """Quit; the program ends well and leaves no process."""
    workers = terminal.workers()
    terminal.type(QUIT)
    assert terminal.wait_for_end() == 0
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert alive == []


@pytest.mark.parametrize("size", [(80, 24), (160, 50)])
def test_a_file_is_created_after_a_yes(open_app: OpenApp, workspace: Path, size: tuple[int, int]) -> None:
    terminal = open_app(size=size)
    send(terminal, CREATE)
    terminal.wait_for("Thinking")
    question = allow(terminal)
    assert "hello.py" in question
    assert '+ print("hello")' in question
    terminal.wait_for(ANSWERED.search)
    assert "Thought" in terminal.wait_for("ready")
    assert (workspace / "hello.py").read_bytes() == b'print("hello")\n'
    assert [path.name for path in workspace.iterdir()] == ["hello.py"]
    assert len(terminal.workers()) == 1
    quit_and_look_behind(terminal)


def test_nothing_is_written_before_the_yes_nor_after_a_no(open_app: OpenApp, workspace: Path) -> None:
    terminal = open_app(CREATE)
    terminal.wait_for("y allow once")
    terminal.watch(2 * GRACE_SECONDS)
    assert list(workspace.iterdir()) == []
    terminal.type("n")
    terminal.wait_for("ready")
    assert list(workspace.iterdir()) == []
    quit_and_look_behind(terminal)


def test_a_killed_worker_is_replaced_by_the_next_message(open_app: OpenApp, workspace: Path) -> None:
    terminal = open_app("--reasoning-effort", "high")
    send(terminal, CREATE)
    terminal.wait_for("Thinking")
    (worker,) = terminal.workers()
    worker.kill()
    terminal.wait_for("killed by SIGKILL")
    terminal.wait_for("The conversation is kept")
    terminal.wait_for("Send a message to load it again")
    assert list(workspace.iterdir()) == []
    send(terminal, CREATE)
    allow(terminal)
    terminal.wait_for(ANSWERED.search)
    assert (workspace / "hello.py").read_bytes() == b'print("hello")\n'
    (other,) = terminal.workers()
    assert other != worker
    quit_and_look_behind(terminal)


def test_no_key_is_lost_while_the_model_streams_and_the_window_changes(open_app: OpenApp) -> None:
    terminal = open_app()
    send(terminal, CREATE)
    terminal.wait_for("Esc stop")
    parts = ["these do", "uble co", "lours 012", "3456789"]  # no letter that answers the question
    for size, part in zip([(80, 24), (160, 50), (60, 15), (100, 30)], parts, strict=True):
        terminal.resize(*size)
        for key in part:
            terminal.type(key)
            terminal.watch(0.02)
    terminal.wait_for("│ " + "".join(parts))
    terminal.wait_for("y allow once")
    assert '+ print("hello")' in terminal.text
    quit_and_look_behind(terminal)


def test_what_is_typed_before_the_first_frame_is_in_the_draft(open_app: OpenApp) -> None:
    terminal = open_app()
    terminal.type("typed ahead")
    terminal.wait_for("│ typed ahead")
    terminal.type(" and on")
    terminal.wait_for("│ typed ahead and on ")
    quit_and_look_behind(terminal)
