"""Whether tmux passes pictures through to all attached terminals, and how to wrap sequences for that."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Mapping
from typing import Final

from gptoss_tui.tui.terminal.graphics import draws_placeholders

_SECONDS: Final = 2.0
_CLIENT: Final = "#{client_termfeatures}|#{client_termtype}"
_COLOURS: Final = "RGB"
"""The feature of clients that show all colours, which is needed because the number of a picture is a colour."""


async def passes_pictures(environ: Mapping[str, str]) -> bool:
    """Whether passthrough is allowed in this pane, and all attached terminals support kitty's placeholders."""
    pane, socket = environ.get("TMUX_PANE", ""), environ.get("TMUX", "").partition(",")[0]
    if not pane or not socket:
        return False
    allowed = await _tmux(socket, "show-options", "-Apqv", "-t", pane, "allow-passthrough")
    if allowed.strip() not in ("on", "all"):
        return False
    session = (await _tmux(socket, "display-message", "-p", "-t", pane, "#{session_id}")).strip()
    clients = (await _tmux(socket, "list-clients", "-t", session, "-F", _CLIENT)).splitlines() if session else []
    return bool(clients) and all(_draws(client) for client in clients)


def wrapped(sequence: str) -> str:
    """Wrap a control sequence for the terminal outside tmux."""
    return "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\"


def _draws(client: str) -> bool:
    features, _, program = client.partition("|")
    return _COLOURS in features.split(",") and draws_placeholders(program)


async def _tmux(socket: str, *arguments: str) -> str:
    """The output of a tmux command; empty if it fails or takes too long."""
    program = shutil.which("tmux")
    if program is None:
        return ""
    process = None
    try:
        async with asyncio.timeout(_SECONDS):
            process = await asyncio.create_subprocess_exec(
                *(program, "-S", socket, *arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
            output, _ = await process.communicate()
            return output.decode("utf-8", "replace") if process.returncode == 0 else ""
    except (OSError, TimeoutError):
        return ""
    finally:
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
