"""`list_files` sees what git would see."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gptoss_tui.errors import ToolError
from gptoss_tui.tools import list_files
from gptoss_tui.tools.base import Workspace
from gptoss_tui.tools.list_files import ListFilesTool
from tests.tools.calls import call


@pytest.fixture
def tool(workspace: Workspace) -> ListFilesTool:
    return ListFilesTool(workspace)


@pytest.mark.parametrize("arguments", ["", "{}", ".", '{"path": ""}', '{"path": "./"}'])
async def test_everything_that_is_not_ignored(tool: ListFilesTool, visible: list[str], arguments: str) -> None:
    assert (await call(tool, arguments)).split("\n") == visible


@pytest.mark.parametrize(
    ("arguments", "paths"),
    [
        ('{"pattern": "*.py"}', ["src/app.py", "src/util.py"]),
        ('{"pattern": "src/*.py"}', ["src/app.py", "src/util.py"]),
        ('{"pattern": "**/app.*"}', ["src/app.py"]),
        ('{"pattern": "/*.md"}', ["README.md"]),
        ('{"path": "src", "pattern": "/*.py"}', ["src/app.py", "src/util.py"]),
        ('{"path": "src"}', ["src/.gitignore", "src/app.py", "src/special.log", "src/top.txt", "src/util.py"]),
        ("README.md", ["README.md"]),
        ('{"pattern": "*.nothing"}', ["[no files]"]),
    ],
)
async def test_patterns_and_folders(tool: ListFilesTool, arguments: str, paths: list[str]) -> None:
    assert (await call(tool, arguments)).split("\n") == paths


async def test_an_ignored_folder_that_is_asked_for_by_name_is_listed(tool: ListFilesTool) -> None:
    assert await call(tool, "build") == "build/out.txt"


async def test_broken_lines_of_a_gitignore_do_not_spoil_the_others(tool: ListFilesTool, root: Path) -> None:
    (root / ".gitignore").write_bytes(b"\xff\n[z-a]\nx\\\n!\nsrc/\n*a*a*a*a*a*a*a*a*a\n*.log\n")
    listed = (await call(tool, "")).split("\n")
    assert "README.md" in listed
    assert not [path for path in listed if path.startswith("src/") or path.endswith(".log")]


async def test_an_empty_workspace(tmp_path: Path) -> None:
    assert await call(ListFilesTool(Workspace(tmp_path)), "") == "[no files]"


async def test_many_files_are_listed_one_level_at_a_time(tool: ListFilesTool, root: Path, visible: list[str]) -> None:
    for folder in ("many/a", "many/b"):
        (root / folder).mkdir(parents=True)
        for i in range(list_files.MAX_PATHS // 2 + 1):
            (root / folder / f"{i:04}.txt").touch()
    top = [path for path in visible if "/" not in path]
    assert sorted((await call(tool, "")).split("\n")) == sorted([*top, "many/", "src/"])
    assert await call(tool, "many") == "many/a/\nmany/b/"
    shown = (await call(tool, '{"pattern": "0*.txt"}')).split("\n")
    assert len(shown) == list_files.MAX_PATHS + 1
    assert shown[-1] == "[2 more not shown]"


async def test_links_inside_are_listed_and_folders_behind_them_not_entered(tool: ListFilesTool, root: Path) -> None:
    (root / "file-link").symlink_to("README.md")
    (root / "folder-link").symlink_to("src")
    (root / "out").symlink_to(root.parent)
    (root / "dangling").symlink_to("nowhere")
    (root / "loop").symlink_to("loop")
    listed = (await call(tool, "")).split("\n")
    assert [path for path in listed if "link" in path] == ["file-link", "folder-link/"]
    assert not {"out", "out/", "dangling", "loop"} & set(listed)


async def test_names_that_cannot_be_sent_are_left_out(tool: ListFilesTool, root: Path, visible: list[str]) -> None:
    (root / "new\nline").touch()
    (root / "esc\x1b[2J").touch()
    os.close(os.open(bytes(root) + b"/bad\xff", os.O_CREAT))
    assert (await call(tool, "")).split("\n") == visible


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("nowhere", "there is no such folder"),
        ("../", r"'\.\.' is not allowed"),
        ("/etc", "outside the workspace"),
        ('{"pattern": "a\\\\"}', "not a glob"),
        ('{"pattern": "[z-a]"}', "not a glob"),
        ('{"pattern": "*a*a*a*a*a*a*a*a*a"}', "more than 8 stars"),
        ('{"folder": "src"}', "unknown argument folder"),
    ],
)
async def test_refusals(tool: ListFilesTool, arguments: str, reason: str) -> None:
    with pytest.raises(ToolError, match=reason):
        await call(tool, arguments)


async def test_a_call_is_shown_and_needs_no_approval(tool: ListFilesTool) -> None:
    prepared = await tool.prepare('{"path": "src", "pattern": "*.py"}')
    assert prepared.summary == "list_files src *.py"
    assert prepared.effect is None
