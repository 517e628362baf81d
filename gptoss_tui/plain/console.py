"""Lines in and lines out. Reading happens in a thread of its own, so that a turn goes on while a person types."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import TextIO

from gptoss_tui.sanitize import to_terminal_text


class Console:
    """Reads a line when it is asked for one, and not before: what is piped in is not swallowed ahead of its time."""

    def __init__(self, reads: TextIO, writes: TextIO) -> None:
        self._reads = reads
        self._writes = writes
        self._waiting: asyncio.Task[str | None] | None = None

    @property
    def interactive(self) -> bool:
        """Whether a person types."""
        return self._reads.isatty()

    def say(self, text: str = "") -> None:
        """Write lines. Escape sequences of whoever wrote the text cannot get out."""
        self._writes.write(to_terminal_text(text) + "\n")
        self._writes.flush()

    def prompt(self, text: str) -> None:
        """Write what stands before the line that is typed next."""
        self._writes.write(to_terminal_text(text))
        self._writes.flush()

    def line(self) -> asyncio.Task[str | None]:
        """The next line, without its end; None at the end of the input. The same task until `take`."""
        if self._waiting is None:
            self._waiting = asyncio.ensure_future(_in_thread(self._reads.readline))
        return self._waiting

    async def take(self) -> str | None:
        """The next line; the one after it may be asked for then."""
        line = await self.line()
        self._waiting = None
        return line


async def _in_thread(read: Callable[[], str]) -> str | None:
    """Run `read` in a thread that does not hold the program up at its end."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[str] = loop.create_future()

    def settle(text: str) -> None:
        if not done.done():
            done.set_result(text)

    def work() -> None:
        try:
            text = read()
        except (OSError, ValueError):
            text = ""
        with suppress(RuntimeError):  # the program ended meanwhile
            loop.call_soon_threadsafe(settle, text)

    Thread(target=work, name="plain-input", daemon=True).start()
    text = await done
    return text.rstrip("\r\n") if text else None
