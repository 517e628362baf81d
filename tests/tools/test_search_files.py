"""`search_files` finds lines, and ends."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from gptoss_tui.errors import ToolError
from gptoss_tui.tools import search_files
from gptoss_tui.tools.base import Workspace
from gptoss_tui.tools.search_files import SearchFilesCall, SearchFilesTool
from tests.tools.calls import call

CATASTROPHE = '{"pattern": "(x+x+)+y$", "path": "evil.txt"}'


@pytest.fixture
def tool(workspace: Workspace) -> SearchFilesTool:
    return SearchFilesTool(workspace)


async def test_matches_in_files_that_are_not_ignored(tool: SearchFilesTool) -> None:
    assert await call(tool, "hello") == "README.md:3: hello world\nkeep.log:1: hello\nsrc/app.py:5:     print('hello')"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ('{"pattern": "^import", "path": "src"}', "src/app.py:1: import os"),
        ('{"pattern": "VALUE", "path": "src/util.py"}', "src/util.py:1: VALUE = 1"),
        ('{"pattern": "(?i)value\\\\s*=\\\\s*\\\\d$"}', "src/util.py:1: VALUE = 1"),
        ('{"pattern": "no such thing"}', "[no matches]"),
        ('{"pattern": "hello", "path": "build/out.txt"}', "build/out.txt:1: hello"),
    ],
)
async def test_patterns_and_paths(tool: SearchFilesTool, arguments: str, text: str) -> None:
    assert await call(tool, arguments) == text


async def test_many_matches_are_counted(tool: SearchFilesTool, root: Path) -> None:
    (root / "many.txt").write_text("needle\n" * (search_files.MAX_MATCHES + 5))
    lines = (await call(tool, "needle")).split("\n")
    assert len(lines) == search_files.MAX_MATCHES + 1
    assert lines[-1] == "[5 more not shown]"


async def test_long_lines_are_cut(tool: SearchFilesTool, root: Path) -> None:
    (root / "wide.txt").write_text("needle" + "x" * 10_000)
    assert len(await call(tool, "needle")) < search_files.MAX_LINE + 30


async def test_a_catastrophic_pattern_ends_and_the_loop_stays_alive(
    tool: SearchFilesTool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_files, "_SECONDS", 0.5)
    (root / "evil.txt").write_text("x" * 5000)
    search = asyncio.ensure_future(call(tool, CATASTROPHE))
    turns = 0
    while not search.done():
        await asyncio.sleep(0.01)
        turns += 1
    with pytest.raises(ToolError, match="simpler pattern"):
        await search
    assert turns >= 3, "the search held the event loop"


class Paused:
    """A pattern that matches no line and takes its time for the first."""

    pattern = "a"

    def __init__(self) -> None:
        self.began, self.goes_on, self.lines = threading.Event(), threading.Event(), 0

    def search(self, line: str, **options: object) -> None:
        self.lines += 1
        self.began.set()
        self.goes_on.wait()


async def test_cancelling_a_search_stops_its_thread(tool: SearchFilesTool, root: Path) -> None:
    (root / "lines.txt").write_text("a\n" * 3)
    prepared = await tool.prepare('{"pattern": "a", "path": "lines.txt"}')
    assert isinstance(prepared, SearchFilesCall)
    pattern = Paused()
    search = asyncio.ensure_future(replace(prepared, pattern=pattern).run(lambda text: None))  # type: ignore[arg-type]
    await asyncio.to_thread(pattern.began.wait)
    search.cancel()
    with pytest.raises(asyncio.CancelledError):
        await search
    pattern.goes_on.set()
    await asyncio.get_running_loop().shutdown_default_executor()
    assert pattern.lines == 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("", "the argument pattern is missing"),
        ('{"pattern": ""}', "must have 1 to"),
        ('{"pattern": "f("}', r"not a regular expression .*plain text, send 'f\\\\\('"),
        ('{"pattern": "((a{1000}){1000}){1000}"}', "repeat counts"),
        ('{"pattern": "' + "x" * 1001 + '"}', "must have 1 to"),
        ('{"pattern": "x", "path": "nowhere"}', "there is no such file or folder"),
        ('{"pattern": "x", "path": "app.py"}', r"Did you mean src/app\.py\?"),
        ('{"pattern": "x", "path": "data.bin"}', "binary"),
        ('{"pattern": "hello", "path": ".."}', r"'\.\.' is not allowed"),
        ('{"pattern": "hello", "path": "/"}', "outside the workspace"),
    ],
)
async def test_refusals(tool: SearchFilesTool, arguments: str, reason: str) -> None:
    with pytest.raises(ToolError, match=reason):
        await call(tool, arguments)


async def test_links_are_searched_once_and_never_outside(tool: SearchFilesTool, root: Path) -> None:
    (root / "again").symlink_to("README.md")
    (root / "out").symlink_to(root.parent)
    (root / "secret").symlink_to(root.parent / "secret.txt")
    assert await call(tool, "world|secret") == "README.md:3: hello world"


async def test_a_call_is_shown_and_needs_no_approval(tool: SearchFilesTool) -> None:
    prepared = await tool.prepare('{"pattern": "a.b", "path": "src"}')
    assert prepared.summary == "search_files a.b in src"
    assert prepared.effect is None
