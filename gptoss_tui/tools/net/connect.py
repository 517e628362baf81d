"""Connections that reach only public addresses: a name is looked up once, and the checked address is the one connected.

There are two gates, because the library in between may take shortcuts: the resolver refuses a name if any of its
addresses is not public, and no socket is created for a non-public address, however it got there.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from gptoss_tui.tools.net.addresses import why_not_public
from gptoss_tui.tools.net.errors import RefusedAddressError

if TYPE_CHECKING:
    from aiohttp import TCPConnector
    from aiohttp.abc import ResolveResult

Lookup = Callable[[str, int], Awaitable[list[str]]]
"""The IP addresses of a host; raises OSError when there are none."""

Refusal = Callable[[str, int], str | None]
"""Why an address and port must not be connected to, or None."""


def not_public(address: str, port: int) -> str | None:
    """The default `Refusal`: only public addresses are allowed."""
    return why_not_public(address)


async def system_lookup(host: str, port: int) -> list[str]:
    """Look up a host with the system's resolver. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


async def checked_lookup(host: str, port: int, lookup: Lookup, refusal: Refusal) -> list[str]:
    """The addresses of `host`. Raises RefusedAddressError when one of them is refused, OSError when there are none."""
    addresses = await lookup(host, port)
    for address in addresses:
        if why := refusal(address, port):
            raise RefusedAddressError(f"{host} is at {address}, which is not public: {why}.")
    if not addresses:
        raise OSError(f"{host} has no address")
    return addresses


def guarded_connector(lookup: Lookup, refusal: Refusal) -> TCPConnector:
    """An aiohttp connector with both gates, for a single exchange: no keep-alive and no DNS cache."""
    from aiohttp import TCPConnector
    from aiohttp.abc import AbstractResolver

    class Resolver(AbstractResolver):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> list[ResolveResult]:
            return [_result(host, address, port) for address in await checked_lookup(host, port, lookup, refusal)]

        async def close(self) -> None:
            return None

    def make_socket(address: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, (host, port, *_) = address
        if why := refusal(host, port):
            raise _RefusedError(f"{host} is not public: {why}.")
        return socket.socket(family=family, type=kind, proto=protocol)

    return TCPConnector(resolver=Resolver(), use_dns_cache=False, force_close=True, socket_factory=make_socket)


class _RefusedError(RefusedAddressError, OSError):
    """An OSError as well, because aiohttp expects one from a socket and wraps it."""

    def __init__(self, message: str) -> None:
        OSError.__init__(self, message)
        RefusedAddressError.__init__(self, message)


def _result(host: str, address: str, port: int) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return {"hostname": host, "host": address, "port": port, "family": family, "proto": 0, "flags": flags}
