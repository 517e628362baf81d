"""HTTP with one server: JSON and streams of events; what goes wrong becomes an error that says what to do.

The key goes into one header and nowhere else: redirects are not followed, and errors have words of the server only.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from gptoss_tui.engine.remote.address import KEY_VARIABLE, Address
from gptoss_tui.engine.remote.events import EventDecoder
from gptoss_tui.errors import ContextOverflowError, EngineDiedError, EngineError
from gptoss_tui.sanitize import to_terminal_line

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 30.0
"""For what a server knows without its model."""

FIRST_SECONDS = 900.0
"""A server may have to load its model and to read a long prompt on a slow machine. Whoever waits can cancel."""

SILENCE_SECONDS = 300.0
"""Between two tokens."""

MAX_ANSWER = 64 * 1024 * 1024
MAX_REFUSAL = 64 * 1024
MAX_WORDS = 300
MAX_WAIT = 30.0
TRIES = 4
PAUSE_SECONDS = 0.5
"""Before the second try; it doubles."""

_BUSY = (429, 502, 503, 504)
_CONTEXT_WORDS = ("context_length", "context length", "context size", "exceed_context", "maximum context", "too long")
_KEPT = "the conversation is kept"


class Refused(EngineError):
    """The server answered a request with an error. `status` is HTTP's, `wait` the seconds that it asks for."""

    def __init__(self, message: str, *, hint: str | None = None, status: int = 0, wait: float = 0.0) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.wait = wait


class Silent(EngineDiedError):
    """The server said nothing for too long. Asking again would take as long."""


