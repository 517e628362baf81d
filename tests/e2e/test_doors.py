"""`gptoss-tui acp` and `gptoss-tui mcp serve` as editors and hosts start them, on the built-in model."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from acp import PROTOCOL_VERSION, spawn_agent_process, text_block
from mcp import Client as McpClient
from mcp.client.stdio import StdioServerParameters, stdio_client

from tests.acp.client import Client
from tests.e2e.conftest import PROGRAM
from tests.processes import until

CREATE = "create hello.py that prints hello"
HEAVY = ("torch", "textual", "docker", "triton", "transformers")


async def test_an_editor_has_a_file_made_and_goes_away(workspace: Path, environment: dict[str, str]) -> None:
    client = Client()
    patient = {"shutdown_timeout": 60.0}
    async with spawn_agent_process(
        client, PROGRAM, "acp", cwd=workspace, env=environment, transport_kwargs=patient
    ) as (conn, process):
        await conn.initialize(PROTOCOL_VERSION)
        session = (await conn.new_session(cwd=str(workspace), mcp_servers=[])).session_id
        assert psutil.Process(process.pid).children() == [], "no model is loaded before it is needed"
        response = await conn.prompt(session_id=session, prompt=[text_block(CREATE)])
        assert response.stop_reason == "end_turn"
        assert (workspace / "hello.py").read_bytes() == b'print("hello")\n'
        assert "hello.py" in client.said()
        assert client.thought()
        (worker,) = psutil.Process(process.pid).children()
        # It goes in the middle of a turn, and takes everything with it.
        turn = asyncio.create_task(conn.prompt(session_id=session, prompt=[text_block("write a long story")]))
        told = len(client.updates)
        await client.until(lambda: len(client.updates) > told)
    assert process.returncode == 0
    await until(lambda: not worker.is_running())
    await asyncio.gather(turn, return_exceptions=True)


async def test_a_host_asks_the_agent(workspace: Path, environment: dict[str, str]) -> None:
    server = StdioServerParameters(
        command=PROGRAM, args=["mcp", "serve", "--approve", "edits", "-C", str(workspace)], env=environment, cwd="/"
    )
    async with McpClient(stdio_client(server)) as host:
        result = await host.call_tool("ask", {"prompt": CREATE})
    assert result.structured_content["files"] == ["hello.py"]
    assert (workspace / "hello.py").read_bytes() == b'print("hello")\n'


async def start(
    arguments: Sequence[str], workspace: Path, environment: dict[str, str]
) -> tuple[asyncio.subprocess.Process, asyncio.StreamWriter, asyncio.StreamReader]:
    """A program with its protocol on pipes."""
    process = await asyncio.create_subprocess_exec(
        *arguments,
        cwd=workspace,
        env=environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    return process, process.stdin, process.stdout


def request(number: int, method: str, **params: Any) -> bytes:
    """A line of JSON-RPC."""
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode() + b"\n"


MCP_HELLO = request(
    1, "initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo={"name": "test", "version": "1"}
)
ACP_HELLO = request(1, "initialize", protocolVersion=1)


@pytest.mark.parametrize(
    ("command", "hello", "end"),
    [(["acp"], ACP_HELLO, signal.SIGHUP), (["mcp", "serve"], MCP_HELLO, signal.SIGTERM)],
    ids=["acp", "mcp"],
)
async def test_what_is_on_stdout_is_protocol_and_a_signal_is_the_end(
    command: list[str], hello: bytes, end: signal.Signals, workspace: Path, environment: dict[str, str]
) -> None:
    process, stdin, stdout = await start([PROGRAM, *command], workspace, environment)
    stdin.write(b"this is no JSON\n" + hello)
    answers = [json.loads(await stdout.readline())]
    if answers[0].get("id") is None:
        answers.append(json.loads(await stdout.readline()))
    assert answers[-1]["id"] == 1
    assert "result" in answers[-1]
    process.send_signal(end)
    assert await stdout.read() == b""
    assert await process.wait() == 128 + end


async def test_serving_imports_no_model_code() -> None:
    code = (
        "import sys, gptoss_tui.acp.server, gptoss_tui.mcp_server.server;"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE, env=dict(os.environ)
    )
    out, _ = await process.communicate()
    assert out == b"[]\n"
