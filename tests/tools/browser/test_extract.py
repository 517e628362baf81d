"""What servers send, as text: HTML without what surrounds it, PDF, plain text; and nothing that hangs or crashes."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptoss_tui.errors import ToolError
from gptoss_tui.tools.browser.backend import Document
from gptoss_tui.tools.browser.charset import decode
from gptoss_tui.tools.browser.extract import CUT_NOTE, MAX_TEXT, read_document
from gptoss_tui.tools.browser.extractor import Extractor
from gptoss_tui.tools.browser.links import MARK

URL = "https://h.org/docs/page"
SENTENCE = "The lantern burns for forty hours, and it can be <a href='/charge'>charged</a> from the sun in {n} hours. "
ARTICLE = f"""<!doctype html><html><head><title>The Lantern &amp; you</title></head><body>
<nav><ul><li><a href="/">Home</a></li><li><a href="/shop">Shop now</a></li></ul></nav>
<div class="cookie-banner">We value your privacy. Accept all cookies?</div>
<main><article><h1>The Lantern</h1>{"".join(f"<p>{SENTENCE.format(n=n)}</p>" for n in range(12))}
<h2>Table</h2><table><tr><th>Part</th><th>Price</th></tr><tr><td>Glass</td><td>9 euros</td></tr></table>
<pre><code>light()
    on()</code></pre></article></main>
<footer><a href="/imprint">Imprint</a> Copyright</footer></body></html>"""

Read = Callable[..., Awaitable[Document]]


def best(data: bytes | str, content_type: str = "text/html", charset: str = "", url: str = URL) -> Document:
    *_, document = read_document(data.encode() if isinstance(data, str) else data, content_type, charset, url)
    return document


@pytest.fixture
async def read(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Read]:
    """Reading as the browser does it: in a process. On a busy machine the better reading takes its time."""
    monkeypatch.setattr("gptoss_tui.tools.browser.extractor.BETTER_SECONDS", 60.0)
    extractor = await Extractor.start()

    async def read(data: bytes, content_type: str = "text/html", seconds: float = 60.0) -> Document:
        return await extractor.read(data, content_type=content_type, charset="", url=URL, seconds=seconds)

    yield read
    await extractor.close()


async def test_articles_lose_what_surrounds_them(read: Read) -> None:
    document = await read(ARTICLE.encode())
    assert document.title == "The Lantern & you"
    assert document.text.startswith(
        "# The Lantern\n\nThe lantern burns for forty hours, and it can be 【0†charged】 from"
    )
    assert document.links == ("https://h.org/charge",)
    assert "| Glass | 9 euros" in document.text
    assert "light()\n    on()" in document.text
    for rest in ("Shop now", "cookies", "Imprint"):
        assert rest not in document.text
        assert rest in document.source


def test_pages_of_links_are_kept_whole() -> None:
    page = "<title>Index</title>" + "".join(f"<li><a href='/{n}'>Entry {n}</a></li>" for n in range(80))
    document = best(page)
    assert document.links == tuple(f"https://h.org/{n}" for n in range(80))
    assert "【79†Entry 79】" in document.text


@pytest.mark.parametrize(
    ("data", "content_type", "url", "title", "text"),
    [
        ("a\r\nb 【1†L2】", "text/plain", URL, "page", "a\nb 〖1†L2〗"),
        ("# T\n\n[a](b.md)", "text/markdown", URL, "T", "# T\n\n【0†a】"),
        ("# T\n\n[a](b.md)", "text/plain", "https://h.org/README.md", "T", "# T\n\n【0†a】"),
        ('{"a": "[x](y)"}', "application/json", URL, "page", '{"a": "[x](y)"}'),
        ("<a><b>1</b></a>", "application/atom+xml", URL, "page", "<a><b>1</b></a>"),
        ("def f(): pass", "text/x-python", "https://h.org/f.py", "f.py", "def f(): pass"),
        ("<!DOCTYPE html><p>x", "", URL, "page", "x"),
        ("just text", "application/octet-stream", "https://h.org/", "h.org", "just text"),
        ("", "text/html", URL, "page", ""),
    ],
)
def test_kinds(data: str, content_type: str, url: str, title: str, text: str) -> None:
    document = best(data, content_type, url=url)
    assert (document.title, document.text) == (title, text)


@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0", "image/png"),
        (b"PK\x03\x04\0\0", "application/zip"),
        (b"\0\0\0 ftyp", "video/mp4"),
        (b"\x7fELF\0", ""),
        (b"\x7fELF\0", "text/plain"),
        (b"%PDF-1.7 and then nothing", "application/pdf"),
        (b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog /Pages 1 0 R >>\nendobj\ntrailer << /Root 1 0 R >>", "text/html"),
    ],
)
def test_what_is_no_document(data: bytes, content_type: str) -> None:
    with pytest.raises(ToolError):
        best(data, content_type)


def pdf(*texts: str) -> bytes:
    """A PDF with a page for each text."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b""]
    kids = []
    for text in texts:
        stream = f"BT /F1 12 Tf 72 700 Td ({text}) Tj ET".encode()
        number = len(objects) + 1
        kids.append(f"{number} 0 R")
        font = "<< /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >>"
        objects.append(f"<< /Type /Page /Parent 2 0 R /Resources {font} /Contents {number + 1} 0 R >>".encode())
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>".encode()
    out = bytearray(b"%PDF-1.4\n")
    places = []
    for number, content in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    return bytes(out + b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, start))


