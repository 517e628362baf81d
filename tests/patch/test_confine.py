"""No path leads out of a tree."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gptoss_tui.patch import confine, kernel
from gptoss_tui.patch.confine import PathError, Tree
from tests.patch import race


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


@pytest.mark.parametrize("beneath", [True, False], ids=["openat2", "walk"])
def test_names_swapped_for_links_meanwhile_never_lead_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beneath: bool
) -> None:
    """A part of `python -m tests.patch.race`."""
    if not beneath:
        monkeypatch.setattr(confine, "open_beneath", lambda folder, path, flags: None)
    outcomes = race.run(tmp_path.resolve(), 300)
    assert outcomes["applied"] > 0
    assert outcomes["refused"] > 0


@pytest.mark.parametrize(
    "path",
    ["out", "out/root/dir", "rel", "out/secret.txt", "dir/../../secret.txt", "climb", "loop", "none/x", "dir/a.txt/x"],
)
def test_folders_are_opened_the_same_way_with_and_without_openat2(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    outcomes = []
    for beneath in (True, False):
        if not beneath:
            monkeypatch.setattr(confine, "open_beneath", lambda folder, path, flags: None)
        with pytest.raises(OSError) as caught, tree.folder(path):
            pass
        outcomes.append(caught.value.errno)
    links = (errno.ELOOP, errno.ENOTDIR, errno.EXDEV)
    assert outcomes[0] == outcomes[1] or (outcomes[0] in links and outcomes[1] in links)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux has openat2")
def test_the_kernel_refuses_links_and_ways_out(tree: Tree) -> None:
    root = os.open(tree.root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        inner = kernel.open_beneath(root, "dir/inner", os.O_RDONLY | os.O_DIRECTORY)
        if inner is None:
            pytest.skip("this kernel, or its filter, has no openat2")
        os.close(inner)
        for path, code in [("rel", errno.ELOOP), ("../secret.txt", errno.EXDEV), ("/etc", errno.EXDEV)]:
            with pytest.raises(OSError) as caught:
                kernel.open_beneath(root, path, os.O_RDONLY)
            assert caught.value.errno == code
    finally:
        os.close(root)
