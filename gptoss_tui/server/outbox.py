"""The outgoing data for one client while its answer is produced.

The producer of the answer never waits for the client: a slow client has a bounded buffer, and is cut off when that is
full or when nothing could be written for a while.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from aiohttp import web

from gptoss_tui.errors import GptOssError
from gptoss_tui.server.service import record_of

MAX_WAITING_BYTES = 2**20
WRITE_SECONDS = 30.0
QUIET_SECONDS = 7.5
"""A comment is sent after at most twice this time without data: proxies and clients give up on silent connections."""

SMALL_WRITE = 2**15
"""Bytes. Less than this is written without a timer if the socket has no backlog: asyncio's own buffer is larger."""

EVENTS = "text/event-stream"
LINES = "application/x-ndjson"
DONE = b"data: [DONE]\n\n"

_WAITING = b": waiting\n\n"
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class SlowReaderError(GptOssError):
    """The client reads too slowly for its buffer."""


def encode(value: Any) -> bytes:
    """JSON without spaces, in UTF-8."""
    return _JSON.encode(value).encode()


def json_answer(body: Any) -> web.Response:
    """A complete JSON answer."""
    return web.Response(body=encode(body), content_type="application/json")


def sse(value: Any, event: str | None = None) -> bytes:
    """Encode a server-sent event."""
    name = f"event: {event}\n".encode() if event else b""
    return name + b"data: " + encode(value) + b"\n\n"


class Outbox:
    """Bytes waiting to be sent."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._closed = False
        self._quiet = True
        self._changed = asyncio.Event()
        self._taken = asyncio.Event()

    def put(self, data: bytes, last: bool = False) -> None:
        """Add data, possibly the last. Raises SlowReaderError if too much is waiting already."""
        if self._chunks and self._size + len(data) > self._limit:
            raise SlowReaderError("The client reads too slowly; its answer was cut off")
        self._chunks.append(data)
        self._size += len(data)
        self._closed = last
        self._quiet = False
        self._changed.set()

    def put_if_quiet(self, data: bytes) -> None:
        """Add data if nothing was added since the last call of this method."""
        if self._quiet and not self._closed and not self._chunks:
            self.put(data)
        self._quiet = True

    async def wait_for_room(self) -> None:
        """Wait until half of the buffer is free. For producers that can wait, because their data already exists."""
        while self._size > self._limit // 2:
            self._taken.clear()
            await self._taken.wait()

    @property
    def finished(self) -> bool:
        """Whether nothing more will be added and everything was taken."""
        return self._closed and not self._chunks

    def close(self) -> None:
        """Declare that nothing more will be added."""
        self._closed = True
        self._changed.set()

    async def take(self) -> bytes | None:
        """Take everything that is waiting; None at the end."""
        while not self._chunks:
            if self._closed:
                return None
            self._changed.clear()
            await self._changed.wait()
        data = b"".join(self._chunks)
        self._chunks.clear()
        self._size = 0
        self._taken.set()
        return data


async def stream(
    request: web.Request, content_type: str, produce: Callable[[Outbox], Awaitable[None]]
) -> web.StreamResponse:
    """Respond with what `produce` puts into the outbox. It is cancelled if the client disconnects or does not read."""
    response = web.StreamResponse(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
    response.content_type = content_type
    outbox = Outbox(MAX_WAITING_BYTES)
    await response.prepare(request)
    producer = asyncio.ensure_future(_produce(produce, outbox, request))
    keeping = asyncio.create_task(_keep_alive(outbox)) if content_type == EVENTS else None
    try:
        await _drain(outbox, response, request.transport)
        record_of(request).complete = True  # many clients disconnect as soon as they have the last event
        await producer
        await response.write_eof()
    except TimeoutError:
        _hang_up(request)
    finally:
        if keeping is not None:
            keeping.cancel()
        producer.cancel()
        with suppress(asyncio.CancelledError):
            await producer
    return response


async def _produce(produce: Callable[[Outbox], Awaitable[None]], outbox: Outbox, request: web.Request) -> None:
    try:
        await produce(outbox)
    except SlowReaderError:
        _hang_up(request)
    finally:
        outbox.close()


def _hang_up(request: web.Request) -> None:
    """Close the connection immediately and drop what is waiting: the client does not read it."""
    record_of(request).error = "slow_reader"
    if request.transport is not None:
        request.transport.abort()


async def _keep_alive(outbox: Outbox) -> None:
    """Send a comment from time to time to keep the connection alive."""
    while True:
        await asyncio.sleep(QUIET_SECONDS)
        outbox.put_if_quiet(_WAITING)


async def _drain(outbox: Outbox, response: web.StreamResponse, transport: asyncio.WriteTransport | None) -> None:
    while (data := await outbox.take()) is not None:
        # A timer for each event would cost more than sending the event.
        if transport is not None and not transport.get_write_buffer_size() and len(data) < SMALL_WRITE:
            await response.write(data)
        else:
            async with asyncio.timeout(WRITE_SECONDS):
                await response.write(data)
        if outbox.finished:
            return
