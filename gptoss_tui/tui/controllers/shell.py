"""`!`: commands of the person's own, shown in the conversation and offered to the model with the next message.

They run as in the person's terminal, with all of their rights: what a person typed and sent needs no other question.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from gptoss_tui.errors import GptOssError
from gptoss_tui.tui.composing.message import Note
from gptoss_tui.tui.late import late

if TYPE_CHECKING:
    from gptoss_tui.agent import events as ev
else:
    ev = late("gptoss_tui.agent.events")

Listener = Callable[["ev.Event"], None]
TOOL = "!"


class ShellController:
    """Runs one command at a time; `show` gets its events, `offer` what the model is told later."""

    def __init__(self, directory: Path, show: Listener, offer: Callable[[Note], None]) -> None:
        self._directory = directory
        self._show = show
        self._offer = offer
        self._numbers = itertools.count(1)
        self._running: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """Whether a command runs."""
        return self._running is not None

    def interrupt(self) -> bool:
        """End the running command; False when none runs."""
        if self._running is None:
            return False
        self._running.cancel()
        return True

    async def run(self, line: str) -> None:
        """Run a line in the shell, behind one that runs already."""
        while self._running is not None:
            await asyncio.wait({self._running})
        self._running = asyncio.create_task(self._run(line))
        try:
            await asyncio.wait({self._running})
        finally:
            self._running.cancel()
            self._running = None

    async def _run(self, line: str) -> None:
        from gptoss_tui.tools.shell.user import run_for_user

        item, started = f"user-{next(self._numbers)}", time.monotonic()
        self._show(ev.ToolCall(item_id=item, tool=TOOL, arguments=line, summary=line))
        self._show(ev.ToolStarted(item_id=item, tool=TOOL))

        def printed(text: str) -> None:
            self._show(ev.ToolOutputDelta(item_id=item, text=text))

        status: ev.ToolStatus = "error"
        text, ending = "", ""
        try:
            outcome = await run_for_user(line, self._directory, printed)
            text = outcome.text
            ending = f"exit code {outcome.code}" if outcome.code is not None else "stopped: it took too long"
            status = "ok" if outcome.code == 0 else "error"
        except asyncio.CancelledError:
            status, ending = "cancelled", "stopped by the user"
            raise
        except GptOssError as error:
            text, ending = error.message, "not started"
        finally:
            shown = text if status == "ok" else f"{text.rstrip()}\n[{ending}]".lstrip()
            seconds = time.monotonic() - started
            self._show(ev.ToolFinished(item_id=item, tool=TOOL, status=status, output=shown, seconds=seconds))
            first = line.split("\n")[0]
            self._offer(Note(f"the user ran: {first} ({ending})", text))