async def test_pdf(read: Read) -> None:
    document = await read(pdf("It burns for forty hours.", "Page two."), "application/pdf")
    assert document.title == "page"
    assert document.text == "[Page 1]\nIt burns for forty hours.\n\n[Page 2]\nPage two."


def test_pdf_without_text() -> None:
    with pytest.raises(ToolError, match="only pictures"):
        best(pdf(""), "application/pdf")


def test_damaged_pdf_is_read_or_refused() -> None:
    whole = pdf("It burns for forty hours.")
    chance = random.Random(7)
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 20)):
            damaged[chance.randrange(5, len(damaged))] = chance.randrange(256)
        try:
            best(bytes(damaged), "application/pdf")
        except ToolError:
            continue


@pytest.mark.parametrize(
    ("text", "encoding", "declared"),
    [
        ("größer", "utf-8", ""),
        ("größer", "utf-8", "utf-8"),
        ("größer", "utf-8-sig", "latin-1"),
        ("größer", "utf-16", ""),
        ("größer", "latin-1", "ISO-8859-1"),
        ("“größer”", "cp1252", "iso-8859-1"),
        ("<meta charset='shift_jis'>ランタン", "shift_jis", ""),
        ("<meta http-equiv=Content-Type content='text/html; charset=koi8-r'>фонарь", "koi8-r", "nonsense"),
        ("<?xml version='1.0' encoding='gb18030'?>灯笼", "gb18030", ""),
        ("<meta charset=utf-16>größer", "utf-8", ""),
        ("größer als Übermut und süßer als Äpfel, schöner, kühler, müder, böser", "cp1252", ""),
    ],
)
def test_charsets(text: str, encoding: str, declared: str) -> None:
    assert decode(text.encode(encoding), declared) == text


@pytest.mark.parametrize(
    "declared", ["utf-7", "punycode", "idna", "rot13", "hex", "unicode_escape", "x" * 500, "\0", "ä"]
)
def test_charsets_that_the_web_does_not_know(declared: str) -> None:
    assert decode(b"+ADw-b+AD4- plain", declared) == "+ADw-b+AD4- plain"


@given(st.binary(max_size=200), st.sampled_from(["", "utf-8", "utf-16", "gb18030", "iso-2022-jp", "euc-kr", "big5"]))
def test_any_bytes_are_some_text(data: bytes, declared: str) -> None:
    decode(data, declared)


def test_long_documents_are_cut() -> None:
    document = best("word " * MAX_TEXT, "text/plain")
    assert document.text.endswith(CUT_NOTE)
    assert len(document.text) < MAX_TEXT * 1.01
    assert max(map(len, document.text.split("\n"))) <= 4000


