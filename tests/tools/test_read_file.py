"""`read_file` gives lines letter by letter, and nothing from outside."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gptoss_tui.errors import ToolError
from gptoss_tui.tools import read_file
from gptoss_tui.tools.base import Workspace
from gptoss_tui.tools.read_file import ReadFileTool
from tests.tools.calls import call, result


@pytest.fixture
def tool(workspace: Workspace) -> ReadFileTool:
    return ReadFileTool(workspace)


@pytest.mark.parametrize(
    "arguments", ["README.md", '{"path": "./README.md"}', '{"path": "README.md", "num_lines": "400"}']
)
async def test_a_whole_file(tool: ReadFileTool, arguments: str) -> None:
    assert await call(tool, arguments) == "[README.md: lines 1-3 of 3]\n# Title\n\nhello world"


async def test_a_range(tool: ReadFileTool) -> None:
    text = await call(tool, '{"path": "src/app.py", "start_line": 4, "num_lines": 1}')
    assert text == "[src/app.py: lines 4-4 of 5]\ndef main():"


async def test_an_absolute_path_inside(tool: ReadFileTool, root: Path) -> None:
    assert (await call(tool, f"{root}/src/util.py")).startswith("[src/util.py: lines 1-1 of 1]")


async def test_an_empty_file(tool: ReadFileTool) -> None:
    assert await call(tool, "empty.txt") == "[empty.txt: empty file]"


async def test_a_call_is_shown_and_needs_no_approval(tool: ReadFileTool) -> None:
    prepared = await tool.prepare('{"path": "src/app.py", "start_line": 3}')
    assert prepared.summary == "read_file src/app.py:3"
    assert prepared.effect is None


async def test_characters_are_exact(tool: ReadFileTool, root: Path) -> None:
    (root / "odd.txt").write_bytes("\ufefféé\r\n\ta\fb\u2028c \r\nlast".encode())
    assert await call(tool, "odd.txt") == "[odd.txt: lines 1-3 of 3]\néé\n\ta\fb\u2028c \nlast"


async def test_bytes_that_are_not_utf8_are_marked_one_by_one(tool: ReadFileTool, root: Path) -> None:
    (root / "latin.txt").write_bytes(b"caf\xe9\xe9\n")
    assert await call(tool, "latin.txt") == "[latin.txt: lines 1-1 of 1]\ncaf\ufffd\ufffd"


async def test_many_lines_are_cut_and_can_be_continued(tool: ReadFileTool, root: Path) -> None:
    total = read_file.MAX_LINES + 10
    (root / "long.txt").write_text("".join(f"{i}\n" for i in range(1, total + 1)))
    first = await result(tool, f'{{"path": "long.txt", "num_lines": {total}}}')
    assert first.text.startswith(f"[long.txt: lines 1-{read_file.MAX_LINES} of {total}]\n1\n")
    rest = await call(tool, f'{{"path": "long.txt", "start_line": {read_file.MAX_LINES + 1}}}')
    assert rest.endswith(f"\n{total}")
    assert rest.count("\n") == 10


async def test_wide_lines_are_cut_after_a_whole_line(tool: ReadFileTool, root: Path) -> None:
    (root / "wide.txt").write_text(("x" * 1000 + "\n") * 100)
    text = await call(tool, "wide.txt")
    assert text.startswith("[wide.txt: lines 1-63 of 100]\n")
    assert len(text) < read_file.MAX_CHARS + 100


async def test_one_endless_line_is_cut_and_says_so(tool: ReadFileTool, root: Path) -> None:
    (root / "min.js").write_text("x" * 100_000)
    assert (await call(tool, "min.js")).endswith("x [the line has 36000 more characters]")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("app.py", r"app\.py: there is no such file\. Did you mean src/app\.py\?"),
        ("src/ap.py", r"there is no such file\. Did you mean src/app\.py, src/util\.py\?"),
        ("zzz", "there is no such file$"),
        ("src", "src: it is a folder"),
        ("data.bin", "it is a binary file"),
        ("../secret.txt", r"'\.\.' is not allowed"),
        ("/etc/passwd", "outside the workspace"),
        ("~/.ssh/id_rsa", "home folder"),
        ("README.md/x", "not a folder"),
        ('{"path": "README.md", "start_line": 9}', "it has 3 lines, so there is no line 9"),
        ('{"path": "README.md", "start_line": 0}', "count from 1"),
        ('{"path": "README.md", "num_lines": -1}', "count from 1"),
        ('{"path": ""}', "the path is empty"),
    ],
)
async def test_refusals(tool: ReadFileTool, arguments: str, reason: str) -> None:
    with pytest.raises(ToolError, match=reason):
        await call(tool, arguments)


async def test_links_and_pipes(tool: ReadFileTool, root: Path) -> None:
    (root / "inside").symlink_to("src/util.py")
    (root / "outside").symlink_to(root.parent / "secret.txt")
    os.mkfifo(root / "pipe")
    assert await call(tool, "inside") == "[src/util.py: lines 1-1 of 1]\nVALUE = 1"
    with pytest.raises(ToolError, match="outside the workspace"):
        await call(tool, "outside")
    with pytest.raises(ToolError, match="named pipe"):
        await call(tool, "pipe")


async def test_a_huge_file_is_refused(tool: ReadFileTool, root: Path) -> None:
    with (root / "huge.txt").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ToolError, match="larger than 8192 KiB"):
        await call(tool, "huge.txt")
