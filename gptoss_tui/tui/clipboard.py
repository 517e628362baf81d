"""Copying to the clipboard in every available way: the system's own program, tmux, and the terminal (OSC 52).

Only a program that takes the text proves that something was copied; a terminal does not answer.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress

SECONDS = 2.0
"""How long a program may take to read the text."""
MOMENT = 0.25
"""How long one that has read it is waited for."""

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
    if command is not None and await _fed(command, text, environ):
        return "the clipboard"
    if environ.get("TMUX") and await _fed(("tmux", "load-buffer", "-w", "-"), text, environ):
        return "tmux's buffer and its terminal's clipboard"
    return ""


async def _fed(command: Sequence[str], text: str, environ: Mapping[str, str]) -> bool:
    """Whether `command` took `text`, and exited with 0 or stays to serve it."""
    return await asyncio.to_thread(_feed, command, text.encode(errors="replace"), environ)


def _feed(command: Sequence[str], data: bytes, environ: Mapping[str, str]) -> bool:
    """Some programs stay in the foreground for as long as the clipboard is theirs: these took what they read in full.

    They are started apart from the terminal (setsid), so that what was copied outlives it.
    """
    import subprocess

    quiet = subprocess.DEVNULL
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, env=environ, start_new_session=True
        )
    except OSError:
        return False
    for given in (data, *[None] * (round(SECONDS / MOMENT) - 1)):
        with suppress(subprocess.TimeoutExpired):
            process.communicate(given, MOMENT)
            return process.returncode == 0
        if process.stdin is not None and process.stdin.closed:
            threading.Thread(target=process.wait, daemon=True).start()  # reaps it whenever it ends
            return True
    process.kill()
    process.wait()
    return False
