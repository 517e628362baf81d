"""Makes sure that an agent does one thing at a time, and passes its events to the caller."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gptoss_tui.agent.events import Event
from gptoss_tui.errors import UsageError


class Runner:
    """Runs a turn, a compaction, an undo or a redo, one at a time. `busy` while one runs; calls `rested` at its end."""

    def __init__(self, rested: Callable[[], None]) -> None:
        self._rested = rested
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._interrupt: Callable[[], Any] | None = None
        self.busy = False

    def require_idle(self) -> None:
        """Raise UsageError if something runs."""
        if self.busy:
            raise UsageError("A turn is running", hint="interrupt it or wait for its end")

    @contextmanager
    def working(self) -> Iterator[None]:
        """Mark the runner as busy for the duration of the block. Raises UsageError when it is busy already."""
        self.require_idle()
        self.busy = True
        try:
            yield
        finally:
            self.busy = False
            self._rested()

    def tell(self, event: Event) -> None:
        """Queue an event for the listener. Events from before `begin` are dropped."""
        self._events.put_nowait(event)

    def begin(self) -> None:
        """Start with an empty queue of events."""
        self._events = asyncio.Queue()

    async def until_over(self, task: asyncio.Task[Any], interrupt: Callable[[], Any]) -> AsyncGenerator[Event, None]:
        """Yield events until `task` ends. Closing the generator interrupts the task. Raises what the task raised."""
        self._interrupt = interrupt
        task.add_done_callback(lambda _: self._events.put_nowait(None))
        try:
            while (event := await self._events.get()) is not None:
                yield event
        finally:
            interrupt()
            self._interrupt = None
            await asyncio.wait({task})
        if not task.cancelled():
            task.result()

    def interrupt(self) -> None:
        """Interrupt what runs, if it can be interrupted."""
        if self._interrupt is not None:
            self._interrupt()
