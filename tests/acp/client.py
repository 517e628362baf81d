"""A client as editors have one, the SDK's own, connected to the real server over a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from acp import PROTOCOL_VERSION, connect_to_agent, text_block
from acp.client.connection import ClientSideConnection
from acp.schema import (
    AgentMessageChunk,
    AgentThoughtChunk,
    AllowedOutcome,
    ClientCapabilities,
    DeniedOutcome,
    PermissionOption,
    RequestPermissionResponse,
    ToolCallProgress,
    ToolCallStart,
    ToolCallUpdate,
    UserMessageChunk,
)

from gptoss_tui.acp.server import serve
from gptoss_tui.acp.transport import LineTransport
from gptoss_tui.engine.types import Engine, EngineSpec
from gptoss_tui.settings import Settings
from tests.agent.scripted_engine import ScriptedEngine

Answer = Callable[[ToolCallUpdate, list[PermissionOption]], str]


@dataclass
class Client:
    """Remembers all that it is told. `answer` names the option that is chosen; empty is the outcome `cancelled`."""

    answer: Answer = lambda call, options: "once"
    updates: list[tuple[str, Any]] = field(default_factory=list)
    asked: list[tuple[ToolCallUpdate, list[PermissionOption]]] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def session_update(self, session_id: str, update: Any, **meta: Any) -> None:
        self.updates.append((session_id, update))
        self.news.set()

    async def request_permission(
        self, session_id: str, tool_call: ToolCallUpdate, options: list[PermissionOption], **meta: Any
    ) -> RequestPermissionResponse:
        self.asked.append((tool_call, options))
        self.news.set()
        if self.answer is never:
            await asyncio.Event().wait()
        chosen = self.answer(tool_call, options)
        outcome = AllowedOutcome(outcome="selected", option_id=chosen) if chosen else DeniedOutcome(outcome="cancelled")
        return RequestPermissionResponse(outcome=outcome)

    def on_connect(self, conn: Any) -> None:
        """Nothing: the tests hold the connection."""

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for what the agent tells."""
        while not condition():
            self.news.clear()
            await self.news.wait()

    def of(self, *kinds: type[Any], session: str | None = None) -> list[Any]:
        """The updates of these kinds, in order."""
        return [update for one, update in self.updates if isinstance(update, kinds) and session in (None, one)]

    def said(self, kind: type[Any] = AgentMessageChunk, session: str | None = None) -> str:
        """The text of all chunks of a kind."""
        return "".join(update.content.text for update in self.of(kind, session=session))

    def thought(self, session: str | None = None) -> str:
        """What the model thought."""
        return self.said(AgentThoughtChunk, session)

    def heard(self) -> str:
        """What the user said before, as a session is read back."""
        return self.said(UserMessageChunk)

    def call(self, title: str) -> dict[str, Any]:
        """The last state of the one tool call whose title begins so, all updates put together."""
        calls: dict[str, dict[str, Any]] = {}
        for update in self.of(ToolCallStart, ToolCallProgress):
            known = calls.setdefault(update.tool_call_id, {})
            known.update(update.model_dump(exclude_none=True))
        (found,) = [call for call in calls.values() if call["title"].startswith(title)]
        return found


def never(call: ToolCallUpdate, options: list[PermissionOption]) -> str:
    """A person who does not answer."""
    raise AssertionError


@dataclass
class Editor:
    """A client that is connected: `call` sends requests, `serving` is the server's task."""

    call: ClientSideConnection
    client: Client
    serving: asyncio.Task[None]
    socket: socket.socket
    made: list[EngineSpec]

    async def session(self, cwd: Path, **options: Any) -> str:
        """A new session in a folder."""
        return (await self.call.new_session(cwd=str(cwd), mcp_servers=[], **options)).session_id

    async def say(self, session: str, text: str) -> str:
        """Send a prompt; gives why it stopped."""
        return (await self.call.prompt(session_id=session, prompt=[text_block(text)])).stop_reason


@contextlib.asynccontextmanager
async def editor(
    engine: ScriptedEngine | Callable[[EngineSpec], Engine], model: Path, client: Client | None = None, **settings: Any
) -> AsyncIterator[Editor]:
    """An editor that has said hello. `model` is any folder: the scripted engine loads nothing."""
    ours, theirs = socket.socketpair()
    client = client or Client()
    made: list[EngineSpec] = []

    def make(spec: EngineSpec) -> Engine:
        made.append(spec)
        return engine if isinstance(engine, ScriptedEngine) else engine(spec)

    transport = LineTransport(*await asyncio.open_connection(sock=theirs, limit=1 << 16))
    serving = asyncio.create_task(serve(Settings(model=str(model), **settings), transport, make))
    reader, writer = await asyncio.open_connection(sock=ours, limit=1 << 26)
    conn = connect_to_agent(client, writer, reader, use_unstable_protocol=True)
    try:
        capabilities = ClientCapabilities(field_meta={"terminal_output": True})
        await conn.initialize(PROTOCOL_VERSION, client_capabilities=capabilities)
        yield Editor(conn, client, serving, ours, made)
    finally:
        await conn.close()
        writer.close()
        await serving
