"""Hosts as programs have them, the SDK's own client, in front of the real server on a scripted engine."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from mcp import Client
from mcp.types import CallToolResult, ElicitResult

from gptoss_tui.engine.shared import SharedEngine
from gptoss_tui.mcp_server.catalog import GROUPS, Group
from gptoss_tui.mcp_server.http import serve_http
from gptoss_tui.mcp_server.server import Sessions, make_server
from gptoss_tui.mcp_server.session import HostSession
from gptoss_tui.settings import Settings
from tests.agent.scripted_engine import ScriptedEngine

LEGACY, MODERN = "legacy", "2026-07-28"
TOKEN = "0123456789abcdef"


class Person:
    """Answers what a host asks. `decide` gives one of the choices for a message; nothing declines."""

    def __init__(self, decide: Callable[[str, list[str]], str] = lambda message, choices: choices[0]) -> None:
        self.decide = decide
        self.asked: list[tuple[str, list[str]]] = []

    async def __call__(self, context: Any, params: Any) -> ElicitResult:
        choices = params.requested_schema["properties"]["decision"]["enum"]
        self.asked.append((params.message, choices))
        chosen = self.decide(params.message, choices)
        return ElicitResult(action="accept", content={"decision": chosen}) if chosen else ElicitResult(action="decline")


def make_sessions(engine: ScriptedEngine, root: Path, approve: str = "none", **settings: Any) -> Sessions:
    """Sessions in a folder. Pages come from the documents in it."""
    chosen = Settings(model=str(root), workspace=root, browser_backend="local", browser_folder=root, **settings)
    shared = SharedEngine(lambda spec: engine)
    return Sessions(lambda: HostSession(chosen, shared, approve))


@contextlib.asynccontextmanager
async def host(
    engine: ScriptedEngine,
    root: Path,
    person: Person | None = None,
    *,
    mode: str = LEGACY,
    groups: tuple[Group, ...] = GROUPS,
    approve: str = "none",
    **settings: Any,
) -> AsyncIterator[Client]:
    """A host that is connected. Without a `person` it cannot ask."""
    sessions = make_sessions(engine, root, approve, **settings)
    try:
        async with Client(make_server(sessions, groups), mode=mode, elicitation_callback=person) as client:
            yield client
    finally:
        await sessions.close()


@contextlib.asynccontextmanager
async def listening(sessions: Sessions, groups: tuple[Group, ...] = GROUPS) -> AsyncIterator[str]:
    """The server over HTTP on a free port; gives its address."""
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve_http(sessions, groups, 0, TOKEN, address.set_result))
    try:
        yield await address
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


def text(result: CallToolResult) -> str:
    """What a result says."""
    return "".join(part.text for part in result.content if part.type == "text")
