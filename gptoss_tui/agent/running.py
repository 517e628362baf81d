"""What an agent runs, one thing at a time, and the events that it tells whoever listens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gptoss_tui.agent.events import Event
from gptoss_tui.errors import UsageError


class Runner:
    """A turn, a compaction, or files that go back: `busy` while one of them runs. `rested` is called at its end."""

    def __init__(self, rested: Callable[[], None]) -> None:
        self._rested = rested
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._interrupt: Callable[[], Any] | None = None
        self.busy = False

    def require_idle(self) -> None:
        """Raises UsageError while something runs."""
        if self.busy:
            raise UsageError("A turn is running", hint="interrupt it or wait for its end")

    @contextmanager
    def working(self) -> Iterator[None]:
        """Something runs that nothing else may run beside. Raises UsageError when something does already."""
        self.require_idle()
        self.busy = True
        try:
            yield
        finally:
            self.busy = False
            self._rested()

    def tell(self, event: Event) -> None:
        """An event for whoever listens; nobody hears what was told before `begin`."""
        self._events.put_nowait(event)

    def begin(self) -> None:
        """What is told from now on belongs to what runs."""
        self._events = asyncio.Queue()

    async def until_over(self, task: asyncio.Task[Any], interrupt: Callable[[], Any]) -> AsyncGenerator[Event, None]:
        """What happens until `task` ends; who stops listening interrupts it. Raises what the task raised."""
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
        """End what runs, if it can be."""
        if self._interrupt is not None:
            self._interrupt()
