"""Logs in to an MCP server that requires it (OAuth 2.1, implemented by the SDK), with the user's own browser.

The browser is redirected to an address on this machine that only exists during the login. The SDK checks with a state
and PKCE that the answer belongs to the request.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import secrets
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

from gptoss_tui import __version__
from gptoss_tui.errors import ToolError
from gptoss_tui.tools.mcp.config import ServerConfig
from gptoss_tui.tools.mcp.quiet import quiet
from gptoss_tui.tools.mcp.tokens import Tokens

if TYPE_CHECKING:
    from mcp.client.auth import OAuthClientProvider
    from mcp.shared.auth import AuthorizationCodeResult

SECONDS: Final = 300.0
"""How long the user has for the login."""

_REQUEST_SECONDS: Final = 10.0
_MAX_LINE: Final = 8192
_PATH: Final = "/callback"
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
_DONE: Final = "You can close this page and go back to gptoss-tui."


def hint(name: str) -> str:
    """Advice for a server that requires a login."""
    return f"it asks for a login: `gptoss-tui mcp login {name}`"


def provider_of(
    config: ServerConfig,
    tokens: Tokens,
    *,
    back: str = f"http://127.0.0.1{_PATH}",
    show: Callable[[str], Awaitable[None]] | None = None,
    answer: Callable[[], Awaitable[AuthorizationCodeResult]] | None = None,
) -> OAuthClientProvider:
    """Return the provider that adds the token to requests and refreshes it when it expires.

    Without `show` and `answer`, nobody can log in: a server that requires it then causes a ToolError.
    """
    from mcp.client.auth import OAuthClientProvider
    from mcp.shared.auth import OAuthClientMetadata
    from pydantic import AnyUrl

    async def nobody(*_: str) -> Any:
        raise ToolError(hint(config.name))

    about = OAuthClientMetadata(client_name="gptoss-tui", redirect_uris=[AnyUrl(back)])
    provider = OAuthClientProvider(
        config.url, about, tokens, redirect_handler=show or nobody, callback_handler=answer or nobody
    )
    tokens.remind(provider)
    return provider


async def log_in(config: ServerConfig, open_page: Callable[[str], None], *, seconds: float = SECONDS) -> int:
    """Log in and save the token. `open_page` is called with the address that the user has to visit.

    Returns how many tools the server then offers. Raises ToolError, with nothing saved.
    """
    await asyncio.to_thread(importlib.import_module, "mcp")
    import httpx2
    from mcp import Client
    from mcp.client.streamable_http import streamable_http_client
    from mcp.types import Implementation

    from gptoss_tui.tools.mcp.bounded import HEADERS, bound, stay_outside

    quiet()
    tokens = Tokens(config.url, saves=False)
    async with _Doorbell() as door:

        async def show(address: str) -> None:
            check_page(config.name, address)
            asked = parse_qs(urlsplit(address).query).get("state")
            door.state = asked[0] if asked else None
            open_page(address)

        provider = provider_of(config, tokens, back=door.address, show=show, answer=door.answer)
        try:
            async with (
                asyncio.timeout(seconds),
                httpx2.AsyncClient(
                    auth=provider,
                    headers={**HEADERS, **config.headers},
                    timeout=_REQUEST_SECONDS,
                    event_hooks={"request": [stay_outside(config.url)], "response": [bound]},
                ) as http,
                Client(
                    streamable_http_client(config.url, http_client=http),
                    client_info=Implementation(name="gptoss-tui", version=__version__),
                ) as client,
            ):
                count = len((await client.list_tools()).tools)
        except TimeoutError:
            raise ToolError(f"{config.name}: nobody logged in within {seconds:.0f} seconds.") from None
        except Exception as error:  # the SDK, its HTTP client and its streams each have their own exceptions
            raise ToolError(f"{config.name}: the login failed: {_first(error)}") from error
    if not tokens.exist:
        raise ToolError(f"{config.name} needs no login: it has {count} tools without one.")
    tokens.learn(provider)
    tokens.saves = True
    tokens.save()
    return count


def check_page(name: str, address: str) -> None:
    """Check a login page: the user types a password there, so it must be HTTPS unless local. Raises ToolError."""
    page = urlsplit(address)
    if page.scheme not in ("http", "https"):
        raise ToolError(f"{name} gave no login page.")
    if page.scheme == "http" and page.hostname not in _LOOPBACK:
        raise ToolError(f"{name} gave a login page that is not encrypted.")


def _first(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return (error.message if isinstance(error, ToolError) else str(error)) or type(error).__name__


class _Doorbell:
    """The address on this machine that the browser is redirected to. It accepts a single answer."""

    address: str

    def __init__(self) -> None:
        self.state: str | None = None
        """The state that the answer must contain; a visitor without it is not the browser that was redirected."""
        self._answered: asyncio.Future[AuthorizationCodeResult] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> _Doorbell:
        self._server = await asyncio.start_server(self._visited, "127.0.0.1", 0, limit=_MAX_LINE)
        self.address = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}{_PATH}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self._answered.cancel()

    async def answer(self) -> AuthorizationCodeResult:
        """Wait for the browser's answer. Raises ToolError when it is a refusal."""
        return await self._answered

    async def _visited(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ValueError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(_REQUEST_SECONDS):
                line = (await reader.readuntil(b"\r\n")).decode("ascii")
                status, text = self._take(*line.split(" ")[:2])
                page = text.encode()
                head = (
                    f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(page)}\r\n"
                )
                writer.write(f"{head}Cache-Control: no-store\r\nConnection: close\r\n\r\n".encode() + page)
                await writer.drain()
        writer.close()

    def _take(self, method: str, target: str) -> tuple[str, str]:
        """Handle a request and return the status and text for it. Only one request is the expected answer."""
        from mcp.shared.auth import AuthorizationCodeResult

        visited = urlsplit(target)
        said = {name: values[0] for name, values in parse_qs(visited.query).items()}
        if method != "GET" or visited.path != _PATH or not ({"code", "error"} & said.keys()):
            return "404 Not Found", "There is nothing here."
        if self.state is None or not secrets.compare_digest(said.get("state", "").encode(), self.state.encode()):
            return "403 Forbidden", "This belongs to another login."
        if self._answered.done():
            return "410 Gone", "This login is over."
        if "code" in said:
            answer = AuthorizationCodeResult(code=said["code"], state=said.get("state"), iss=said.get("iss"))
            self._answered.set_result(answer)
        else:
            why = said.get("error_description") or said["error"]
            self._answered.set_exception(ToolError(f"it was refused: {why[:200]}"))
        return "200 OK", _DONE
