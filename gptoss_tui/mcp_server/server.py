"""The MCP server: the tools of `catalog.py`, with separate state for each session of a host."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final

from mcp.server import NotificationOptions, Server, ServerRequestContext
from mcp.server.stdio import stdio_server
from mcp.types import (
    CallToolRequestParams,
    CallToolResult,
    InputRequiredResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
)

from gptoss_tui import __version__
from gptoss_tui.mcp_server.catalog import Group, instructions, offered
from gptoss_tui.mcp_server.host import Host
from gptoss_tui.mcp_server.lines import Lines
from gptoss_tui.mcp_server.session import HostSession
from gptoss_tui.sanitize import to_terminal_line

SESSION_HEADER: Final = "mcp-session-id"
IDLE_SECONDS: Final = 1800.0
"""An HTTP session that was not used for this long is forgotten, with its pages and its Python."""


@dataclass(slots=True)
class _Kept:
    session: HostSession
    timer: asyncio.TimerHandle | None = None


class Sessions:
    """The sessions by id, created by `make`. Over stdio there is only one, with an empty id."""

    def __init__(self, make: Callable[[], HostSession], idle_seconds: float = IDLE_SECONDS) -> None:
        self._make = make
        self._idle_seconds = idle_seconds
        self._kept: dict[str, _Kept] = {}
        self._ending: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def use(self, session_id: str) -> AsyncIterator[HostSession]:
        """Yield the session with this id, created if needed. It is kept at least as long as it is in use."""
        kept = self._kept.get(session_id)
        if kept is None:
            kept = self._kept[session_id] = _Kept(self._make())
        if kept.timer is not None:
            kept.timer.cancel()
        try:
            yield kept.session
        finally:
            if session_id and self._kept.get(session_id) is kept:
                self._start_timer(session_id)

    def forget(self, session_id: str) -> None:
        """Forget a session and end it in the background."""
        if (kept := self._kept.pop(session_id, None)) is not None:
            if kept.timer is not None:
                kept.timer.cancel()
            task = asyncio.create_task(kept.session.close())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        """End all sessions."""
        for session_id in list(self._kept):
            self.forget(session_id)
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _start_timer(self, session_id: str) -> None:
        kept = self._kept[session_id]
        if kept.timer is not None:
            kept.timer.cancel()
        kept.timer = asyncio.get_running_loop().call_later(self._idle_seconds, self._forget_idle, session_id)

    def _forget_idle(self, session_id: str) -> None:
        """Forget the session, or look again later: a call may go on though no request waits for it."""
        if self._kept[session_id].session.idle:
            self.forget(session_id)
        else:
            self._start_timer(session_id)


def make_server(sessions: Sessions, groups: tuple[Group, ...]) -> Server[Any]:
    """Make the server with the tools of `groups`.

    If the only group is `browser` or `python`, the server has that name, by which hosts know these tools.
    """
    tools = offered(groups)
    names = {tool.name for tool in tools}

    async def list_tools(
        context: ServerRequestContext[Any, Any], params: PaginatedRequestParams | None
    ) -> ListToolsResult:
        return ListToolsResult(tools=tools)

    async def call_tool(
        context: ServerRequestContext[Any, Any], params: CallToolRequestParams
    ) -> CallToolResult | InputRequiredResult:
        if params.name not in names:
            text = f"There is no tool {to_terminal_line(params.name)!r}. The tools are: {', '.join(sorted(names))}."
            return CallToolResult(content=[TextContent(text=text)], is_error=True)
        async with sessions.use(_session_id(context)) as session:
            return await session.call(params.name, params.arguments or {}, Host(context, params))

    return Server(
        groups[0] if len(groups) == 1 and groups[0] in ("browser", "python") else "gptoss-tui",
        version=__version__,
        title="gptoss-tui",
        instructions=instructions(groups),
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def _session_id(context: ServerRequestContext[Any, Any]) -> str:
    headers = getattr(context.request, "headers", None)
    return str(headers.get(SESSION_HEADER, "")) if headers is not None else ""


async def serve_stdio(
    sessions: Sessions, groups: tuple[Group, ...], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Serve the host over two byte streams until it is gone."""
    server = make_server(sessions, groups)
    lines: Any = Lines(reader, writer)
    try:
        async with stdio_server(lines, lines) as (reading, writing):
            await server.run(reading, writing, server.create_initialization_options(NotificationOptions()))
    finally:
        await sessions.close()
