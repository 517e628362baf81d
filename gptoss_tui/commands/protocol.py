"""Running a program that speaks a protocol: what it logs, and how it ends when it is told to."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final

from gptoss_tui.sanitize import to_terminal_text

if TYPE_CHECKING:
    import asyncio

INTERRUPTED: Final = 130
TERMINATED: Final = 143


class _Formatter(logging.Formatter):
    """What is logged may have been written by whoever is at the other end."""

    def format(self, record: logging.LogRecord) -> str:
        return to_terminal_text(super().format(record))


def run_protocol(work: Coroutine[Any, Any, None]) -> int:
    """Run `work` to its end, or until SIGINT or SIGTERM, which cancel it; gives the exit code.

    What libraries log goes to stderr, nothing below a warning.
    """
    import asyncio

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    told: list[int] = []
    try:
        asyncio.run(_until_told(work, told))
    except KeyboardInterrupt:
        return INTERRUPTED
    except asyncio.CancelledError:
        if not told:
            raise
        return TERMINATED
    return 0


async def _until_told(work: Coroutine[Any, Any, None], told: list[int]) -> None:
    import asyncio

    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, _cancel, task, told)
    await work


def _cancel(task: asyncio.Task[None], told: list[int]) -> None:
    told.append(signal.SIGTERM)
    task.cancel()
