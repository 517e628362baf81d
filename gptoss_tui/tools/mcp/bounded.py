"""What an MCP server may send: bounded, where the SDK takes whatever comes and as it comes."""

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
"""Bytes of one response over HTTP, unpacked; a stream of events that gets there is opened anew by the SDK."""

HEADERS: Final = {"Accept-Encoding": "identity"}
"""Ask for what is not packed: what is packed small can be without end."""


LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


class LedAwayError(httpx2.RequestError):
    """A server that asks for a login names an address that it should not."""


class TooMuchError(httpx2.ReadError):
    """A server sent more than anybody could read."""


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
    """A hook of the HTTP client, called before the body is read. Raises TooMuchError for one that is packed."""
    if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise TooMuchError("it sent a compressed answer that was not requested")
    if isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _Bounded(response.stream)


def stay_outside(url: str) -> Callable[[httpx2.Request], Awaitable[None]]:
    """A hook of the HTTP client for the server at `url`, which names the addresses to log in at and get tokens from.

    They are encrypted, and none is inside of this machine or its network, unless the server is there itself. Raises
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
    except OSError:  # where only a proxy can look names up
        return False


def trust_results(client: Client) -> None:
    """Take results as they are: a pattern in a schema of the server's could keep the SDK, and us, busy for years."""

    async def taken(name: str, result: CallToolResult) -> None:
        return None

    client.session.validate_tool_result = taken  # type: ignore[method-assign]


def limited(say: Callable[[str], None], room: int) -> Callable[[str], None]:
    """`say` for the first `room` characters; the rest is left out."""

    def said(text: str) -> None:
        nonlocal room
        if room > 0:
            say(text[:room])
            room -= len(text)

    return said
