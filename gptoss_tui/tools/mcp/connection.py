"""The connection to one server, held by its own task; whether it comes up or not, nothing waits for it for long."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import IO, TYPE_CHECKING, Any, Literal, TypeVar

from gptoss_tui import __version__
from gptoss_tui.errors import ToolError
from gptoss_tui.tools.mcp.config import ServerConfig
from gptoss_tui.tools.mcp.listing import MAX_OFFERS, Listing, Offer, cut, offered_tools
from gptoss_tui.tools.mcp.login import hint, provider_of
from gptoss_tui.tools.mcp.quiet import quiet
from gptoss_tui.tools.mcp.tokens import Tokens

if TYPE_CHECKING:
    from httpx2 import Response
    from mcp import Client
    from mcp.types import CallToolResult, GetPromptResult, ReadResourceResult

T = TypeVar("T")
State = Literal["off", "connecting", "ready", "failed"]

CONNECT_SECONDS = 20.0
_MAX_PAGES = 20
_MAX_SAID = 300
_MAX_PROGRESS = 16 << 10

_ending: set[asyncio.Task[None]] = set()
"""Connections that are being closed; kept here because the event loop holds only weak references to tasks."""


class Connection:
    """The connection to the server of `config`. Use it from one event loop."""

    def __init__(self, config: ServerConfig) -> None:
        self.config = config
        self.state: State = "off"
        self.problem = ""
        self.listing = Listing()
        self._client: Client | None = None
        self._task: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()
        self._stopping = asyncio.Event()
        self._unknown = False
        self._fault = ""

    def start(self) -> None:
        """Start connecting, unless connected or connecting already."""
        if self._task is None or self._task.done():
            self.state, self.problem, self._unknown, self._fault = "connecting", "", False, ""
            self._settled, self._stopping = asyncio.Event(), asyncio.Event()
            self._task = asyncio.create_task(self._hold(self._settled, self._stopping), name=f"mcp {self.config.name}")

    async def settle(self, seconds: float) -> None:
        """Wait until the connection is up or has failed, but no longer than `seconds`."""
        if self.state == "off":
            self.start()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._settled.wait()

    def stop(self) -> None:
        """Begin to end the connection and the server's process, without waiting."""
        self._stopping.set()
        if self._task is not None:
            _ending.add(self._task)
            self._task.add_done_callback(_ending.discard)
            if self._client is None:
                self._task.cancel()
        self._task = None
        self._client = None
        self.state = "off"

    async def close(self) -> None:
        """End the connection, and wait until the server's process is gone."""
        task = self._task
        self.stop()
        if task is not None:
            await asyncio.gather(task, return_exceptions=True)

    async def call(self, tool: str, arguments: Mapping[str, Any], on_progress: Callable[[str], None]) -> CallToolResult:
        """Call a tool, reconnecting first if the connection was lost. Raises ToolError."""

        from gptoss_tui.tools.mcp.bounded import limited

        say = limited(on_progress, _MAX_PROGRESS)

        async def tell(progress: float, total: float | None, message: str | None) -> None:
            say(f"{message or f'{progress:g}' + (f' of {total:g}' if total else '')}\n")

        return await self._asked(lambda client: client.call_tool(tool, dict(arguments), progress_callback=tell))

    async def read(self, uri: str) -> ReadResourceResult:
        """Read a resource. Raises ToolError."""
        return await self._asked(lambda client: client.read_resource(uri))

    async def prompt(self, name: str, arguments: Mapping[str, str]) -> GetPromptResult:
        """Get the messages of a prompt. Raises ToolError."""
        return await self._asked(lambda client: client.get_prompt(name, dict(arguments)))

    async def _asked(self, ask: Callable[[Client], Awaitable[T]]) -> T:
        self.start()
        await self.settle(CONNECT_SECONDS)
        client = self._client
        if client is None:
            raise ToolError(
                f"The MCP server {self.config.name} is not available: {self.problem or 'it does not answer'}."
            )

        try:
            async with asyncio.timeout(self.config.seconds):
                return await ask(client)
        except TimeoutError:
            raise ToolError(f"{self.config.name} did not answer within {self.config.seconds:.0f} seconds.") from None
        except Exception as error:
            # The SDK, its HTTP client and its streams each have their own exceptions.
            lost = self._lost(error)
            if lost:
                self.stop()
            why = self._fault or "the connection was lost"
            what = f"{why}; the call may or may not have been done" if lost else _said(error)
            raise ToolError(f"{self.config.name} failed: {what}") from error

    async def _hold(self, settled: asyncio.Event, stopping: asyncio.Event) -> None:
        """Connect, list what the server offers, and hold the connection until `stopping` is set."""
        with tempfile.TemporaryFile() as errors:
            try:
                # The SDK takes a second to import.
                await asyncio.to_thread(importlib.import_module, "mcp")
                async with AsyncExitStack() as stack:
                    async with asyncio.timeout(CONNECT_SECONDS):
                        client = await self._connect(stack, errors)
                        self.listing = await _list(client)
                    if not stopping.is_set():
                        self._client, self.state = client, "ready"
                    settled.set()
                    await stopping.wait()
            except TimeoutError:
                self._fail(f"it did not answer within {CONNECT_SECONDS:.0f} seconds", errors)
            except Exception as error:
                self._fail(self._fault or (hint(self.config.name) if self._unknown else _said(error)), errors)
            finally:
                settled.set()

    def _fail(self, what: str, errors: IO[bytes]) -> None:
        if self._task is asyncio.current_task():
            self._client, self.state = None, "failed"
            last = _last(errors).replace("\n", " ")
            self.problem = f"{what}: {last}" if last else what

    async def _connect(self, stack: AsyncExitStack, errors: IO[bytes]) -> Client:
        import httpx2
        from mcp import Client
        from mcp.client.streamable_http import streamable_http_client
        from mcp.types import Implementation

        from gptoss_tui.tools.mcp.bounded import HEADERS, bound, stay_outside, trust_results
        from gptoss_tui.tools.mcp.stdio import program

        quiet()
        config = self.config
        if config.url:
            # A server may hold an answer open for as long as a call may take.
            timeout = httpx2.Timeout(CONNECT_SECONDS, read=config.seconds + CONNECT_SECONDS)
            tokens = await asyncio.to_thread(Tokens, config.url)
            auth = provider_of(config, tokens) if tokens.exist else None
            hooks: Mapping[str, list[Any]] = {
                "request": [stay_outside(config.url)],
                "response": [self._look_at, bound],
            }
            headers = {**HEADERS, **config.headers}
            http = await stack.enter_async_context(
                httpx2.AsyncClient(headers=headers, timeout=timeout, auth=auth, event_hooks=hooks)
            )
            transport = streamable_http_client(config.url, http_client=http)
        else:
            transport = program(config, errors, self._on_fault)
        information = Implementation(name="gptoss-tui", version=__version__)
        client = await stack.enter_async_context(Client(transport, client_info=information))
        trust_results(client)
        return client

    def _on_fault(self, what: str) -> None:
        self._fault = what

    async def _look_at(self, response: Response) -> None:
        """Note whether the server requires a login, because the SDK's errors do not say so."""
        self._unknown = response.status_code == 401

    def _lost(self, error: Exception) -> bool:
        from mcp import MCPError

        # Errors from the server itself are MCPErrors with a code; -32000 is the SDK's code for a closed connection.
        return not isinstance(error, MCPError) or error.error.code == -32000


