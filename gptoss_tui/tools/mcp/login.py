"""Logs in to an MCP server that requires it (OAuth 2.1, implemented by the SDK), with the user's own browser.

The browser comes back to an address on this machine (callback.py). The SDK checks with a
state and PKCE that the answer belongs to the request.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from gptoss_tui import __version__
from gptoss_tui.errors import ToolError
from gptoss_tui.tools.mcp.callback import PATH, Callback
from gptoss_tui.tools.mcp.config import ServerConfig
from gptoss_tui.tools.mcp.quiet import quiet
from gptoss_tui.tools.mcp.tokens import Tokens

if TYPE_CHECKING:
    from mcp.client.auth import OAuthClientProvider
    from mcp.shared.auth import AuthorizationCodeResult

SECONDS: Final = 300.0
"""How long the user has for the login."""

_REQUEST_SECONDS: Final = 10.0
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


def hint(name: str) -> str:
    """Advice for a server that requires a login."""
    return f"it asks for a login: `gptoss-tui mcp login {name}`"


def provider_of(
    config: ServerConfig,
    tokens: Tokens,
    *,
    back: str = f"http://127.0.0.1{PATH}",
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
    for slow in ("mcp", "aiohttp"):
        await asyncio.to_thread(importlib.import_module, slow)
    quiet()
    tokens = Tokens(config.url, saves=False)
    async with Callback() as callback:

        async def show(page: str) -> None:
            check_page(config.name, page)
            callback.expect(page)
            open_page(page)

        provider = provider_of(config, tokens, back=callback.address, show=show, answer=callback.answer)
        try:
            async with asyncio.timeout(seconds):
                count = await _tool_count(config, provider)
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


async def _tool_count(config: ServerConfig, provider: OAuthClientProvider) -> int:
    """How many tools the server offers, asked with the provider: it logs in when the server demands it."""
    import httpx2
    from mcp import Client
    from mcp.client.streamable_http import streamable_http_client
    from mcp.types import Implementation

    from gptoss_tui.tools.mcp.bounded import HEADERS, bound, stay_outside

    async with (
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
        return len((await client.list_tools()).tools)


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
