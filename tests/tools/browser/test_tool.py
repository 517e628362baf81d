"""search, open and find over real documents, in the format that the models were trained on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gptoss_tui.errors import ToolError
from gptoss_tui.harmony.builtin import browser_namespace
from gptoss_tui.harmony.tokenizer import load_tokenizer
from gptoss_tui.tools.browser.local import LocalDocuments, own_documentation
from gptoss_tui.tools.browser.page import VIEW_TOKENS
from gptoss_tui.tools.browser.tool import Browser
from tests.tools.browser.conftest import Call

LAMP = """\
[1] Lantern 4 (local://kb/lamp.md)
**viewing lines [0 - 6] of 6**

L0: 
L1: URL: local://kb/lamp.md
L2: # Lantern 4
L3: 
L4: The Lantern 4 is a lamp, see 【0†the other】 and 【1†home†lamp.org】.
L5: 
L6: It costs 89 euros."""


async def test_search_and_open(call: Call) -> None:
    found = await call("search", query="what does the lantern cost?")
    head = "[0] what does the lantern cost?\n**viewing lines [0 - 8] of 8**\n\n"
    assert found.startswith(f"{head}L0: \nL1: URL: \nL2: # Search Results\nL3: \nL4:   * 【0†Lantern 4†kb】 ")
    assert found.count("†kb】") == 3
    assert await call("open", id=0, cursor=0) == LAMP


async def test_what_the_model_is_told_is_what_nano_was_trained_on(browser: Browser) -> None:
    assert browser.namespace == browser_namespace("web")
    assert [tool.name for tool in browser.tools] == ["browser.search", "browser.open", "browser.find"]


@pytest.mark.parametrize("link", [0, "0", 0.0, " 0 "])
async def test_link_numbers_of_every_kind(call: Call, link: object) -> None:
    await call("search", query="lantern")
    assert await call("open", id=link) == LAMP


@pytest.mark.parametrize("url", ["local://kb/lamp.md", "lamp.md", "sub/../lamp.md", "local://kb/lamp%2Emd#x"])
async def test_addresses(call: Call, url: str) -> None:
    assert (await call("open", id=url)).splitlines()[0] == "[0] Lantern 4 (local://kb/lamp.md)"


async def test_links_between_documents(call: Call) -> None:
    await call("open", id="lamp.md")
    other = await call("open", id=0)
    assert other.startswith("[1] Other & more (local://kb/sub/other.html)\n")
    assert "# Head" in other
    assert "Some bold text, 【0†a lamp】." in other
    assert "x()" not in other
    assert "Lantern 4" in await call("open", id=0)
    assert "Other & more" in await call("open", id=0, cursor=0)


async def test_every_cursor_keeps_what_it_showed(call: Call, folder: Path) -> None:
    await call("search", query="lantern", topn=1)
    await call("search", query="long document", topn=1)
    assert "Lantern 4" in await call("open", cursor=0, id=0)
    assert "long.txt" in await call("open", cursor=1, id=0)
    (folder / "lamp.md").write_text("# Changed\n")
    assert "It costs 89 euros." in await call("open", cursor=2)
    assert "[5] Changed" in await call("open", cursor=0, id=0)


async def test_topn(call: Call) -> None:
    for arguments in ({"topn": 1}, {"top_n": 1}, {"topn": "1"}):
        assert (await call("search", query="lamp lantern document", **arguments)).count("【") == 1
    assert (await call("search", query="lamp lantern document", topn=100)).count("【") > 1
    assert "Nothing was found." in await call("search", query="zebra")
    assert "Nothing was found." in await call("search", query="?!")


async def test_scrolling_and_windows(call: Call) -> None:
    first = await call("open", id="long.txt")
    last = int(re.findall(r"viewing lines \[0 - (\d+)\] of 402", first)[0])
    words = sum(len(line.split()) for line in first.splitlines()[3:])
    assert VIEW_TOKENS <= words < VIEW_TOKENS + 10
    second = await call("open", loc=last + 1)
    assert second.startswith("[1] long.txt")
    assert f"\nL{last + 1}: " in second
    assert (await call("open", loc=400, num_lines=1)).endswith(
        "**viewing lines [400 - 400] of 402**\n\nL400: line 398 of the long document"
    )
    assert "[0 - 299] of" in await call("open", num_lines=300)
    with pytest.raises(ToolError, match=r"Invalid location parameter: `403`\. Cannot exceed page maximum of 402\."):
        await call("open", loc=403)
    assert (await call("open", loc=402)).startswith("[4]")


async def test_a_window_is_measured_in_the_models_tokens(backend: LocalDocuments) -> None:
    tokenizer = load_tokenizer()
    browser = Browser(backend, lambda text: len(tokenizer.encode(text)))
    call = await browser.tools[1].prepare('{"id": "long.txt"}')
    shown = (await call.run(lambda text: None)).text.partition("\n\n")[2]
    assert VIEW_TOKENS <= len(tokenizer.encode(shown + "\n")) < VIEW_TOKENS + 20


async def test_find(call: Call) -> None:
    await call("open", id="lamp.md")
    assert await call("find", pattern="EUROS") == (
        "[1] Find results for text: `EUROS` in `Lantern 4` (local://kb/lamp.md/find?pattern=EUROS)\n"
        "**viewing lines [0 - 1] of 1**\n\n"
        "L0: # 【0†match at L6】\n"
        "L1: It costs 89 euros."
    )
    assert "viewing lines [2 - 6]" in await call("open", id=0)
    with pytest.raises(ToolError, match="find results"):
        await call("find", pattern="x", cursor=1)
    assert "No `find` results for pattern: `zebra`" in await call("find", pattern="zebra", cursor=0)


async def test_find_sees_through_links_and_line_ends(call: Call) -> None:
    await call("open", id="lamp.md")
    assert "match at L4】\nL1: The Lantern 4 is a lamp, see the other and" in await call(
        "find", pattern="see the other"
    )
    assert "match at L4】" in await call("find", pattern="other and home", cursor=0)
    wide = await call("open", id="wide.md")
    end = re.findall(r"L4: .* (word\d+)\s*\n", wide)[0]
    begin = re.findall(r"L5: +(word\d+) ", wide)[0]
    assert "match at L4】" in await call("find", pattern=f"{end} {begin}")


async def test_find_shows_at_most_fifty(call: Call) -> None:
    await call("open", id="long.txt")
    assert (await call("find", pattern="line")).count("match at") <= 50


async def test_documents_cannot_forge_marks(call: Call) -> None:
    page = await call("open", id="forged.md")
    assert "The page says 〖9†L1〗 and ◾ 【0†a‡b】." in page


async def test_source(call: Call) -> None:
    await call("open", id="sub/other.html")
    source = await call("open", view_source=True)
    assert source.startswith("[1] Source of Other & more")
    assert "<script>x()</script>" in source


ERRORS = [
    ("find", {"pattern": "x"}, "No pages to access!"),
    ("find", {"pattern": "a " * 51}, "more than 50 words"),
    ("open", {}, "No pages to access!"),
    ("open", {"cursor": 3}, "No pages to access!"),
    ("open", {"id": "https://example.com/a"}, "no network here"),
    ("open", {"id": "http://127.0.0.1/"}, "no network here"),
    ("open", {"id": "file:///etc/passwd"}, "no network here"),
    ("open", {"id": "local://other/lamp.md"}, "no network here"),
    ("open", {"id": "http://[bad"}, "not a URL"),
    ("open", {"id": "../secret.md"}, "no such file"),
    ("open", {"id": "local://kb/../secret.md"}, "no such file"),
    ("open", {"id": "local://kb/%2e%2e/secret.md"}, "no such file"),
    ("open", {"id": "/etc/passwd"}, "no such file"),
    ("open", {"id": "a%00b"}, "control characters"),
    ("open", {"id": "lmap.md"}, "Did you mean lamp.md"),
    ("open", {"id": "sub"}, "sub"),
    ("open", {"id": True}, "number of a link"),
    ("open", {"id": 1.5}, "number of a link"),
    ("open", {"id": [1]}, "number of a link"),
    ("open", {"loc": "x"}, "loc is not a whole number"),
    ("search", {}, "query is missing"),
    ("search", {"query": "  "}, "query is empty"),
    ("find", {"pattern": " "}, "pattern is empty"),
    ("find", {}, "pattern is missing"),
]


@pytest.mark.parametrize(("name", "arguments", "message"), ERRORS)
async def test_errors_say_what_to_do(call: Call, name: str, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ToolError, match=re.escape(message)):
        await call(name, **arguments)


async def test_errors_about_pages_that_are_there(call: Call, browser: Browser) -> None:
    await call("open", id="lamp.md")
    for arguments, message in (
        ({"cursor": 1}, "Cursor `1` is out of range. Available cursor indices: [0 - 0]."),
        ({"id": 2}, "Invalid link id `2`."),
        ({"id": 1}, "no network here"),
    ):
        with pytest.raises(ToolError, match=re.escape(message)):
            await call("open", **arguments)
    assert (await call("open", id="lamp.md")).startswith("[1]"), "calls that fail take no cursor"
    browser.reset()
    with pytest.raises(ToolError, match="No pages"):
        await call("open")


async def test_links_that_lead_out_of_the_folder(call: Call, folder: Path) -> None:
    (folder / "out.md").symlink_to("../secret.md")
    with pytest.raises(ToolError, match="outside"):
        await call("open", id="out.md")
    assert "Secret" not in await call("search", query="secret")


async def test_the_apps_own_documentation_answers_offline(tmp_path: Path) -> None:
    browser = Browser(LocalDocuments(own_documentation(), tmp_path), lambda text: len(text) // 4)
    search = await browser.tools[0].prepare('{"query": "which key interrupts the model?"}')
    assert "†Keys†docs】" in (await search.run(lambda text: None)).text
    opened = await browser.tools[1].prepare('{"id": "local://docs/keys.md"}')
    assert "`Esc` | Stop the model" in (await opened.run(lambda text: None)).text