HOSTILE = {
    "deep": b"<div>" * 100_000,
    "deep-list": b"<ul><li>" * 50_000,
    "deep-table": b"<table><tr><td>" * 50_000,
    "many": b"<p>x</p>" * 100_000,
    "open": b"<a " * 100_000,
    "quotes": b"<a href='" * 100_000,
    "comments": b"<!--x" * 100_000,
    "entities": b"&amp" * 500_000,
    "spaces": b"<p>" + b" " * 3_000_000 + b"x",
    "one-line": b"<p>" + b"x" * 5_000_000,
    "tags": b"<" * 300_000,
    "links": b"".join(b"<a href='/%d'>l</a>" % n for n in range(30_000)),
    "long-links": b"<a href='/" + b"x" * 1_000_000 + b"'>l</a>" * 10,
    "bad-utf8": b"<p>" + b"\xff\xfe\xfd" * 500_000,
    "nulls": b"<p>" + b"\0" * 1_000_000,
    "doctype": b"<!DOCTYPE html [" + b"<!ENTITY a 'aaaaaaaaaa'>" * 10_000 + b"]><p>&a;",
    "billion": b"<?xml version='1.0'?><!DOCTYPE l [<!ENTITY a 'l'>"
    + b"".join(b"<!ENTITY a%d '&a%d;&a%d;'>" % (n + 1, n, n) for n in range(60))
    + b"]><l>&a60;</l>",
    "external": b"<?xml version='1.0'?><!DOCTYPE l [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><p>&a;</p>",
    "brackets": b"[" * 1_000_000,
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_pages_are_read_or_refused_in_time(read: Read, name: str) -> None:
    """Within the deadline that the process is given; and what comes out stays within its bounds."""
    try:
        document = await read(HOSTILE[name], seconds=4.0)
    except ToolError:
        return
    assert len(document.text) <= MAX_TEXT * 1.01
    assert "root:" not in document.text


async def test_a_process_that_hangs_is_ended(read: Read) -> None:
    extractor = await Extractor.start()
    os.kill(extractor._process.pid, signal.SIGSTOP)
    try:
        with pytest.raises(ToolError, match="takes too long"):
            await extractor.read(b"<p>x", content_type="text/html", charset="", url=URL, seconds=0.2)
    finally:
        await extractor.close()
    assert extractor._process.returncode == -signal.SIGKILL
    assert (await read(b"<p>x")).text == "x", "the next document has a process of its own"


async def test_a_process_that_dies_is_an_error(read: Read) -> None:
    extractor = await Extractor.start()
    extractor._process.kill()
    with pytest.raises(ToolError, match="cannot be read"):
        await extractor.read(b"<p>x", content_type="text/html", charset="", url=URL)
    await extractor.close()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_the_process_knows_nothing_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXA_API_KEY", "secret-key")
    extractor = await Extractor.start()
    try:
        environment = await asyncio.to_thread(Path(f"/proc/{extractor._process.pid}/environ").read_bytes)
        assert b"PYTHONPATH=" in environment
        assert b"secret-key" not in environment
    finally:
        await extractor.close()


PIECES = [b"<", b">", b"</", b"<p", b"<a href=", b"'", b'"', b"<table>", b"<td>", b"</div>", b"<!--", b"-->", b"<svg>"]
PIECES += [b"<script>", b"&#", b"&lt;", b"\xe2\x80", b"\0", b"<![CDATA[", b"]]>", b"<?xml", b"text ", b"<pre>", b"\n"]


@pytest.mark.parametrize("seed", range(4))
def test_any_html_is_some_text(seed: int) -> None:
    """Whatever it is: no error, and each mark has its link. `GPTOSS_TUI_PAGES=50000` tries so many."""
    chance = random.Random(seed)
    for _ in range(int(os.environ.get("GPTOSS_TUI_PAGES", "2000")) // 4):
        document = best(b"".join(chance.choices(PIECES, k=chance.randint(1, 60))))
        assert all(int(found[1]) < len(document.links) for found in MARK.finditer(document.text))
