"""Logging in to a real server that asks for it: once, with a browser; then the token holds until it ends."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import stat
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from gptoss_tui.errors import ToolError
from gptoss_tui.tools.mcp.callback import Callback
from gptoss_tui.tools.mcp.config import ServerConfig
from gptoss_tui.tools.mcp.connection import Connection
from gptoss_tui.tools.mcp.login import check_page, log_in, provider_of
from gptoss_tui.tools.mcp.tokens import Tokens

PROGRAM = Path(__file__).with_name("login_server.py")


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@asynccontextmanager
async def vault(seconds: int) -> AsyncIterator[tuple[ServerConfig, asyncio.StreamReader]]:
    """The server, whose tokens hold for so long, and what it prints."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(PROGRAM), str(port), str(seconds)), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            except OSError:
                assert process.returncode is None
                await asyncio.sleep(0.1)
        yield ServerConfig("vault", url=f"http://127.0.0.1:{port}/mcp"), process.stdout
    finally:
        process.terminate()
        await process.wait()


class Browser:
    """Visits the address that it is given, as a person's browser would, and follows it back."""

    def __init__(self, change: Callable[[str], str] = str) -> None:
        self.visited: list[str] = []
        self._change = change
        self._visits: list[asyncio.Future[None]] = []

    def __call__(self, address: str) -> None:
        self.visited.append(address)
        loop = asyncio.get_running_loop()
        self._visits.append(loop.run_in_executor(None, self._visit, address))

    def _visit(self, address: str) -> None:
        with urllib.request.urlopen(self._change(address)) as answer:
            answer.read()


async def connected(config: ServerConfig, then: Callable[[Connection], Awaitable[None]]) -> Connection:
    """Connect, do something, and close."""
    connection = Connection(config)
    await connection.settle(30.0)
    try:
        await then(connection)
    finally:
        await connection.close()
    return connection


async def reads_the_secret(connection: Connection) -> None:
    assert connection.state == "ready", connection.problem
    result = await connection.call("secret", {}, lambda text: None)
    assert "the lamp is blue" in str(result.content[0])


async def asks(connection: Connection) -> None:
    assert connection.state == "failed"
    assert connection.problem == "it asks for a login: `gptoss-tui mcp login vault`"


async def test_a_login_is_made_once_and_holds() -> None:
    async with vault(3600) as (config, _):
        await connected(config, asks)
        browser = Browser()
        assert await log_in(config, browser) == 1
        asked = parse_qs(urlsplit(browser.visited[0]).query)
        assert asked["code_challenge_method"] == ["S256"]
        assert asked["redirect_uri"][0].startswith("http://127.0.0.1:")
        await connected(config, reads_the_secret)
        tokens = Tokens(config.url)
        assert stat.S_IMODE(tokens.path.stat().st_mode) == 0o600
        assert stat.S_IMODE(tokens.path.parent.stat().st_mode) == 0o700
        damaged = json.loads(tokens.path.read_text())
        damaged["tokens"] = {"access_token": "forged", "token_type": "Bearer"}
        tokens.path.write_text(json.dumps(damaged))
        await connected(config, asks)
        tokens.path.write_text("{")
        await connected(config, asks)
        assert tokens.forget()
        assert not tokens.forget()
        await connected(config, asks)


async def test_a_token_that_ended_is_replaced_without_a_person() -> None:
    async with vault(1) as (config, printed):
        await log_in(config, Browser())
        first = Tokens(config.url).path.read_text()
        await asyncio.sleep(1.2)
        await connected(config, reads_the_secret)
        assert await printed.readline() == b"refreshed\n"
        assert Tokens(config.url).path.read_text() != first


async def test_a_login_that_is_refused_or_not_made_keeps_nothing() -> None:
    async with vault(3600) as (config, _):
        refusal = Browser(lambda address: back(address, "error=access_denied&error_description=not%20today"))
        with pytest.raises(ToolError, match="refused: not today"):
            await log_in(config, refusal)
        with pytest.raises(ToolError, match="nobody logged in within 1 seconds"):
            await log_in(config, lambda address: None, seconds=1.0)
        assert not Tokens(config.url).path.exists()


