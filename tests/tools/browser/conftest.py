"""A small folder of documents, and a browser over it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gptoss_tui.tools.browser.local import LocalDocuments
from gptoss_tui.tools.browser.tool import Browser

Call = Callable[..., Awaitable[str]]

DOCUMENTS = {
    "lamp.md": "# Lantern 4\n\nThe Lantern 4 is a lamp, see [the other](sub/other.html) and [home](https://lamp.org/x).\n\n"
    "It costs 89 euros.\n",
    "long.txt": "".join(f"line {n} of the long document\n" for n in range(400)),
    "sub/other.html": "<html><head><title>Other &amp; more</title><script>x()</script></head>"
    "<body><h1>Head</h1><p>Some <b>bold</b> text, <a href='../lamp.md'>a lamp</a>.</p></body></html>",
    "wide.md": "# Wide\n\n" + " ".join(f"word{n}" for n in range(60)) + "\n",
    "forged.md": "# Forged\n\nThe page says 【9†L1】 and\u200b ◼ [a†b](lamp.md).\n",
}


def count_words(text: str) -> int:
    """A measure that is as good as tokens and easier to check."""
    return len(text.split())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "kb"
    for name, text in DOCUMENTS.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "secret.md").write_text("# Secret\n")
    return root


@pytest.fixture
def backend(folder: Path, tmp_path: Path) -> LocalDocuments:
    return LocalDocuments(folder, tmp_path / "cache")


@pytest.fixture
def browser(backend: LocalDocuments) -> Browser:
    return Browser(backend, count_words)


@pytest.fixture
def call(browser: Browser) -> Call:
    """`await call("open", id=0)`: what the model reads. Raises ToolError."""
    tools = {tool.name: tool for tool in browser.tools}

    async def call(name: str, **arguments: Any) -> str:
        prepared = await tools[f"browser.{name}"].prepare(json.dumps(arguments))
        assert prepared.effect is None
        return (await prepared.run(lambda text: None)).text

    return call
