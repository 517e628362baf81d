"""No path leads out of a tree."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gptoss_tui import patch
from gptoss_tui.errors import PatchError
from gptoss_tui.patch.confine import PathError, Tree, is_protected


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    root = tmp_path / "root"
    (root / "dir/inner").mkdir(parents=True)
    (root / "dir/a.txt").write_text("a\n")
    (root / "abs").symlink_to(root / "dir")
    (root / "rel").symlink_to("dir/inner")
    (root / "dir/inner/up").symlink_to("../a.txt")
    (root / "chain").symlink_to("rel/up")
    (root / "out").symlink_to(tmp_path)
    (root / "climb").symlink_to("dir/../../secret.txt")
    (root / "loop").symlink_to("loop")
    (tmp_path / "secret.txt").write_text("secret\n")
    with Tree(root) as tree:
        yield tree


@pytest.mark.parametrize(
    ("raw", "resolved"),
    [
        (".", "."),
        ("./dir//a.txt", "dir/a.txt"),
        ("dir/", "dir"),
        ("abs/a.txt", "dir/a.txt"),
        ("rel/up", "dir/a.txt"),
        ("chain", "dir/a.txt"),
        ("rel/new.txt", "dir/inner/new.txt"),
        ("nowhere/at/all", "nowhere/at/all"),
        ("...", "..."),
        ("a..b/..c", "a..b/..c"),
        ("~name", "~name"),
        ("日本/é.txt", "日本/é.txt"),
    ],
)
def test_paths_inside(tree: Tree, raw: str, resolved: str) -> None:
    assert tree.resolve(raw) == resolved
    assert tree.resolve(f"{tree.root}/{raw}") == resolved


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "..",
        "../x",
        "dir/..",
        "/",
        "/etc/passwd",
        "~",
        "~/x",
        "out/secret.txt",
        "climb",
        "loop/x",
        "a\x00",
        "a\nb",
        "a\x7f",
        "\ud800",
        "x" * 300,
        "y/" * 3000,
        "/root-not",
        "out",
    ],
)
def test_paths_outside(tree: Tree, raw: str) -> None:
    with pytest.raises(PathError):
        tree.resolve(raw)


def test_a_sibling_with_the_same_prefix_is_outside(tree: Tree) -> None:
    with pytest.raises(PathError, match="outside the workspace"):
        tree.resolve(f"{tree.root}-other/x")


@pytest.mark.parametrize("path", ["abs/a.txt", "rel/up", "chain", "climb", "out/secret.txt", "loop"])
def test_unresolved_links_are_never_followed(tree: Tree, path: str) -> None:
    with pytest.raises(PathError):
        tree.read(path)


def test_reading_needs_a_regular_file_of_a_sane_size(tree: Tree) -> None:
    os.mkfifo(tree.root / "pipe")
    (tree.root / "big").write_bytes(b"x" * 100)
    assert tree.read("dir/a.txt")[0] == b"a\n"
    assert tree.read("big", limit=100)[0] == b"x" * 100
    for path, reason in [
        ("pipe", "named pipe"),
        ("dir", "folder"),
        ("none", "no such file"),
        ("dir/a.txt/x", "not a folder"),
    ]:
        with pytest.raises(PathError, match=reason):
            tree.read(path)
    with pytest.raises(PathError, match="larger than"):
        tree.read("big", limit=99)


def test_an_endless_device_is_not_read(tmp_path: Path) -> None:
    with Tree(Path("/dev")) as tree, pytest.raises(PathError, match="a device"):
        tree.read("zero")


@pytest.mark.parametrize(
    "path", [".git", ".git/config", "a/.GIT/x", ".Git./x", ".git /x", ".g\u200dit", "．git", ".git::$DATA"]
)
def test_git_is_protected_in_every_spelling(path: str) -> None:
    assert is_protected(path)


@pytest.mark.parametrize("path", [".gitignore", ".github/x", "git/x", "a.git/x", "dot.git", "GIT"])
def test_other_names_are_not_protected(path: str) -> None:
    assert not is_protected(path)


def test_a_folder_swapped_for_a_link_meanwhile_never_leads_out(tmp_path: Path) -> None:
    """An attacker swaps `dir` between a folder and a link to the outside while patches are planned and applied."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "dir").mkdir(parents=True)
    outside.mkdir()
    (outside / "a.txt").write_text("0\n")
    (root / "dir/a.txt").write_text("0\n")
    (root / "link").symlink_to(outside)
    done = threading.Event()

    def swap() -> None:
        names = [str(root / name) for name in ("dir", "spare", "link")]
        while not done.is_set():
            for source, target in [(0, 1), (2, 0), (0, 2), (1, 0)]:
                os.rename(names[source], names[target])

    attacker = threading.Thread(target=swap)
    attacker.start()
    try:
        for at in range(600):
            with contextlib.suppress(PatchError):
                text = f"*** Begin Patch\n*** Update File: dir/a.txt\n@@\n+{at}\n*** End of File\n*** End Patch"
                patch.apply(patch.plan(patch.parse(text), root))
        assert attacker.is_alive()
    finally:
        done.set()
        attacker.join()
    assert os.listdir(outside) == ["a.txt"]
    assert (outside / "a.txt").read_text() == "0\n"
