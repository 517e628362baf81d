"""Servers on loopback: one that plays the public web, and canaries that must never hear from us."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from gptoss_tui.tools.net.addresses import why_not_public
from gptoss_tui.tools.net.fetch import NetPolicy

Answer = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Site:
    """A server of the pretended public web. `answers` maps paths to whole responses, or to what writes one."""

    port: int = 0
    answers: dict[str, Answer] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)

    def page(self, path: str, body: bytes | str, content_type: str = "text/html", **headers: str) -> None:
        """Serve `body` at `path`."""
        data = body.encode() if isinstance(body, str) else body
        self.answers[path] = response(200, data, {"Content-Type": content_type, **headers})

    def redirect(self, path: str, location: str, status: int = 302) -> None:
        """Lead from `path` to `location`."""
        self.answers[path] = response(status, b"", {"Location": location})

    def policy(self, names: Mapping[str, list[str]] | None = None, **changes: object) -> NetPolicy:
        """The program's own rules, but for this server, which stands at every name that ends in `.site.test`."""

        async def lookup(host: str, port: int) -> list[str]:
            if names and host in names:
                return list(names[host])
            if host.endswith("site.test"):
                return ["127.0.0.1"]
            raise OSError(f"{host} is not known")

        def refusal(address: str, port: int) -> str | None:
            return None if (address, port) == ("127.0.0.1", self.port) else why_not_public(address)

        return NetPolicy(**{"ports": None, "lookup": lookup, "refusal": refusal, **changes})  # type: ignore[arg-type]

    def url(self, path: str, name: str = "www.site.test") -> str:
        """The address of `path`."""
        return f"http://{name}:{self.port}{path}"


def response(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    """A whole HTTP response."""
    lines = {"Content-Length": str(len(body)), "Connection": "close", **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} Status\r\n{head}\r\n".encode() + body


@asynccontextmanager
async def serve_site() -> AsyncIterator[Site]:
    site = Site()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, path, _ = head[0].split(" ", 2)
            headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            site.requests.append((method, path, headers, body))
            answer = site.answers.get(path) or site.answers.get(path.partition("?")[0]) or response(404, b"none here")
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    site.port = server.sockets[0].getsockname()[1]
    try:
        yield site
    finally:
        server.close()


@dataclass
class Canary:
    """A service of this machine that nobody from the web may reach. `hits` counts connections."""

    port: int = 0
    hits: int = 0


@asynccontextmanager
async def serve_canary() -> AsyncIterator[Canary]:
    """On all addresses of this machine, IPv4 and IPv6."""
    canary = Canary()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        canary.hits += 1
        try:
            writer.write(response(200, b"the secret of this machine", {"Content-Type": "text/plain"}))
            await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    first = await asyncio.start_server(serve, "0.0.0.0", 0)
    canary.port = first.sockets[0].getsockname()[1]
    servers = [first]
    with contextlib.suppress(OSError):  # a machine without IPv6
        servers.append(await asyncio.start_server(serve, "::1", canary.port))
    try:
        yield canary
    finally:
        for server in servers:
            server.close()
