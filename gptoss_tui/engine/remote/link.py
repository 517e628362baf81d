"""HTTP connections to one server: JSON and event streams, with errors that say what to do.

The API key is sent in one header and appears nowhere else: redirects are not followed, and text from the server is
shown without it.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from gptoss_tui.engine.remote.address import KEY_VARIABLE, Address
from gptoss_tui.engine.remote.events import EventDecoder
from gptoss_tui.engine.remote.tls import tls_error
from gptoss_tui.errors import ContextOverflowError, EngineDiedError, EngineError
from gptoss_tui.sanitize import to_terminal_line

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 30.0
"""Time limit for requests that do not involve the model."""

FIRST_SECONDS = 900.0
"""A server may first have to load its model and read a long prompt on a slow machine. Users can cancel."""

SILENCE_SECONDS = 300.0
"""Time limit between two events. Keep-alive comments do not count: a proxy sends them even if the server hangs."""

MAX_FACTS = 4 * 1024 * 1024
MAX_SCORES = 64 * 1024 * 1024
"""Size limits in bytes: for information about the server, and for the probabilities of a prompt."""

MAX_REFUSAL = 64 * 1024
MAX_WORDS = 300
MAX_WAIT = 30.0
TRIES = 4
PAUSE_SECONDS = 0.5
"""Pause before the second try. It doubles each time."""

_BUSY = (429, 502, 503)
"""Status codes of a server that has not begun. With 504 it may have: a gateway waited for it in vain."""

_CONTEXT_WORDS = (
    *("context_length", "context length", "context size", "context window", "exceed_context"),
    *("maximum context", "maximum model length", "maximum allowed length", "prompt is too long"),
)
_KEPT = "what was said is kept"


class RefusedError(EngineError):
    """The server answered with an error. `status` is the HTTP status, `wait` the seconds to wait, if it says so."""

    def __init__(self, message: str, *, hint: str | None = None, status: int = 0, wait: float = 0.0) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.wait = wait


class UnreachableError(EngineDiedError):
    """No connection could be made, so the server has not seen the request."""


class Link:
    """A connection to the server at `address`. Belongs to one event loop; `close` ends it."""

    def __init__(self, address: Address, key: str = "") -> None:
        self.address = address
        self._key = key
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            # With True, aiohttp would use not only proxies but also logins from a netrc file.
            trust_env=False,
            proxy=_proxy(address),
            # A stream is cancelled by closing its connection. And reusing an idle connection that the server has closed
            # in the meantime would fail.
            connector=aiohttp.TCPConnector(force_close=True),
        )

    async def close(self) -> None:
        """Close the connection; open requests fail. Idempotent."""
        await self._session.close()

    async def get(self, path: str) -> dict[str, Any]:
        """Return the JSON object at `path`. Raises EngineError, or RefusedError for an error status."""
        return await self._json("GET", path, None, ANSWER_SECONDS, MAX_FACTS)

    async def post(
        self, path: str, body: dict[str, Any], seconds: float = ANSWER_SECONDS, most: int = MAX_FACTS
    ) -> dict[str, Any]:
        """Like `get`, with a request body."""
        return await self._json("POST", path, body, seconds, most)

    async def stream(self, path: str, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the events of a reply; closing the iterator ends the connection.

        Retries while the server is busy or unreachable. A request that the server has accepted is not sent again: it
        may have been processed, or may have crashed the server. Raises EngineError, or EngineDiedError if it is gone.
        """
        for tried in range(1, TRIES + 1):
            try:
                async with aclosing(self._events(path, body)) as events:
                    async for event in events:
                        yield event
                return
            except UnreachableError:
                wait = 0.0
                if tried == TRIES:
                    raise
            except RefusedError as refused:
                wait = refused.wait
                if tried == TRIES or refused.status not in _BUSY:
                    raise
            await asyncio.sleep(max(wait, PAUSE_SECONDS * 2 ** (tried - 1)))

    @asynccontextmanager
    async def patience(self, seconds: float, since: float | None = None) -> AsyncIterator[None]:
        """Give up after `seconds`, counted from now or from `since` on the event loop's clock."""
        begun = asyncio.get_running_loop().time() if since is None else since
        try:
            async with asyncio.timeout_at(begun + seconds) as limit:
                yield
        except TimeoutError as error:
            if not limit.expired():
                raise  # the timeout for connecting
            raise EngineDiedError(
                f"{self.address.host} sent nothing useful for {seconds:.0f} seconds",
                hint=f"{_KEPT}; check the server",
            ) from error

    def raise_error_in(self, event: dict[str, Any]) -> None:
        """Raise the error that a stream contains in place of an event, if it does."""
        if event.get("error"):
            words = self._shown(_words_in(event))
            if _is_about_context(words):
                raise _context_error(words)
            raise EngineError(f"{self.address.host} failed: {words}", hint=_KEPT)

    async def _events(self, path: str, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        clock = asyncio.get_running_loop().time
        decoder = EventDecoder()
        heard, seconds = clock(), FIRST_SECONDS
        async with self._reply("POST", path, body, seconds) as reply:
            while not decoder.done:
                async with self.patience(seconds, since=heard):
                    chunk = await reply.content.readany()
                if not chunk:
                    break
                for event in decoder.feed(chunk):
                    yield event
                    heard, seconds = clock(), SILENCE_SECONDS
            for event in decoder.finish():
                yield event

    async def _json(
        self, method: str, path: str, body: dict[str, Any] | None, seconds: float, most: int
    ) -> dict[str, Any]:
        host = self.address.host
        async with self._reply(method, path, body, seconds) as reply, self.patience(seconds):
            data = bytearray()
            async for chunk in reply.content.iter_any():
                data += chunk
                if len(data) > most:
                    raise EngineError(f"{host} answers {path} with more than {most // 2**20} MB")
        try:
            value = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise EngineError(f"{host} does not answer {path} with JSON", hint="is it a model server?") from error
        if not isinstance(value, dict):
            raise EngineError(f"{host} does not answer {path} with a JSON object", hint="is it a model server?")
        return value

    @asynccontextmanager
    async def _reply(
        self, method: str, path: str, body: dict[str, Any] | None, seconds: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Provide the reply once its headers have arrived. Raises `RefusedError` for an error status."""
        if self._session.closed:
            raise EngineError(f"The connection to {self.address.host} was closed", hint="load the model again")
        url = self.address.root + path
        try:
            async with self.patience(seconds):
                reply = await self._session.request(method, url, json=body, allow_redirects=False)
            try:
                if reply.status != 200:
                    raise self._refusal(path, reply, await _beginning(reply))
                yield reply
            finally:
                reply.close()
        except (aiohttp.ClientError, OSError) as error:
            raise self._failure(error) from error

    def _failure(self, error: aiohttp.ClientError | OSError) -> EngineError:
        """The error for a connection that could not be made, or that broke."""
        host = self.address.host
        if isinstance(error, aiohttp.ClientSSLError):
            return tls_error(host, error)
        if isinstance(error, aiohttp.InvalidURL):
            return EngineError(f"{self.address.root} is not the address of a server", hint="check the spelling")
        hint = "start the server, or check the address"
        if isinstance(error, aiohttp.ClientProxyConnectionError):
            return UnreachableError(
                f"The proxy {error.host}:{error.port} to {host} cannot be reached: {_reason(error)}"
            )
        if isinstance(error, aiohttp.ClientConnectorError):
            return UnreachableError(f"{host} cannot be reached: {_reason(error)}", hint=hint)
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            return UnreachableError(f"{host} cannot be reached: it does not answer", hint=hint)
        return EngineDiedError(
            f"{host} closed the connection in the middle", hint=f"{_KEPT}; ask again when the server is back"
        )

    def _refusal(self, path: str, reply: aiohttp.ClientResponse, body: bytes) -> EngineError:
        words, host, status = self._shown(_words_of(body)), self.address.host, reply.status
        if status == 401:
            wanted = "another API key" if self._key else "an API key"
            return RefusedError(
                f"{host} wants {wanted}: {words}", hint=f"put it into {KEY_VARIABLE} and start again", status=status
            )
        if status in (400, 413, 422) and _is_about_context(words):
            return _context_error(words)
        if 300 <= status < 400:
            where = self._shown(reply.headers.get("Location", "elsewhere"))
            return RefusedError(
                f"{host} sends requests to {where}", hint="use the address of the server itself", status=status
            )
        hint = {
            403: f"is the key in {KEY_VARIABLE} for this server and this model?",
            404: "it has no such route, or no such model",
            504: f"{_KEPT}; something in front of the server did not wait for it",
        }.get(status, "it is busy or starting: try again in a moment" if status in _BUSY else None)
        after = reply.headers.get("Retry-After", "")
        wait = min(float(after), MAX_WAIT) if after.isdecimal() else 0.0
        return RefusedError(f"{host} answers {path} with {status}: {words}", hint=hint, status=status, wait=wait)

    def _shown(self, text: str) -> str:
        """Text from the server: shortened, safe for a terminal, and without the key, which some servers repeat."""
        text = to_terminal_line(text)
        for key in (self._key, json.dumps(self._key)[1:-1]):
            text = text.replace(key, "[key]") if key else text
        return text[:MAX_WORDS] or "without a word"


def _proxy(address: Address) -> str | None:
    """The environment's proxy, which is not used for this machine."""
    parts = urlsplit(address.root)
    if address.is_loopback or proxy_bypass(parts.hostname or ""):
        return None
    return getproxies().get(parts.scheme)


def _reason(error: aiohttp.ClientConnectorError) -> str:
    number = error.os_error.errno
    return os.strerror(number) if number is not None and number > 0 else to_terminal_line(str(error.os_error.strerror))


async def _beginning(reply: aiohttp.ClientResponse) -> bytes:
    """The beginning of a refusal's body. If reading it fails, the status is enough."""
    data = bytearray()
    with suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(ANSWER_SECONDS):
            async for chunk in reply.content.iter_any():
                data += chunk
                if len(data) >= MAX_REFUSAL:
                    break
    return bytes(data[:MAX_REFUSAL])


def _words_of(body: bytes) -> str:
    """The error message in a refusal's body."""
    try:
        return _words_in(json.loads(body))
    except (ValueError, RecursionError):
        return body.decode("utf-8", errors="replace")


def _words_in(value: Any) -> str:
    for name in ("error", "message", "detail"):
        if isinstance(value, dict) and value.get(name):
            value = value[name]
            if isinstance(value, dict) and name == "error":
                value = value.get("message") or value
                break
    with suppress(RecursionError):
        return value if isinstance(value, str) else json.dumps(value)
    return ""


def _is_about_context(words: str) -> bool:
    return any(word in words.lower() for word in _CONTEXT_WORDS)


def _context_error(words: str) -> ContextOverflowError:
    """The error for a context that is smaller on the server than we thought."""
    return ContextOverflowError(
        f"The prompt does not fit the server's context: {words}",
        hint="set its size with --context, or shorten the conversation (/compact)",
    )
