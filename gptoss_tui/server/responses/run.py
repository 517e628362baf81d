"""A response while it is made: in the request that asked for it, or in the background."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress

from gptoss_tui.server.errors import ApiError, as_api_error
from gptoss_tui.server.responses.record import ResponseRecord
from gptoss_tui.server.responses.writer import ResponseEvent, Writer
from gptoss_tui.server.turn import Ended, Turn

KEPT_LOGS = 32
"""Responses made in the background whose events can be read once more."""


class Run:
    """One response. `owner` is whose it is. `keep` stores it when it is complete, and `on_end` is called at its end."""

    def __init__(
        self,
        writer: Writer,
        turn: Turn,
        owner: str,
        keep: Callable[[ResponseRecord], Awaitable[None]],
        on_end: Callable[[], None],
    ) -> None:
        self.writer = writer
        self.owner = owner
        self.error: ApiError | None = None
        self.ended = asyncio.Event()
        self._turn = turn
        self._keep = keep
        self._on_end = on_end
        self._inner: asyncio.Task[None] | None = None
        self._asked_to_stop = False

    @property
    def record(self) -> ResponseRecord:
        """The response as far as it came."""
        return self.writer.record

    async def play(self, put: Callable[[ResponseEvent], object]) -> None:
        """Make the response; `put` takes its events. What goes wrong is said in them and in `error`.

        Who cancels this, because nobody listens any more, leaves nothing behind; who calls `stop` gets what there is.
        """
        self._inner = asyncio.create_task(self._events(put))
        try:
            await asyncio.wait({self._inner})
            with suppress(asyncio.CancelledError):
                await self._inner
            if self._asked_to_stop:
                await self._keep(self.record)
        finally:
            self._inner.cancel()
            await asyncio.wait({self._inner})
            self.close()

    def close(self) -> None:
        """Nothing more happens to it, perhaps nothing ever did: the client may be gone before it begins. Idempotent."""
        if not self.ended.is_set():
            self.ended.set()
            self._on_end()

    def stop(self) -> None:
        """End it as `cancelled`. Idempotent."""
        self._asked_to_stop = True
        if self._inner is not None:
            self._inner.cancel()

    async def _events(self, put: Callable[[ResponseEvent], object]) -> None:
        try:
            for told in self.writer.begin():
                put(told)
            async with aclosing(self._turn.run()) as events:
                async for event in events:
                    if isinstance(event, Ended):
                        await self._end(event, put)
                    else:
                        for told in self.writer.take(event):
                            put(told)
        except Exception as error:
            self.error = as_api_error(error)
            for told in self.writer.fail(self.error):
                put(told)
        except asyncio.CancelledError:
            told = self.writer.cancel()
            if self._asked_to_stop:
                put(told)
            raise

    async def _end(self, event: Ended, put: Callable[[ResponseEvent], object]) -> None:
        """Stored before anybody hears that it is complete: the next request may go on from it at once."""
        last = list(self.writer.take(event))
        await self._keep(self.record)
        for told in last:
            put(told)


class EventLog:
    """The events of a response that is made in the background, for whoever wants to read them, at their own pace."""

    def __init__(self) -> None:
        self._events: list[ResponseEvent] = []
        self._over = False
        self._changed = asyncio.Event()

    def put(self, event: ResponseEvent) -> None:
        """Add an event."""
        self._events.append(event)
        self._wake()

    def close(self) -> None:
        """Nothing more comes."""
        self._over = True
        self._wake()

    async def read(self, after: int = -1) -> AsyncIterator[ResponseEvent]:
        """The events behind sequence number `after`, those to come as well."""
        at = after + 1
        while True:
            while at < len(self._events):
                yield self._events[at]
                at += 1
            if self._over:
                return
            await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class Runs:
    """The responses that are being made, by id, and the events of those in the background."""

    def __init__(self) -> None:
        self._running: dict[str, Run] = {}
        self._logs: OrderedDict[str, tuple[str, EventLog]] = OrderedDict()

    def add(self, run: Run) -> None:
        """A response begins."""
        self._running[run.record.id] = run

    def remove(self, run: Run) -> None:
        """It is over."""
        self._running.pop(run.record.id, None)

    def find(self, response_id: str, owner: str) -> Run | None:
        """A response of that owner which is being made now."""
        run = self._running.get(response_id)
        return run if run is not None and run.owner == owner else None

    def open_log(self, run: Run) -> EventLog:
        """Keep the events of a response."""
        log = EventLog()
        self._logs[run.record.id] = (run.owner, log)
        for old in list(self._logs)[:-KEPT_LOGS]:
            if old not in self._running:
                del self._logs[old]
        return log

    def log(self, response_id: str, owner: str) -> EventLog | None:
        """The events of a response of that owner."""
        whose, log = self._logs.get(response_id, ("", None))
        return log if whose == owner else None
