"""Servers on a free port of this machine, in the test's own event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import aiohttp
from openai import AsyncOpenAI

from gptoss_tui.engine.types import Engine
from gptoss_tui.harmony.tokenizer import load_tokenizer
from gptoss_tui.server.gate import Gate
from gptoss_tui.server.guard import Rules
from gptoss_tui.server.host import EngineHost
from gptoss_tui.server.responses.store import ResponseStore
from gptoss_tui.server.run import Address, listen, serving
from gptoss_tui.server.service import Service
from gptoss_tui.server.toolbox import OwnTools
from tests.server.scripted import ScriptedEngine


@dataclass
class Running:
    """A server that answers. `engine` is what it was given."""

    service: Service
    engine: ScriptedEngine
    http: aiohttp.ClientSession
    client: AsyncOpenAI
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def post(self, path: str, body: Any, **options: Any) -> tuple[int, Any]:
        """The status and the JSON of an answer."""
        async with self.http.post(f"{self.url}{path}", json=body, **options) as response:
            return response.status, await response.json()

    async def get(self, path: str, **options: Any) -> tuple[int, Any]:
        async with self.http.get(f"{self.url}{path}", **options) as response:
            return response.status, await response.json()


@asynccontextmanager
async def running(
    engine: Engine,
    *,
    gate: Gate | None = None,
    rules: Rules | None = None,
    store: Path | None = None,
    own: OwnTools | None = None,
    send_buffer: int = 0,
) -> AsyncIterator[Running]:
    host = EngineHost(engine, load_tokenizer())
    await host.load()
    service = Service(
        host,
        gate or Gate(),
        ("gpt-oss-20b", "openai/gpt-oss-20b"),
        store=ResponseStore(store) if store is not None else None,
        own=own or OwnTools(),
    )
    with listen(Address("127.0.0.1", 0)) as sock:
        if send_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)  # connections inherit it
        port = sock.getsockname()[1]
        async with (
            serving(service, rules or Rules(), sock),
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
            AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0) as client,
        ):
            yield Running(service, cast(ScriptedEngine, engine), http, client, port)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens; the test's own time limit says when it does not."""
    while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
        await asyncio.sleep(0.01)
