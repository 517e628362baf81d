"""The server on two byte streams: whatever arrives, and a host that goes away."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gptoss_tui.mcp_server.catalog import GROUPS
from gptoss_tui.mcp_server.server import serve_stdio
from tests.agent.helpers import ANSWER, make_engine
from tests.agent.scripted_engine import ScriptedEngine
from tests.mcp_server.hosts import make_sessions


class Line:
    """The host's end, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, **message: Any) -> None:
        await self.write(json.dumps({"jsonrpc": "2.0", **message}).encode())

    async def write(self, data: bytes) -> None:
        self.writer.write(data + b"\n")
        await self.writer.drain()

    async def answer_to(self, number: int) -> Any:
        """The answer to a request; what comes before it is passed by."""
        while (message := json.loads(await self.reader.readuntil(b"\n"))).get("id") != number:
            pass
        return message


@asynccontextmanager
async def line(engine: ScriptedEngine, root: Path) -> AsyncIterator[tuple[Line, asyncio.Task[None]]]:
    """A host that has said hello; the server ends with it."""
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=theirs, limit=1 << 16)
    serving = asyncio.create_task(serve_stdio(make_sessions(engine, root), GROUPS, reader, writer))
    host = Line(*await asyncio.open_connection(sock=ours))
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    await host.send(id=1, method="initialize", params=hello)
    await host.answer_to(1)
    await host.send(method="notifications/initialized")
    try:
        yield host, serving
    finally:
        host.writer.close()
        await serving


@pytest.mark.parametrize(
    "data",
    [
        b"this is no JSON",
        b"\xff\xfe\x00",
        b"[1, 2]",
        b"null",
        b"{}",
        b"[" * 3000,
        b'"' + b"x" * 100_000 + b'"',
        b'{"jsonrpc": "2.0", "id": [1], "method": "tools/list"}',
        b'{"jsonrpc": "2.0", "method": "no/such"}',
        b'{"jsonrpc": "2.0", "id": 7, "result": {}}',
        b'{"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": 3}',
        b'{"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "ask", "arguments": [1]}}',
    ],
)
async def test_nothing_that_arrives_ends_the_server(work: Path, data: bytes) -> None:
    async with line(make_engine(), work) as (host, _):
        await host.write(data)
        await host.send(id=2, method="tools/list")
        assert len((await host.answer_to(2))["result"]["tools"]) == 6


@pytest.mark.parametrize(
    ("data", "number", "code"),
    [
        (b"this is no JSON", None, -32700),
        (b"[" * 3000, None, -32700),
        (b"[1, 2]", None, -32600),
        (b'"' + b"x" * 100_000 + b'"', None, -32600),
        (b'{"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": 3}', 7, -32600),
        (b'{"jsonrpc": "2.0", "id": "a", "method": 5}', "a", -32600),
        (b'{"jsonrpc": "2.0", "id": 8, "method": "tools/call", "params": {"name": "\\ud83d"}}', 8, -32600),
        (b'{"jsonrpc": "2.0", "id": 9, "error": "no error"}', None, -32600),
    ],
)
async def test_what_is_no_message_is_answered(work: Path, data: bytes, number: object, code: int) -> None:
    """Who sent it waits for an answer: half of an emoji in an argument is enough."""
    async with line(make_engine(), work) as (host, _):
        await host.write(data)
        answer = json.loads(await host.reader.readuntil(b"\n"))
        assert (answer["id"], answer["error"]["code"]) == (number, code)
        await host.send(id=2, method="tools/list")
        assert len((await host.answer_to(2))["result"]["tools"]) == 6


async def test_a_host_that_dies_ends_its_call(work: Path) -> None:
    hung = asyncio.Event()
    engine = make_engine(ANSWER, hang_after=6, on_hang=hung.set)
    async with line(engine, work) as (host, serving):
        await host.send(id=2, method="tools/call", params={"name": "ask", "arguments": {"prompt": "hello"}})
        await hung.wait()
        host.writer.transport.abort()
        await serving
        assert engine.idle
