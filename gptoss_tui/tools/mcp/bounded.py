"""Limits on what an MCP server may send; the SDK itself accepts anything of any size."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import httpx2

from gptoss_tui.tools.net.addresses import why_not_public
from gptoss_tui.tools.net.connect import system_lookup

if TYPE_CHECKING:
    from mcp import Client
    from mcp.types import CallToolResult

MAX_RESPONSE: Final = 64 << 20
"""The most bytes of one HTTP response, uncompressed. The SDK reconnects an event stream that reaches the limit."""

HEADERS: Final = {"Accept-Encoding": "identity"}
"""Request uncompressed answers, because a small compressed one can expand without end."""


LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


class LedAwayError(httpx2.RequestError):
    """A server that requires a login names an address that it must not."""


class TooMuchError(httpx2.ReadError):
    """A server sent too much, or a compressed answer."""


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        room = MAX_RESPONSE
        async for data in self._stream:
            room -= len(data)
            if room < 0:
                raise TooMuchError(f"it sent more than {MAX_RESPONSE >> 20} MiB")
            yield data

    async def aclose(self) -> None:
        await self._stream.aclose()


async def bound(response: httpx2.Response) -> None:
    """HTTP client hook that limits a response before its body is read. Raises TooMuchError if it is compressed."""
    if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise TooMuchError("it sent a compressed answer that was not requested")
    if isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _Bounded(response.stream)


def stay_outside(url: str) -> Callable[[httpx2.Request], Awaitable[None]]:
    """Return an HTTP client hook that checks the login and token addresses that the server at `url` names.

    They must be encrypted, and not on this machine or its network unless the server itself is. The hook raises
    LedAwayError.
    """
    home = urlsplit(url)

    async def looked(request: httpx2.Request) -> None:
        host, encrypted = request.url.host, request.url.scheme == "https"
        if host == home.hostname and (encrypted or home.scheme == "http"):
            return
        if not encrypted and host not in LOOPBACK:
            raise LedAwayError(f"it leads to {host}, not encrypted")
        if await _is_inside(host) and not await _is_inside(home.hostname or ""):
            raise LedAwayError(f"it leads to {host}, which is inside this network")

    return looked


async def _is_inside(host: str) -> bool:
    try:
        return any(map(why_not_public, await system_lookup(host, 443)))
    except OSError:  # only a proxy can look names up here
        return False


def trust_results(client: Client) -> None:
    """Turn off the SDK's validation of results: a malicious regex in the server's schema could hang it forever."""

    async def taken(name: str, result: CallToolResult) -> None:
        return None

    client.session.validate_tool_result = taken  # type: ignore[method-assign]


def limited(say: Callable[[str], None], room: int) -> Callable[[str], None]:
    """Wrap `say` so that it only gets the first `room` characters; the rest is dropped."""

    def said(text: str) -> None:
        nonlocal room
        if room > 0:
            say(text[:room])
            room -= len(text)

    return said
