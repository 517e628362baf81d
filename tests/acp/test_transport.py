"""Whatever arrives on stdin is answered or passed by, and the next message is read."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gptoss_tui.acp.server import serve
from gptoss_tui.acp.transport import LineTransport
from gptoss_tui.settings import Settings
from tests.agent.helpers import make_engine

HELLO = {"jsonrpc": "2.0", "id": 99, "method": "initialize", "params": {"protocolVersion": 1}}


class Wire:
    """The client's end of the line, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data + b"\n")
        await self.writer.drain()

    async def receive(self) -> Any:
        return json.loads(await self.reader.readuntil(b"\n"))

    async def until_hello(self) -> list[Any]:
        """What is answered before an initialize that is sent now."""
        await self.send(json.dumps(HELLO).encode())
        answers = []
        while (answer := await self.receive()).get("id") != 99:
            answers.append(answer)
        assert answer["result"]["agentInfo"]["name"] == "gptoss-tui"
        return answers


@pytest.fixture
async def wire(tmp_path: Path) -> AsyncIterator[Wire]:
    ours, theirs = socket.socketpair()
    transport = LineTransport(*await asyncio.open_connection(sock=theirs, limit=4096))
    engine = make_engine()
    serving = asyncio.create_task(serve(Settings(workspace=tmp_path), transport, lambda spec: engine))
    wire = Wire(*await asyncio.open_connection(sock=ours))
    yield wire
    wire.writer.close()
    await serving


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"this is no JSON", -32700),
        (b"{", -32700),
        (b"\xff\xfe\x00", -32700),
        (b"[" * 3000, -32700),
        (b"[1, 2]", -32600),
        (b"17", -32600),
        (b"null", -32600),
        (b"{}", -32600),
        (b'{"id": [1], "method": "initialize"}', -32600),
        (b'{"id": {"a": 1}, "result": null}', -32600),
        (b'{"id": 1, "method": 7}', -32600),
        (b'{"id": 1, "error": "text"}', -32600),
        (b'"' + b"x" * 100_000 + b'"', -32600),
        (b'{"id": 5, "method": "no/such/method"}', -32601),
        (b'{"id": 5, "method": "session/prompt", "params": 3}', -32602),
        (b'{"id": 5, "method": "session/prompt"}', -32602),
        (b'{"id": 5, "method": "session/new", "params": {"cwd": 1, "mcpServers": "x"}}', -32602),
        (b'{"id": 5, "method": "session/prompt", "params": {"sessionId": "a", "prompt": []}}', -32002),
        (b'{"id": 5, "method": "_extension", "params": {}}', -32601),
    ],
)
async def test_what_is_no_request_is_an_error(wire: Wire, line: bytes, code: int) -> None:
    await wire.send(line)
    answer = await wire.receive()
    assert answer["error"]["code"] == code
    assert await wire.until_hello() == []


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"   ",
        b'{"method": "$/anything", "params": {}}',
        b'{"method": "no/such/notification"}',
        b'{"method": "session/cancel", "params": {"sessionId": "none"}}',
        b'{"method": "session/cancel"}',
        b'{"id": 7, "result": {}}',
        b'{"id": "x", "error": {"code": "y"}}',
        b'{"method": "_note"}',
    ],
)
async def test_what_needs_no_answer_gets_none(wire: Wire, line: bytes) -> None:
    await wire.send(line)
    assert await wire.until_hello() == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
METHODS = st.sampled_from(["initialize", "session/new", "session/prompt", "session/load", "session/list", "x", 5])
FIELDS = st.fixed_dictionaries(
    {},
    optional={"id": JSON, "method": METHODS | JSON, "params": JSON, "result": JSON, "error": JSON, "jsonrpc": JSON},
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(FIELDS, max_size=5))
def test_no_message_ends_the_connection(tmp_path: Path, messages: list[dict[str, Any]]) -> None:
    async def scenario() -> None:
        ours, theirs = socket.socketpair()
        transport = LineTransport(*await asyncio.open_connection(sock=theirs))
        engine = make_engine()
        serving = asyncio.create_task(serve(Settings(workspace=tmp_path), transport, lambda spec: engine))
        wire = Wire(*await asyncio.open_connection(sock=ours))
        for message in messages:
            await wire.send(json.dumps(message).encode())
        await wire.until_hello()
        wire.writer.close()
        await serving

    asyncio.run(scenario())
