"""Copying with programs: those that end, those that stay, and those that do not take anything."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from gptoss_tui.tui.clipboard import copy_by_program


def program(folder: Path, name: str, script: str) -> dict[str, str]:
    """An environment in which `name` is this script."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin", "DISPLAY": ":0"}


async def test_a_program_that_ends_has_copied_if_it_says_so(tmp_path: Path) -> None:
    environ = program(tmp_path, "xclip", f"cat > {tmp_path}/copied")
    assert await copy_by_program("naïve\ntext", environ) == "the clipboard"
    assert (tmp_path / "copied").read_text() == "naïve\ntext"
    assert await copy_by_program("x", program(tmp_path, "xclip", "cat > /dev/null; exit 1")) == ""


async def test_a_program_that_stays_to_serve_the_clipboard_has_copied_and_leaves_no_zombie(tmp_path: Path) -> None:
    script = f"echo $$ > {tmp_path}/pid; cat > {tmp_path}/copied; exec sleep 600"
    assert await copy_by_program("text" * 50_000, program(tmp_path, "xclip", script)) == "the clipboard"
    assert (tmp_path / "copied").read_text() == "text" * 50_000
    pid = int((tmp_path / "pid").read_text())
    assert os.getsid(pid) == pid, "it outlives the terminal"
    os.kill(pid, signal.SIGTERM)
    await asyncio.to_thread(_gone, pid)


async def test_a_program_that_takes_nothing_has_not_copied(tmp_path: Path) -> None:
    environ = program(tmp_path, "xclip", f"echo $$ > {tmp_path}/pid; exec sleep 600")
    assert await copy_by_program("text" * 500_000, environ) == ""
    _gone(int((tmp_path / "pid").read_text()))


async def test_without_any_program_nothing_is_claimed(tmp_path: Path) -> None:
    assert await copy_by_program("text", {"PATH": str(tmp_path), "DISPLAY": ":0"}) == ""


def _gone(pid: int) -> None:
    """Wait until there is no such process, not even one that nobody has waited for."""
    with suppress(ProcessLookupError):
        while True:
            os.kill(pid, 0)
            time.sleep(0.01)
