"""Runs a response, either in the request that asked for it or in the background."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass

from gptoss_tui.errors import GptOssError
from gptoss_tui.server.errors import ApiError, as_api_error
from gptoss_tui.server.responses.record import ResponseRecord
from gptoss_tui.server.responses.writer import ResponseEvent, Writer
from gptoss_tui.server.turn import Turn

KEPT_LOGS = 32
KEPT_BYTES = 64 * 2**20
"""Limits for finished background responses whose events can still be streamed again."""

_log = logging.getLogger(__name__)


class Run:
    """One response of `owner`. `keep` stores it when it is complete; `on_end` is called when it has ended."""

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
        self._asked_to_stop = self._told = False

    @property
    def record(self) -> ResponseRecord:
        """The response so far."""
        return self.writer.record

    async def play(self, put: Callable[[ResponseEvent], object]) -> None:
        """Run the response and pass its events to `put`. Failures are reported in events and in `error`.

        Cancelling this, because nobody listens any more, leaves nothing behind; `stop` keeps the response so far.
        """
        self._inner = asyncio.create_task(self._events(put))
        try:
            if self._asked_to_stop:
                self._inner.cancel()
            await asyncio.wait({self._inner})
            with suppress(asyncio.CancelledError):
                await self._inner
            if self._asked_to_stop and not self._told:
                self.writer.cancel()
                await self._end(put)
        finally:
            self._inner.cancel()
            await asyncio.wait({self._inner})
            self.close()

    def close(self) -> None:
        """End the run. It may never have begun, if the client disconnected before that. Idempotent."""
        if not self.ended.is_set():
            self.ended.set()
            self._on_end()

    def stop(self) -> None:
        """End the response as `cancelled`. Idempotent."""
        self._asked_to_stop = True
        if self._inner is not None:
            self._inner.cancel()

    async def _events(self, put: Callable[[ResponseEvent], object]) -> None:
        try:
            for told in self.writer.begin():
                put(told)
            async with aclosing(self._turn.run()) as events:
                async for event in events:
                    for told in self.writer.take(event):
                        put(told)
        except Exception as error:
            self.error = as_api_error(error)
            await self._end(put, self.writer.fail(self.error))
        else:
            await self._end(put)

    async def _end(self, put: Callable[[ResponseEvent], object], *events: ResponseEvent) -> None:
        """Store the response, then send its last events: the next request may continue it immediately."""
        try:
            await self._keep(self.record)
        except GptOssError as error:
            self.record.store = False  # the client still gets its answer
            _log.error("%s", error.message)
        for event in (*events, self.writer.last()):
            put(event)
        self._told = True


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An encoded event."""

    data: bytes
    last: bool


class EventLog:
    """The events of a response created in the background. Any number of readers can read them at their own pace."""

    def __init__(self) -> None:
        self._events: list[LoggedEvent] = []
        self._over = False
        self._changed = asyncio.Event()
        self.size = 0

    def put(self, event: LoggedEvent) -> None:
        """Add an event."""
        self._events.append(event)
        self.size += len(event.data)
        self._wake()

    def close(self) -> None:
        """Declare that no more events will be added."""
        self._over = True
        self._wake()

    async def read(self, after: int = -1) -> AsyncIterator[LoggedEvent]:
        """Yield the events after sequence number `after`, including those yet to come."""
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


@dataclass(frozen=True, slots=True)
class _Kept:
    """A response that is being or was created in the background."""

    owner: str
    record: ResponseRecord
    log: EventLog


class Runs:
    """The running responses by id, and the newest background responses with their events."""

    def __init__(self) -> None:
        self._running: dict[str, Run] = {}
        self._logs: OrderedDict[str, _Kept] = OrderedDict()

    def add(self, run: Run) -> None:
        """Register a running response."""
        self._running[run.record.id] = run

    def remove(self, run: Run) -> None:
        """Remove a response that has ended."""
        self._running.pop(run.record.id, None)

    def find(self, response_id: str, owner: str) -> Run | None:
        """Find a running response of that owner."""
        run = self._running.get(response_id)
        return run if run is not None and run.owner == owner else None

    def open_log(self, run: Run) -> EventLog:
        """Start keeping the events of a response."""
        log = EventLog()
        self._logs[run.record.id] = _Kept(run.owner, run.record, log)
        self._drop_logs()
        return log

    def forget_log(self, response_id: str, owner: str) -> bool:
        """Delete the events of a response. Returns whether there were any that belong to the owner."""
        found = self._kept(response_id, owner) is not None
        if found:
            del self._logs[response_id]
        return found

    def _drop_logs(self) -> None:
        """Delete the oldest logs of finished responses until the limits are respected."""
        size = sum(kept.log.size for kept in self._logs.values())
        for old in [old for old in self._logs if old not in self._running]:
            if len(self._logs) <= KEPT_LOGS and size <= KEPT_BYTES:
                break
            size -= self._logs.pop(old).log.size

    def log(self, response_id: str, owner: str) -> EventLog | None:
        """The events of a response of that owner, if they are kept."""
        kept = self._kept(response_id, owner)
        return kept.log if kept is not None else None

    def record(self, response_id: str, owner: str) -> ResponseRecord | None:
        """The response of that owner whose events are kept. This is the only copy if it could not be stored."""
        kept = self._kept(response_id, owner)
        return kept.record if kept is not None else None

    def _kept(self, response_id: str, owner: str) -> _Kept | None:
        kept = self._logs.get(response_id)
        return kept if kept is not None and kept.owner == owner else None
