"""The server over HTTP: who gets in, and sessions that know nothing of each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from gptoss_tui.mcp_server.http import load_token
from gptoss_tui.mcp_server.server import Sessions
from tests.agent.helpers import ANSWER, make_engine
from tests.mcp_server.hosts import TOKEN, listening, make_sessions, text
from tests.processes import until

KEY = {"Authorization": f"Bearer {TOKEN}"}
ACCEPT = {"Accept": "application/json, text/event-stream"}


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[Client]:
    """A host with the token, which asks for the newest protocol first."""
    async with (
        httpx2.AsyncClient(headers=KEY) as http,
        Client(streamable_http_client(address, http_client=http)) as client,
    ):
        yield client


async def test_two_sessions_at_once(work: Path) -> None:
    (work / "keys.md").write_text("# Keys\n\nCtrl+O opens a call.\n")
    sessions = make_sessions(make_engine(ANSWER, ANSWER), work)
    async with listening(sessions) as address, connected(address) as one, connected(address) as other:
        await one.call_tool("search", {"query": "keys"})
        assert "No pages" in text(await other.call_tool("open", {"id": 0}))
        assert text(await one.call_tool("open", {"id": 0})).startswith("[1] Keys")
        asked = await asyncio.gather(*(client.call_tool("ask", {"prompt": "hello"}) for client in (one, other)))
        assert [text(result) for result in asked] == ["I created hello.py."] * 2
        ids = {result.structured_content["session"] for result in asked}
        assert len(ids) == 2


async def test_a_session_that_is_ended_is_forgotten(work: Path) -> None:
    sessions = make_sessions(make_engine(), work)
    async with listening(sessions) as address:
        async with connected(address) as one:
            await one.call_tool("search", {"query": "keys"})
            assert len(sessions._kept) == 1
        await until(lambda: not sessions._kept)


def test_it_ends_without_a_word_when_it_is_told_to(work: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async def served() -> None:
        async with listening(make_sessions(make_engine(), work)) as address, connected(address) as one:
            assert (await one.list_tools()).tools

    asyncio.run(served())
    assert capfd.readouterr().err == ""


async def test_a_session_that_nobody_uses_is_forgotten(work: Path) -> None:
    made = make_sessions(make_engine(), work)
    sessions = Sessions(made._make, idle_seconds=0.0)
    async with sessions.use("a"):
        await asyncio.sleep(0)
        assert list(sessions._kept) == ["a"], "not while it is used"
    async with sessions.use(""):
        pass
    await until(lambda: list(sessions._kept) == [""])
    await sessions.close()


async def test_a_session_whose_call_goes_on_is_forgotten_after_it(work: Path) -> None:
    sessions = Sessions(make_sessions(make_engine(), work)._make, idle_seconds=0.0)
    ended = asyncio.Event()
    async with sessions.use("a") as session:
        call = asyncio.create_task(ended.wait())
        session._running.add(call)
        call.add_done_callback(session._running.discard)
    for _ in range(5):
        await asyncio.sleep(0)
    assert list(sessions._kept) == ["a"]
    ended.set()
    await until(lambda: not sessions._kept)
    await sessions.close()


async def test_a_host_that_goes_away_ends_its_call(work: Path) -> None:
    hung = asyncio.Event()
    engine = make_engine(ANSWER, ANSWER, hang_after=6, on_hang=hung.set)
    async with listening(make_sessions(engine, work)) as address:
        async with connected(address) as one:
            asking = asyncio.create_task(one.call_tool("ask", {"prompt": "hello"}))
            await hung.wait()
            engine.hang_after = None
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        await until(lambda: engine.idle)
        async with connected(address) as other:
            assert text(await other.call_tool("ask", {"prompt": "hello"})) == "I created hello.py."


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": f"Bearer {TOKEN}x"}, 401),
        ({"Authorization": TOKEN}, 401),
        ({"Authorization": "Bearer \u00e9"}, 401),
        (KEY | {"Host": "evil.example"}, 421),
        (KEY | {"Host": "127.0.0.1.evil.example:80"}, 421),
        (KEY | {"Host": "localhost@evil.example"}, 421),
        (KEY | {"Origin": "http://evil.example"}, 403),
        (KEY | {"Origin": "null"}, 403),
        (KEY | {"Origin": "https://localhost.evil.example"}, 403),
        (KEY | {"MCP-Protocol-Version": "2026-07-28"}, 400),
        (KEY | {"mcp-session-id": "stolen", "MCP-Protocol-Version": "2025-11-25"}, 404),
        (KEY | {"Host": "localhost"}, 400),
        (KEY | {"Origin": "http://localhost:3000"}, 400),
    ],
)
async def test_who_gets_in(work: Path, headers: dict[str, str], status: int) -> None:
    """The last two get in: what they send is no request."""
    sessions = make_sessions(make_engine(), work)
    async with listening(sessions) as address, httpx2.AsyncClient() as http:
        sent = {name.encode(): value.encode() for name, value in (ACCEPT | headers).items()}
        answer = await http.post(address, json={"jsonrpc": "2.0"}, headers=list(sent.items()))
        assert answer.status_code == status
        assert TOKEN not in answer.text


async def test_a_body_that_is_too_large_is_refused(work: Path) -> None:
    sessions = make_sessions(make_engine(), work)
    async with listening(sessions) as address, httpx2.AsyncClient() as http:
        answer = await http.post(address, content=b" " * (5 << 20), headers=KEY | ACCEPT)
        assert answer.status_code == 413


def test_the_token_is_made_once_and_for_the_user_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    token, path = load_token({})
    assert path is not None
    assert (len(token) >= 32, path.stat().st_mode & 0o777) == (True, 0o600)
    assert load_token({}) == (token, path)
    assert load_token({"GPTOSS_TUI_MCP_TOKEN": "mine"}) == ("mine", None)
