"""Servers that mean harm: they hold up nobody, fill nothing, lead nowhere inside, and no rule says more than it is."""

from __future__ import annotations

import sys
import zlib
from pathlib import Path

import httpx2
import psutil
import pytest
from aiohttp import web

from gptoss_tui.errors import ToolError
from gptoss_tui.tools.mcp import bounded, stdio
from gptoss_tui.tools.mcp.bounded import LedAwayError, TooMuchError, bound, stay_outside
from gptoss_tui.tools.mcp.config import ServerConfig
from gptoss_tui.tools.mcp.connection import Connection
from tests.processes import until

PROGRAM = Path(__file__).with_name("hostile_server.py")


async def test_a_server_that_means_harm_does_none() -> None:
    connection = Connection(ServerConfig("hostile", command=sys.executable, args=(str(PROGRAM),), seconds=30))
    await connection.settle(30)
    assert [tool.name for tool in connection.listing.tools] == ["flood", "noisy", "endless", "long", "pattern"]
    said: list[str] = []
    assert not (await connection.call("pattern", {}, said.append)).is_error
    await connection.call("flood", {}, said.append)
    assert sum(map(len, said)) == 16 << 10
    with pytest.raises(ToolError, match="connection was lost"):
        await connection.call("noisy", {}, said.append)
    await connection.close()


async def test_what_a_server_wrote_is_read_from_its_end() -> None:
    script = "import sys; sys.stderr.write('x' * (8 << 20) + ' the end')"
    connection = Connection(ServerConfig("noisy", command=sys.executable, args=("-c", script)))
    await connection.settle(30)
    assert connection.state == "failed"
    assert connection.problem.endswith("x the end")
    assert len(connection.problem) < 1000


async def test_a_line_without_end_ends_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "MAX_RESPONSE", 1 << 20)
    connection = Connection(ServerConfig("hostile", command=sys.executable, args=(str(PROGRAM),), seconds=30))
    await connection.settle(30)
    processes = _programs()
    assert len(processes) == 1
    with pytest.raises(
        ToolError, match="hostile failed: it sent a line of more than 1 MiB, and was ended; the call may"
    ):
        await connection.call("endless", {}, print)
    await _gone(processes)
    assert not (await connection.call("pattern", {}, print)).is_error, "the next call has it again"
    await connection.close()
    assert not _programs()


async def test_a_line_without_end_at_the_beginning_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "MAX_RESPONSE", 1 << 20)
    connection = Connection(ServerConfig("hostile", command=sys.executable, args=(str(PROGRAM), "--endless")))
    await connection.settle(30)
    assert connection.state == "failed"
    assert connection.problem == "it sent a line of more than 1 MiB, and was ended"
    await connection.close()
    assert not _programs()


async def test_a_long_line_arrives_and_a_program_that_stays_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that ignores the end of its input and a signal, and a process that it started, are gone all the same."""
    monkeypatch.setattr(stdio, "END_SECONDS", 0.1)
    connection = Connection(ServerConfig("hostile", command=sys.executable, args=(str(PROGRAM), "--stay"), seconds=30))
    await connection.settle(30)
    result = await connection.call("long", {}, print)
    assert [len(block.text) for block in result.content] == [5 << 20]  # type: ignore[union-attr]
    processes = _programs()
    assert len(processes) == 2
    await connection.close()
    await _gone(processes)


def _programs() -> list[psutil.Process]:
    """What was started of the servers."""
    return [one for one in psutil.Process().children(recursive=True) if _runs(one)]


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and str(PROGRAM) in process.cmdline()
    except psutil.NoSuchProcess:
        return False


async def _gone(processes: list[psutil.Process]) -> None:
    await until(lambda: not any(map(_runs, processes)))


@pytest.mark.parametrize("packed", [False, True])
async def test_no_answer_is_without_end(monkeypatch: pytest.MonkeyPatch, packed: bool) -> None:
    monkeypatch.setattr(bounded, "MAX_RESPONSE", 1 << 20)

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Encoding": "deflate"} if packed else {})
        await response.prepare(request)
        for _ in range(100):
            await response.write(zlib.compress(bytes(1 << 20)) if packed else bytes(1 << 16))
        return response

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    async with httpx2.AsyncClient(event_hooks={"response": [bound]}) as client:
        with pytest.raises(TooMuchError):
            await client.get(f"http://127.0.0.1:{port}/")
    await runner.cleanup()


@pytest.mark.parametrize(
    ("server", "leads", "refused"),
    [
        ("https://93.184.216.34/mcp", "https://93.184.216.34/token", False),
        ("https://93.184.216.34/mcp", "https://1.1.1.1/token", False),
        ("https://93.184.216.34/mcp", "http://93.184.216.34/token", True),
        ("https://93.184.216.34/mcp", "http://1.1.1.1/token", True),
        ("https://93.184.216.34/mcp", "https://169.254.169.254/token", True),
        ("https://93.184.216.34/mcp", "https://127.0.0.1/token", True),
        ("https://93.184.216.34/mcp", "http://localhost:8080/token", True),
        ("https://93.184.216.34/mcp", "https://[64:ff9b::7f00:1]/token", True),
        ("http://127.0.0.1:9/mcp", "http://localhost:9/token", False),
        ("http://127.0.0.1:9/mcp", "http://127.0.0.1:9/token", False),
        ("http://10.0.0.1/mcp", "http://10.0.0.1/token", False),
        ("http://10.0.0.1/mcp", "http://10.0.0.2/token", True),
    ],
)
async def test_a_login_leads_nowhere_inside(server: str, leads: str, refused: bool) -> None:
    look = stay_outside(server)
    request = httpx2.Request("GET", leads)
    if refused:
        with pytest.raises(LedAwayError, match="it leads to"):
            await look(request)
    else:
        await look(request)
