"""Runs a program that speaks a protocol on stdin and stdout: sets up its streams, its log and signal handling."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final

from gptoss_tui.sanitize import to_terminal_text

if TYPE_CHECKING:
    import asyncio

MAX_LINE: Final = 32 << 20
"""The limit of the read buffer in bytes, which is also the maximum length of a message; far more than is needed."""

INTERRUPTED: Final = 130


class _Formatter(logging.Formatter):
    """Makes log messages safe for a terminal, since they may contain text from the other end."""

    def format(self, record: logging.LogRecord) -> str:
        return to_terminal_text(super().format(record))


def run_protocol(work: Coroutine[Any, Any, None]) -> int:
    """Run `work` to its end, or until SIGINT, SIGTERM or SIGHUP cancels it. Returns the exit code.

    Warnings and errors that are logged go to stderr.
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
    return 128 + told[0] if told else 0


async def _until_told(work: Coroutine[Any, Any, None], told: list[int]) -> None:
    import asyncio

    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, _cancel, task, told, number)
    await work


def _cancel(task: asyncio.Task[None], told: list[int], number: int) -> None:
    told.append(number)
    task.cancel()


async def open_stdio() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Reserve stdin and stdout for the protocol.

    What this process, or a program that it starts, prints to stdout goes to stderr from now on.
    """
    import asyncio

    loop = asyncio.get_running_loop()
    incoming, outgoing = os.fdopen(_take(0), "rb", buffering=0), os.fdopen(_take(1), "wb", buffering=0)
    reader = asyncio.StreamReader(limit=MAX_LINE)
    try:
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), incoming)
    except ValueError:  # stdin is a regular file
        reader.feed_data(await asyncio.to_thread(incoming.read))
        reader.feed_eof()
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, outgoing)
    return reader, asyncio.StreamWriter(transport, protocol, None, loop)


def _take(descriptor: int) -> int:
    """Duplicate a standard descriptor, and redirect the original: stdin from /dev/null, stdout to stderr."""
    taken = os.dup(descriptor)
    other = os.open(os.devnull, os.O_RDONLY) if descriptor == 0 else os.dup(2)
    os.dup2(other, descriptor)
    os.close(other)
    return taken
