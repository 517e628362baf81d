"""What servers send to fill a memory or to last forever ends in an error that says so, and what is fine comes whole."""

from __future__ import annotations

import asyncio
import gzip
import socket
import zlib
from collections.abc import Awaitable, Callable

import psutil
import pytest

from gptoss_tui.tools.net import bodies
from gptoss_tui.tools.net.errors import (
    FetchError,
    StatusError,
    TooLargeError,
    TooSlowError,
    UnreachableError,
    UnreadableError,
)
from gptoss_tui.tools.net.fetch import Fetched, fetch
from gptoss_tui.tools.net.urls import parse_web_url
from tests.tools.net.servers import Site, response

MEBI = 1 << 20
ZEROS = bytes(64 * MEBI)
Writes = Callable[[asyncio.StreamWriter], Awaitable[None]]


async def get(site: Site, path: str = "/", **changes: object) -> Fetched:
    return await fetch(parse_web_url(site.url(path), ports=None), site.policy(**changes))


def packed(*names: str, body: bytes = ZEROS) -> bytes:
    """A response whose body is packed with each of the encodings in turn."""
    for name in names:
        raw = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        forms = {
            "gzip": lambda data: gzip.compress(data, 9),
            "deflate": lambda data: zlib.compress(data, 9),
            "raw": lambda data, raw=raw: raw.compress(data) + raw.flush(),
        }
        body = forms[name](body)
    header = ", ".join("deflate" if name == "raw" else name for name in names)
    return response(200, body, {"Content-Type": "text/plain", "Content-Encoding": header})


@pytest.mark.parametrize("names", [("gzip",), ("deflate",), ("raw",), ("gzip", "gzip"), ("deflate", "gzip")])
async def test_packed_bodies_come_whole(site: Site, names: tuple[str, ...]) -> None:
    text = b"a text of some length, " * 40_000
    site.answers["/"] = packed(*names, body=text)
    assert (await get(site)).body == text


@pytest.mark.parametrize("names", [("gzip",), ("deflate",), ("raw",), ("gzip", "gzip"), ("deflate", "gzip")])
async def test_bombs_do_not_go_off(site: Site, names: tuple[str, ...]) -> None:
    site.answers["/"] = packed(*names)
    before = psutil.Process().memory_info().rss
    with pytest.raises(TooLargeError, match="10 MiB"):
        await get(site)
    assert psutil.Process().memory_info().rss - before < 64 * MEBI


async def test_what_is_unpacked_comes_in_small_pieces() -> None:
    """Other tasks run in between: one chunk of a bomb does not stop the program."""
    turns = 0
    done = False

    async def count() -> None:
        nonlocal turns
        while not done:
            turns += 1
            await asyncio.sleep(0)

    async def chunks() -> object:
        yield gzip.compress(bytes(8 * MEBI), 9)

    other = asyncio.create_task(count())
    assert len(await bodies.read_body(chunks(), ["gzip"], 10 * MEBI)) == 8 * MEBI  # type: ignore[arg-type]
    done = True
    await other
    assert turns >= 8 * MEBI // (1 << 18)


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, br", "gzip, gzip, gzip", "x" * 500, "gzip;q=1"])
async def test_encodings_that_were_not_asked_for(site: Site, encoding: str) -> None:
    site.answers["/"] = response(200, b"\x1b\x00", {"Content-Encoding": encoding})
    with pytest.raises(UnreadableError, match="which is not read"):
        await get(site)


@pytest.mark.parametrize(
    "body", [b"not packed at all", gzip.compress(b"x" * 999, mtime=0)[:-20] + b"?" * 20, b"\x1f\x8b\x08\xff"]
)
async def test_bodies_that_are_not_what_they_say(site: Site, body: bytes) -> None:
    site.answers["/"] = response(200, body, {"Content-Encoding": "gzip"})
    try:
        found = await get(site)
    except UnreadableError:
        return
    assert len(found.body) < 999, "at most what came before the damage"