class Link:
    """A connection to the server at `address`. Belongs to one event loop; `close` ends it."""

    def __init__(self, address: Address, key: str = "") -> None:
        self.address = address
        self._key = key
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            # aiohttp would take logins out of a netrc file together with the proxies.
            trust_env=False,
            proxy=_proxy(address),
            # A stream is cancelled by ending its connection, and an idle one that the server has closed meanwhile
            # would fail the next request.
            connector=aiohttp.TCPConnector(force_close=True),
        )

    async def close(self) -> None:
        """End the connection. Idempotent."""
        await self._session.close()

    async def get(self, path: str) -> dict[str, Any]:
        """The JSON object at `path`. Raises EngineError, `Refused` with the status among them."""
        return await self._json("GET", path, None, ANSWER_SECONDS)

    async def post(self, path: str, body: dict[str, Any], seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
        """As `get`, with a body."""
        return await self._json("POST", path, body, seconds)

    async def stream(self, path: str, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """The events of a reply. Tries again while nothing has come; closing the iterator ends the connection.

        Raises EngineDiedError when the server cannot be reached, or is gone before the stream's end.
        """
        for left in reversed(range(TRIES)):
            begun = False
            try:
                async with aclosing(self._events(path, body)) as events:
                    async for event in events:
                        begun = True
                        yield event
                return
            except EngineDiedError as died:
                if begun or not left or isinstance(died, Silent):
                    raise
                wait = 0.0
            except Refused as refused:
                if begun or not left or refused.status not in _BUSY:
                    raise
                wait = refused.wait
            await asyncio.sleep(max(wait, PAUSE_SECONDS * 2 ** (TRIES - 1 - left)))

    async def _events(self, path: str, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        decoder = EventDecoder()
        async with self._reply("POST", path, body, FIRST_SECONDS) as reply:
            seconds = FIRST_SECONDS
            while not decoder.done:
                async with self._patience(seconds):
                    chunk = await reply.content.readany()
                if not chunk:
                    break
                for event in decoder.feed(chunk):
                    seconds = SILENCE_SECONDS
                    yield event
            for event in decoder.finish():
                yield event

    async def _json(self, method: str, path: str, body: dict[str, Any] | None, seconds: float) -> dict[str, Any]:
        async with self._reply(method, path, body, seconds) as reply, self._patience(seconds):
            data = bytearray()
            async for chunk in reply.content.iter_any():
                data += chunk
                if len(data) > MAX_ANSWER:
                    raise EngineError(f"The reply of {self.address.host} has no end")
        try:
            value = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise EngineError(f"{self.address.host} does not answer {path} with JSON") from error
        if not isinstance(value, dict):
            raise EngineError(f"{self.address.host} does not answer {path} with a JSON object")
        return value

    @asynccontextmanager
    async def _reply(
        self, method: str, path: str, body: dict[str, Any] | None, seconds: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The reply, once its headers are there. Raises `Refused` when they say that something is wrong."""
        url = self.address.root + path
        try:
            async with self._patience(seconds):
                reply = await self._session.request(method, url, json=body, allow_redirects=False)
            try:
                if reply.status != 200:
                    async with self._patience(ANSWER_SECONDS):
                        raise self._refusal(path, reply, await reply.content.read(MAX_REFUSAL))
                yield reply
            finally:
                reply.close()
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            why = _reason(error) if isinstance(error, aiohttp.ClientConnectorError) else "it does not answer"
            raise EngineDiedError(
                f"{self.address.host} cannot be reached: {to_terminal_line(str(why))}",
                hint="start the server, or check the address",
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            raise EngineDiedError(
                f"{self.address.host} ended the connection in the middle ({type(error).__name__})",
                hint=f"{_KEPT}; ask again when the server is back",
            ) from error

    @asynccontextmanager
    async def _patience(self, seconds: float) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(seconds) as limit:
                yield
        except TimeoutError as error:
            if not limit.expired():
                raise  # that of making the connection
            raise Silent(
                f"{self.address.host} said nothing for {seconds:.0f} seconds", hint=f"{_KEPT}; look at the server"
            ) from error

    def _refusal(self, path: str, reply: aiohttp.ClientResponse, body: bytes) -> EngineError:
        if self._key:  # some servers repeat the key that they refuse
            body = body.replace(self._key.encode(errors="replace"), b"[key]")
        words, host, status = words_of(body), self.address.host, reply.status
        if status in (401, 403):
            return Refused(f"{host} wants another API key: {words}", hint=f"set {KEY_VARIABLE}", status=status)
        if status in (400, 413, 422) and any(word in words.lower() for word in _CONTEXT_WORDS):
            return context_error(words)
        if 300 <= status < 400:
            return Refused(f"{host} sends requests elsewhere", hint="give the address that it names", status=status)
        hint = "it has no such route, or no such model" if status == 404 else None
        after = reply.headers.get("Retry-After", "")
        wait = min(float(after), MAX_WAIT) if after.isdecimal() else 0.0
        return Refused(f"{host} answers {path} with {status}: {words}", hint=hint, status=status, wait=wait)


def _proxy(address: Address) -> str | None:
    """The environment's proxy, which is for the world outside."""
    parts = urlsplit(address.root)
    if address.is_loopback or proxy_bypass(parts.hostname or ""):
        return None
    return getproxies().get(parts.scheme)


def _reason(error: aiohttp.ClientConnectorError) -> str:
    number = error.os_error.errno
    return os.strerror(number) if number is not None and number > 0 else str(error.os_error.strerror)


def words_of(body: bytes) -> str:
    """What a server says is wrong, short and safe for a terminal."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = body.decode("utf-8", errors="replace")
    for name in ("error", "message", "detail"):
        if isinstance(value, dict) and value.get(name):
            value = value[name]
            if isinstance(value, dict) and name == "error":
                value = value.get("message") or value
                break
    text = value if isinstance(value, str) else json.dumps(value)
    return to_terminal_line(text)[:MAX_WORDS] or "without a word"


def raise_error_in(event: dict[str, Any], host: str) -> None:
    """Raise the error that a stream has in place of an event."""
    if not event.get("error"):
        return
    words = words_of(json.dumps(event).encode())
    if any(word in words.lower() for word in _CONTEXT_WORDS):
        raise context_error(words)
    raise EngineError(f"{host} failed: {words}", hint=_KEPT)


def context_error(words: str) -> ContextOverflowError:
    """The server has less room than we thought."""
    return ContextOverflowError(
        f"The server has no room for the prompt: {words}", hint="say how much it has with --context, or /compact"
    )
