"""Runs the server process: it listens, loads the model, answers requests, and shuts down cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from gptoss_tui.engine.types import LoadProgress
from gptoss_tui.errors import UsageError
from gptoss_tui.server.app import ACCESS_LOG, build_app, local_time
from gptoss_tui.server.guard import Rules
from gptoss_tui.server.service import Service

GRACE_SECONDS = 10.0
"""How long answers in progress may take to finish after the server was told to stop."""

IDLE_SECONDS = 75.0
"""A connection without a complete request is closed after this time."""

_BACKLOG = 1024


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. Port 0 selects a free port."""

    host: str = "127.0.0.1"
    port: int = 8000


def listen(address: Address) -> socket.socket:
    """Open a listening socket. Raises UsageError if the address is not available."""
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        return socket.create_server(found[0][4][:2], family=found[0][0], backlog=_BACKLOG)
    except OSError as error:
        raise UsageError(
            f"The server cannot listen on {address.host} port {address.port}: {_reason(error)}",
            hint="choose another one with `--port`",
        ) from error


def _reason(error: OSError) -> str:
    """The reason without `create_server`'s additions. Errors of name resolution have their own numbers, below 0."""
    number = error.errno or 0
    return os.strerror(number) if number > 0 else error.strerror or str(error)


class _Unquoted(logging.Filter):
    """Logs invalid HTTP as a line in the access log. aiohttp would quote the request, with the key and text in it."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, HttpProcessingError):
            return True
        client = str(record.args[0]) if isinstance(record.args, tuple) and record.args else ""
        line = {"time": local_time(), "client": client, "status": error.code, "error": "bad_http"}
        ACCESS_LOG.info("%s", json.dumps(line))
        return False


def _http_log() -> logging.Logger:
    log = logging.getLogger("gptoss_tui.server.http")
    log.filters[:] = [_Unquoted()]
    return log


@contextlib.asynccontextmanager
async def serving(service: Service, rules: Rules, sock: socket.socket) -> AsyncIterator[None]:
    """Answer requests on `sock` inside the block; those still running at its end are cut off."""
    runner = web.AppRunner(
        build_app(service, rules),
        handler_cancellation=True,  # a client that disconnects frees the engine
        logger=_http_log(),
        keepalive_timeout=IDLE_SECONDS,
        auto_decompress=False,
        lingering_time=2.0,
        shutdown_timeout=1.0,
        access_log=None,
    )
    await runner.setup()
    try:
        await web.SockSite(runner, sock).start()
        yield
    finally:
        await runner.cleanup()


async def serve(
    service: Service,
    rules: Rules,
    sock: socket.socket,
    on_progress: Callable[[LoadProgress], None],
    on_ready: Callable[[], None],
) -> None:
    """Serve until SIGINT or SIGTERM; a second signal ends it immediately. Raises what loading the model raises."""
    stop, now = asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        (now if stop.is_set() else stop).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    try:
        async with serving(service, rules, sock):
            if await _load(service, on_progress, stop):
                on_ready()
                await stop.wait()
                await _drain(service, now)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        await service.host.close()


async def _load(service: Service, on_progress: Callable[[LoadProgress], None], stop: asyncio.Event) -> bool:
    """Load the model; returns False if the server is told to stop before that is done."""
    loading = asyncio.create_task(service.host.load(on_progress))
    waiting = asyncio.create_task(stop.wait())
    await asyncio.wait({loading, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if not loading.done():
        loading.cancel()
        await asyncio.wait({loading})
        return False
    await loading
    return True


async def _drain(service: Service, now: asyncio.Event) -> None:
    """Reject new requests and wait for running ones."""
    service.draining = True
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(GRACE_SECONDS):
            finish = asyncio.create_task(_finish(service))
            hurry = asyncio.create_task(now.wait())
            try:
                await asyncio.wait({finish, hurry}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                finish.cancel()
                hurry.cancel()


async def _finish(service: Service) -> None:
    while service.active:
        await asyncio.wait(service.active)