async def _list(client: Client) -> Listing:
    """List everything that the server offers."""
    capabilities = client.server_capabilities
    tools: list[tuple[str, str, Any]] = []
    resources: list[Offer] = []
    prompts: list[Offer] = []
    if capabilities.tools:
        tools = [
            (tool.name, tool.description or tool.title or "", tool.input_schema)
            for page in await _pages(client.list_tools)
            for tool in page.tools
        ]
    if capabilities.resources:
        found = [resource for page in await _pages(client.list_resources) for resource in page.resources]
        resources = [Offer(str(one.uri), cut(one.description or one.name, 200)) for one in found[:MAX_OFFERS]]
        resources += await _patterns(client)
    if capabilities.prompts:
        offered = [prompt for page in await _pages(client.list_prompts) for prompt in page.prompts]
        prompts = [_prompt(prompt) for prompt in offered[:MAX_OFFERS]]
    return Listing(offered_tools(tools), tuple(resources), tuple(prompts))


async def _patterns(client: Client) -> list[Offer]:
    """List resource templates, whose parts in braces the reader fills in; servers need not support this request."""
    from mcp import MCPError

    try:
        pages = await _pages(client.list_resource_templates)
    except MCPError:
        return []
    found = [one for page in pages for one in page.resource_templates]
    return [Offer(one.uri_template, cut(one.description or one.name, 200), True) for one in found[:MAX_OFFERS]]


def _prompt(prompt: Any) -> Offer:
    arguments = tuple(prompt.arguments or ())
    return Offer(
        prompt.name,
        cut(prompt.description or "", 200),
        arguments=tuple(argument.name for argument in arguments),
        required=tuple(argument.name for argument in arguments if argument.required),
    )


async def _pages(ask: Callable[..., Awaitable[Any]]) -> list[Any]:
    """Get the pages of a list, at most `_MAX_PAGES`, because a server may never end it."""
    pages = [await ask()]
    while pages[-1].next_cursor and len(pages) < _MAX_PAGES:
        pages.append(await ask(cursor=pages[-1].next_cursor))
    return pages


def _last(errors: IO[bytes]) -> str:
    """The end of what a program wrote to stderr."""
    errors.seek(max(0, errors.seek(0, os.SEEK_END) - 4 * _MAX_SAID))
    return errors.read().decode("utf-8", "replace")[-_MAX_SAID:].strip()


def _said(error: BaseException) -> str:
    """The message of an error, or of the first one in a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return cut(str(error) or type(error).__name__, _MAX_SAID)