async def endless(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
    while True:
        writer.write(bytes(MEBI))
        await writer.drain()


async def endless_chunks(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
        await writer.drain()


async def endless_head(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(100_000):
        writer.write(b"X-Header-%d: value\r\n" % number)
        await writer.drain()
    writer.write(b"\r\n")


async def long_header(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nX: " + b"x" * MEBI + b"\r\n\r\n")
    await writer.drain()


async def early_hints(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n")
        await writer.drain()


async def drip_body(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    await drip(writer)


async def drip_head(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nX: ")
    await drip(writer)


async def drip(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


async def silence(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


ENDLESS: list[tuple[Writes, type[FetchError]]] = [
    (endless, TooLargeError),
    (endless_chunks, TooLargeError),
    (endless_head, UnreachableError),
    (long_header, UnreachableError),
    (early_hints, TooSlowError),
    (drip_body, TooSlowError),
    (drip_head, TooSlowError),
    (silence, TooSlowError),
]


@pytest.mark.parametrize(("writes", "error"), ENDLESS, ids=lambda value: getattr(value, "__name__", ""))
async def test_what_does_not_end_is_ended(site: Site, writes: Writes, error: type[FetchError]) -> None:
    site.answers["/"] = writes
    before = psutil.Process().memory_info().rss
    with pytest.raises(error):
        await get(site, seconds=1.0 if error is TooSlowError else 30.0)
    assert psutil.Process().memory_info().rss - before < 64 * MEBI


GARBAGE = [
    b"",
    b"\r\n\r\n",
    b"\x00" * 400,
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nx",
    b"HTTP/1.1 200 OK\r\nContent-Length: ten\r\n\r\nx",
    b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nshort",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nx\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort",
    b"HTTP/9.9 200 OK\r\n\r\n",
    b"HTTP/1.1 2000 OK\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
]


@pytest.mark.parametrize("garbage", GARBAGE)
async def test_garbage_is_an_error(site: Site, garbage: bytes) -> None:
    site.answers["/"] = garbage
    with pytest.raises(FetchError):
        await get(site, seconds=2.0)


@pytest.mark.parametrize("status", [204, 206, 304, 400, 401, 403, 404, 410, 429, 500, 503])
async def test_statuses_are_errors_that_say_so(site: Site, status: int) -> None:
    site.answers["/"] = response(status, b"" if status in (204, 304) else b"sorry", {"Retry-After": "7"})
    with pytest.raises(StatusError, match=str(status)) as raised:
        await get(site)
    assert (raised.value.status, raised.value.retry_after) == (status, 7.0)


async def test_a_redirect_without_a_place_is_an_error(site: Site) -> None:
    site.answers["/"] = response(302, b"")
    with pytest.raises(StatusError, match="302"):
        await get(site)


async def test_nothing_is_remembered_or_told(site: Site) -> None:
    site.answers["/set"] = response(302, b"", {"Location": "/get?x", "Set-Cookie": "a=b"})
    site.page("/get", "hello", "text/html; charset=koi8-r")
    found = await get(site, "/set")
    assert (found.url.text, found.content_type, found.charset) == (site.url("/get?x"), "text/html", "koi8-r")
    for _, _, headers, _ in site.requests:
        assert not {"cookie", "referer", "authorization", "origin"} & set(headers)
        assert headers["accept-encoding"] == "gzip, deflate"


async def test_a_port_where_nobody_listens(site: Site) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    policy = site.policy(refusal=lambda address, port: None)
    with pytest.raises(UnreachableError):
        await fetch(parse_web_url(f"http://www.site.test:{port}/", ports=None), policy)


async def test_cancelling_closes_the_connection(site: Site) -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def wait_for_end(writer: asyncio.StreamWriter) -> None:
        asked.set()
        try:
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.01)
        finally:
            gone.set()

    site.answers["/"] = wait_for_end
    task = asyncio.create_task(get(site))
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await gone.wait()


async def test_names_in_other_scripts(site: Site) -> None:
    site.page("/", "hello")
    assert (await fetch(parse_web_url(site.url("/", "bücher.site.test"), ports=None), site.policy())).body == b"hello"
    assert site.requests[0][2]["host"] == f"xn--bcher-kva.site.test:{site.port}"