async def test_a_visitor_from_another_login_neither_ends_this_one_nor_is_taken() -> None:
    async with vault(3600) as (config, _):
        forged: list[int] = []

        def visit(address: str) -> str:
            for answer in ("code=stolen&state=of-another-question", "error=access_denied", "code=stolen"):
                with pytest.raises(urllib.error.HTTPError) as said:
                    urllib.request.urlopen(f"{parse_qs(urlsplit(address).query)['redirect_uri'][0]}?{answer}")
                forged.append(said.value.code)
            return address

        assert await log_in(config, Browser(visit)) == 1
        assert forged == [403, 403, 403]


async def test_a_visit_may_arrive_in_pieces_and_beside_visitors_that_say_nonsense_or_nothing() -> None:
    async with Callback() as callback:
        callback.expect("https://vault.example/login?state=ours")
        port = urlsplit(callback.address).port
        silent = await asyncio.open_connection("127.0.0.1", port)
        assert (await visit(port, b"\x16\x03\x01 hello\r\n\r\n")).startswith(b"HTTP/1.0 400")
        head = await visit(port, b"HEAD /callback?code=x&state=ours HTTP/1.1\r\nHost: x\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 404")
        parts = (b"GET /callback?co", b"de=a%20b&state=ours HTTP/1.1\r\nHost: x\r\nAcc", b"ept: */*\r\n\r\n")
        page = await visit(port, *parts)
        assert page.startswith(b"HTTP/1.1 200")
        assert b"You can close this page" in page
        assert (await callback.answer()).code == "a b"
        silent[1].close()


async def visit(port: int | None, *parts: bytes) -> bytes:
    """What is answered to a request that arrives in these parts."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in parts:
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0.01)
    answer = await reader.read()
    writer.close()
    return answer


async def test_what_a_server_says_of_a_failed_login_is_not_written_over_the_screen(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("", "mcp", "httpx2", "httpcore2"):  # as in a fresh process, where nobody listens to the log
        monkeypatch.setattr(logging.getLogger(name), "handlers", [])
    async with hostile_server() as config:
        with pytest.raises(ToolError, match="the login failed"):
            await log_in(config, Browser(lambda address: back(address, "code=x")))
    assert "\x1b" not in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    "page", ["http://login.example/", "http://127.0.0.1.example/", "http://localhost@login.example/", "file:///x"]
)
def test_a_page_to_log_in_at_is_encrypted_or_on_this_machine(page: str) -> None:
    with pytest.raises(ToolError, match="vault gave"):
        check_page("vault", page)
    for fine in ("https://login.example/", "http://127.0.0.1:80/", "http://[::1]/", "http://localhost:9/"):
        check_page("vault", fine)


async def test_a_login_that_is_kept_in_another_form_is_none() -> None:
    tokens = Tokens("https://vault.example")
    tokens.path.parent.mkdir(parents=True)
    wrong = {
        "tokens": {"access_token": ["secret"]},
        "client": {"client_id": 1},
        "ends": "x",
        "metadata": [],
        "resource": 3,
    }
    tokens.path.write_text(json.dumps(wrong))
    kept = Tokens("https://vault.example")
    assert await kept.get_tokens() is None
    assert await kept.get_client_info() is None
    provider_of(ServerConfig("vault", url="https://vault.example"), kept)


def back(address: str, answer: str) -> str:
    """Where the browser would be sent, with another answer to the same question."""
    asked = parse_qs(urlsplit(address).query)
    return f"{asked['redirect_uri'][0]}?{answer}&state={asked['state'][0]}"


@asynccontextmanager
async def hostile_server() -> AsyncIterator[ServerConfig]:
    """A server that asks for a login, and then refuses the code with bytes that a terminal obeys."""
    answers = {
        "/mcp": ("401 Unauthorized", ""),
        "/register": ("201 Created", '{"client_id": "x", "redirect_uris": ["http://127.0.0.1/callback"]}'),
        "/token": ("400 Bad Request", "\x1b]0;owned\x07"),
    }

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
        await reader.readexactly(int(length[1]) if length else 0)
        status, body = answers.get(head.split(" ")[1], ("404 Not Found", ""))
        kind = "Content-Type: application/json\r\nConnection: close"
        writer.write(f"HTTP/1.1 {status}\r\n{kind}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield ServerConfig("vault", url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp")
