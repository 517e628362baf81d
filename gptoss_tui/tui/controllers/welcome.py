"""The empty conversation: what the app is and what to try; on the first run also what this machine can run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from gptoss_tui.sanitize import to_terminal_line
from gptoss_tui.tui.blocks.first_run import FirstRunBlock
from gptoss_tui.tui.blocks.welcome import WelcomeBlock
from gptoss_tui.tui.late import late

if TYPE_CHECKING:
    from gptoss_tui.agent import events as ev
    from gptoss_tui.tui.controllers.transcript import TranscriptController
    from gptoss_tui.tui.state import StateFile
else:
    ev = late("gptoss_tui.agent.events")

KEYS = (
    ("Enter", "Send; Ctrl+J or Shift+Enter for a new line"),
    ("/  @  !", "Commands, files, your shell"),
    ("Alt+, Alt+.", "Think less or more; also Ctrl+T"),
    ("Esc", "Stop the model"),
    ("F1", "All keys"),
)


class WelcomeController:
    """Shows the welcome. `hardware` describes processor and memory; without it there is no first run."""

    def __init__(
        self,
        talk: TranscriptController,
        workspace: str,
        state_file: StateFile,
        hardware: Callable[[], str] | None,
    ) -> None:
        self._talk = talk
        self._workspace = workspace
        self._state_file = state_file
        self._hardware = hardware
        self._first: FirstRunBlock | None = None
        self._block: WelcomeBlock | None = None

    def show(self) -> None:
        """Show the empty state."""
        if self._hardware is None or self._state_file.remembered.welcomed:
            self._block = WelcomeBlock(self._workspace, KEYS)
        else:
            self._block = self._first = FirstRunBlock(self._workspace)
        self._talk.welcome(self._block)

    async def say_guides(self, guides: Awaitable[Sequence[str]]) -> None:
        """Show the names of the instruction files, of the project and the user, that the model is told about."""
        found, block = [to_terminal_line(name) for name in await guides], self._block
        if block is not None and list(block.guides) != found:
            block.guides = found
            self._talk.redraw(block)

    async def look(self, model: str) -> None:
        """On the first run, find out about this machine and which models fit, and show it. `model` is in use."""
        block, hardware = self._first, self._hardware
        if block is None or hardware is None:
            return
        from gptoss_tui.tui.first_run import machine_line, model_rows

        if not block.machine:
            block.machine = await asyncio.to_thread(lambda: machine_line(hardware()))
        block.models = await asyncio.to_thread(model_rows, model)
        self._talk.redraw(block)

    def apply(self, event: ev.Event) -> None:
        """End the first run with the first message."""
        if isinstance(event, ev.TurnStarted) and self._first is not None:
            self._first = None
            self._state_file.remembered.welcomed = True
            self._state_file.save()
