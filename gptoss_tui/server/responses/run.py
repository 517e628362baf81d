"""A response while it is made: in the request that asked for it, or in the background."""

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
"""Of responses made in the background whose events can be read once more."""

_log = logging.getLogger(__name__)


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
        self._asked_to_stop = self._told = False

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
                    for told in self.writer.take(event):
                        put(told)
        except Exception as error:
            self.error = as_api_error(error)
            await self._end(put, self.writer.fail(self.error))
        else:
            await self._end(put)

    async def _end(self, put: Callable[[ResponseEvent], object], *events: ResponseEvent) -> None:
        """Stored before anybody hears that it is over: the next request may go on from it at once."""
        try:
            await self._keep(self.record)
        except GptOssError as error:
            self.record.store = False  # that is no reason to keep the answer from the client
            _log.error("%s", error.message)
        for event in (*events, self.writer.last()):
            put(event)
        self._told = True


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event as it is sent."""

    data: bytes
    last: bool


class EventLog:
    """The events of a response that is made in the background, for whoever wants to read them, at their own pace."""

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
        """Nothing more comes."""
        self._over = True
        self._wake()

    async def read(self, after: int = -1) -> AsyncIterator[LoggedEvent]:
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


@dataclass(frozen=True, slots=True)
class _Kept:
    """A response that is or was made in the background."""

    owner: str
    record: ResponseRecord
    log: EventLog


class Runs:
    """The responses that are being made, by id, and the newest of those in the background with their events."""

    def __init__(self) -> None:
        self._running: dict[str, Run] = {}
        self._logs: OrderedDict[str, _Kept] = OrderedDict()

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
        self._logs[run.record.id] = _Kept(run.owner, run.record, log)
        self._drop_logs()
        return log

    def forget_log(self, response_id: str, owner: str) -> bool:
        """Nobody may read these events any more. Whether there were any, of that owner."""
        found = self._kept(response_id, owner) is not None
        if found:
            del self._logs[response_id]
        return found

    def _drop_logs(self) -> None:
        """Forget the oldest of those that are over."""
        size = sum(kept.log.size for kept in self._logs.values())
        for old in [old for old in self._logs if old not in self._running]:
            if len(self._logs) <= KEPT_LOGS and size <= KEPT_BYTES:
                break
            size -= self._logs.pop(old).log.size

    def log(self, response_id: str, owner: str) -> EventLog | None:
        """The events of a response of that owner."""
        kept = self._kept(response_id, owner)
        return kept.log if kept is not None else None

    def record(self, response_id: str, owner: str) -> ResponseRecord | None:
        """A response of that owner whose events are kept: all that there is of it when it could not be stored."""
        kept = self._kept(response_id, owner)
        return kept.record if kept is not None else None

    def _kept(self, response_id: str, owner: str) -> _Kept | None:
        kept = self._logs.get(response_id)
        return kept if kept is not None and kept.owner == owner else None
