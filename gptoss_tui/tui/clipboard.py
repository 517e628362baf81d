"""Copying to the clipboard in every available way: the system's own program, tmux, and the terminal (OSC 52).

Only a program that exits successfully proves that something was copied; a terminal does not answer.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Mapping, Sequence

SECONDS = 2.0

_SSH = ("SSH_CONNECTION", "SSH_TTY", "SSH_CLIENT")


def system_program(environ: Mapping[str, str], platform: str = sys.platform) -> Sequence[str] | None:
    """The command that copies its stdin to this machine's clipboard; None over SSH, where that is the wrong machine."""
    if any(environ.get(name) for name in _SSH):
        return None
    candidates: list[Sequence[str]] = []
    if platform == "darwin":
        candidates.append(("pbcopy",))
    if environ.get("WAYLAND_DISPLAY"):
        candidates.append(("wl-copy",))
    if environ.get("DISPLAY"):
        candidates += [("xclip", "-selection", "clipboard", "-in"), ("xsel", "--clipboard", "--input")]
    if environ.get("WSL_DISTRO_NAME"):
        candidates.append(("clip.exe",))
    return next((command for command in candidates if shutil.which(command[0], path=environ.get("PATH"))), None)


async def copy_by_program(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """Copy `text` with a program on this machine. Returns a phrase for where it is now; empty when nothing worked."""
    command = system_program(environ)
    if command is not None and await _fed(command, text):
        return "the clipboard"
    if environ.get("TMUX") and await _fed(("tmux", "load-buffer", "-w", "-"), text):
        return "tmux's buffer and its terminal's clipboard"
    return ""


async def _fed(command: Sequence[str], text: str) -> bool:
    """Whether `command` took `text` and exited with 0 within SECONDS."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return False
    try:
        await asyncio.wait_for(process.communicate(text.encode(errors="replace")), SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
        return False
    return process.returncode == 0
