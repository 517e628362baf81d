"""The composer in a real terminal: no key is lost, an editor gets the screen, a killed app gives its draft back."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil

from tests.e2e.conftest import OpenApp
from tests.e2e.terminal import QUIT, Terminal

FILES = 50_000
EMPTY = "Ask something"
CTRL_G, PASTE_BEGIN, PASTE_END = "\x07", "\x1b[200~", "\x1b[201~"


def quit_app(terminal: Terminal) -> None:
    terminal.type(QUIT)
    assert terminal.wait_for_end() == 0


def test_no_key_is_lost_beside_fifty_thousand_files(open_app: OpenApp, workspace: Path) -> None:
    for number in range(FILES):
        folder = workspace / f"part{number % 50}"
        if number < 50:
            folder.mkdir()
        (folder / f"module_{number}.py").touch()
    terminal = open_app()
    terminal.wait_for(f"│ {EMPTY}")
    typed = "look at @module_4321 and @part7/mod then @nothing_like_it and say why it is so slow"
    for character in typed:
        terminal.type(character)
    terminal.type(" end")
    terminal.wait_for(lambda text: " ".join(f"{typed} end".split()) in " ".join(text.replace("│", " ").split()))
    terminal.type("\x15@module_49999")
    terminal.wait_for("part49/module_49999.py")
    terminal.type("\t")
    terminal.wait_for("@part49/module_49999.py")
    quit_app(terminal)


def test_an_editor_gets_the_screen_and_the_draft(
    open_app: OpenApp, environment: dict[str, str], tmp_path: Path
) -> None:
    editor = tmp_path / "edit"
    editor.write_text('#!/bin/sh\necho THE-EDITOR-IS-HERE\nread answer\nprintf "%s and more" "$(cat "$1")" > "$1"\n')
    editor.chmod(0o755)
    environment["EDITOR"] = str(editor)
    terminal = open_app()
    terminal.wait_for(f"│ {EMPTY}")
    terminal.type("a draft")
    terminal.wait_for("│ a draft")
    terminal.type(CTRL_G)
    terminal.wait_for("THE-EDITOR-IS-HERE")
    terminal.type("\r")
    terminal.wait_for("│ a draft and more")
    terminal.type(" typed")
    terminal.wait_for("│ a draft and more typed")
    quit_app(terminal)


def test_a_killed_app_gives_its_draft_back(open_app: OpenApp, environment: dict[str, str]) -> None:
    terminal = open_app()
    terminal.wait_for(f"│ {EMPTY}")
    terminal.type(f"keep this {PASTE_BEGIN}{'row' + chr(13)}{('row' + chr(13)) * 50}{PASTE_END} too")
    terminal.wait_for("[paste 1: 51 lines] too")
    drafts = Path(environment["HOME"], ".local/state/gptoss-tui/drafts")
    terminal.wait_for(lambda _: any("too" in path.read_text() for path in drafts.glob("*.json")))
    workers = terminal.workers()
    terminal.signal(signal.SIGKILL)
    psutil.wait_procs(workers, timeout=20)
    again = open_app()
    again.wait_for("│ keep this [paste 1: 51 lines] too")
    quit_app(again)
