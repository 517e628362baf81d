"""`edit_file`: what a model sends, what a person sees, what is written, what the model is told when it fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gptoss_tui.errors import ToolError
from gptoss_tui.tools.base import Workspace
from gptoss_tui.tools.edit_file import EditFileTool
from gptoss_tui.undo import UndoStore


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = (tmp_path / "root").resolve()
    root.mkdir()
    (root / "a.py").write_text("def f():\n    return 1\n\n\ndef g():\n    return 1\n")
    return root


def arguments(path: str, old: str, new: str, **more: object) -> str:
    return json.dumps({"path": path, "old_text": old, "new_text": new, **more})


async def edit(root: Path, *given: str, **more: object) -> str:
    """Prepare and run; the reply."""
    prepared = await EditFileTool(Workspace(root)).prepare(arguments(*given, **more))
    return (await prepared.run(lambda text: None)).text


@pytest.mark.parametrize(
    ("old", "new", "count", "content"),
    [
        (
            "def f():\n    return 1\n",
            "def f():\n    return 2\n",
            1,
            "def f():\n    return 2\n\n\ndef g():\n    return 1\n",
        ),
        ("return 1", "return 2", 2, "def f():\n    return 2\n\n\ndef g():\n    return 2\n"),
        ("f():\n    return 1", "F(): return 1", 1, "def F(): return 1\n\n\ndef g():\n    return 1\n"),
        ("def f():\n    return 1\n\n\n", "", 1, "def g():\n    return 1\n"),
        ("\n\n\ndef g", "\n\n\n\ndef G", 1, "def f():\n    return 1\n\n\n\ndef G():\n    return 1\n"),
        ("return 1\n\n\ndef g", "return 1; g", 1, "def f():\n    return 1; g():\n    return 1\n"),
        ("def ", "async def ", 2, "async def f():\n    return 1\n\n\nasync def g():\n    return 1\n"),
        ("return 1\n", "", 2, "def f():\n    \n\ndef g():\n    \n"),
        (
            "def g():\r\n    return 1",
            "def g():\r\n    return 3",
            1,
            "def f():\n    return 1\n\n\ndef g():\n    return 3\n",
        ),
    ],
)
async def test_replacing(root: Path, old: str, new: str, count: int, content: str) -> None:
    assert await edit(root, "a.py", old, new, count=count) == "Done!\nM a.py"
    assert (root / "a.py").read_text() == content


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
async def test_bytes_that_are_not_of_the_text_stay(root: Path, ending: str) -> None:
    data = f"\ufeffone{ending}zwei é{ending}three".encode()
    (root / "w.txt").write_bytes(data)
    (root / "w.txt").chmod(0o755)
    await edit(root, "w.txt", "zwei é\nth", "deux\nmore\nth")
    assert (root / "w.txt").read_bytes() == f"\ufeffone{ending}deux{ending}more{ending}three".encode()
    assert (root / "w.txt").stat().st_mode & 0o777 == 0o755


async def test_the_indentation_of_the_file_is_followed_and_shown(root: Path) -> None:
    prepared = await EditFileTool(Workspace(root)).prepare(
        arguments("a.py", "  def g():\n      return 1", "  def g():\n      x = 1\n      return x")
    )
    assert prepared.effect.warnings == ("a.py: place 1, line 5: matches the file but for indentation",)
    await prepared.run(lambda text: None)
    assert (root / "a.py").read_text().endswith("def g():\n    x = 1\n    return x\n")


async def test_unchanged_lines_keep_their_characters(root: Path) -> None:
    (root / "t.md").write_text("“quoted”\nold\n")
    await edit(root, "t.md", '"quoted"\nold\n', '"quoted"\nnew\n')
    assert (root / "t.md").read_text() == "“quoted”\nnew\n"


async def test_a_new_file(root: Path) -> None:
    assert await edit(root, "new/n.txt", "", "one\ntwo") == "Done!\nA new/n.txt"
    assert (root / "new/n.txt").read_text() == "one\ntwo\n"
    (root / "empty.txt").write_text("")
    assert await edit(root, "empty.txt", "", "x\n") == "Done!\nM empty.txt"
    assert (root / "empty.txt").read_text() == "x\n"


@pytest.mark.parametrize(
    ("path", "old", "new", "more", "advice"),
    [
        ("a.py", "return 1", "return 2", {}, "2 times (lines 2, 6), but count is 1"),
        ("a.py", "def f", "def h", {"count": 2}, "is in the file once (line 1), but count is 2"),
        ("a.py", "def h():", "x", {}, "The nearest place in the file is:\n1| def f():"),
        ("a.py", "nothing of the kind", "x", {}, "Nothing like them is in its 6 lines"),
        ("a.py", "", "x", {}, "old_text is empty, but the file has 6 lines"),
        ("a.py", "def f", "def f", {}, "changes nothing"),
        ("b.py", "x", "y", {}, "there is no such file. Files of a like name: a.py"),
        ("../a.py", "x", "y", {}, "'..' is not allowed"),
        ("a.py", "def f", "\ud800", {}, "lone surrogates"),
        ("a.py", "def f", "y", {"count": 0}, "count is at least 1"),
        ("a.py", "def f", "y", {"all": True}, "unknown argument all"),
    ],
)
async def test_errors_say_what_to_send(
    root: Path, path: str, old: str, new: str, more: dict[str, object], advice: str
) -> None:
    before = (root / "a.py").read_bytes()
    with pytest.raises(ToolError) as caught:
        await edit(root, path, old, new, **more)
    assert advice in caught.value.message
    assert (root / "a.py").read_bytes() == before


async def test_it_goes_through_the_undo_store(root: Path, tmp_path: Path) -> None:
    store = UndoStore(root, tmp_path / "state")
    before = (root / "a.py").read_bytes()
    prepared = await EditFileTool(Workspace(root), store.apply).prepare(arguments("a.py", "def f", "def F"))
    assert prepared.summary == "edit_file a.py"
    assert prepared.effect.kind == "edit"
    assert prepared.effect.paths == ("a.py",)
    assert "+def F():" in prepared.effect.preview
    await prepared.run(lambda text: None)
    assert store.undo().restored == ("a.py",)
    assert (root / "a.py").read_bytes() == before
