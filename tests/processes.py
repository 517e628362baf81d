"""Whether a process runs on this machine, found by its exact command line."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path


def running(*command: str) -> bool:
    """Whether any process was started with these words."""
    wanted = "".join(f"{word}\0" for word in command).encode()
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if entry.isdigit() and Path("/proc", entry, "cmdline").read_bytes() == wanted:
                return True
    return False


async def until(happened: Callable[[], bool]) -> None:
    """Wait for something that sets no event; the test's time limit is the failure."""
    while not happened():  # noqa: ASYNC110
        await asyncio.sleep(0.05)
