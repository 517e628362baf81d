"""What a program changed in a workspace: what can be taken back, what is missed, and what is left alone."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from gptoss_tui.tools.watch import Bounds, Changes, Watch
from gptoss_tui.undo import UndoStore
from tests.patch.test_scenarios import snapshot


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "w"
    (root / "src").mkdir(parents=True)
    (root / "a.txt").write_text("one\n")
    (root / "src/b.bin").write_bytes(bytes(range(256)))
    (root / "gone.txt").write_text("x\n")
    (root / ".gitignore").write_text("*.log\nsecret\n")
    (root / "old.log").write_text("log\n")
    (root / "secret").write_text("key\n")
    return root


def changed(root: Path, script: str, bounds: Bounds | None = None) -> Changes:
    """What `script` did."""
    watch = Watch(root, bounds or Bounds())
    watch.look()
    subprocess.run(["bash", "-ec", script], cwd=root, check=True)
    return watch.changes()


@pytest.mark.parametrize(
    ("script", "paths"),
    [
        ("true", ()),
        ("cat a.txt; touch a.txt", ()),
        ("echo two >> a.txt", ("a.txt",)),
        ("printf 'ONE\\n' > a.txt", ("a.txt",)),
        ("rm gone.txt", ("gone.txt",)),
        ("mkdir -p x/y; echo n > x/y/n.txt", ("x/y/n.txt",)),
        ("mv a.txt z.txt", ("a.txt", "z.txt")),
        ("printf '\\377' > src/b.bin; sed -i s/x/y/ gone.txt", ("gone.txt", "src/b.bin")),
        ("rm -r src", ("src/b.bin",)),
        ("echo more > old.log; echo more > new.log", ()),
        ("cp a.txt b.txt; cp -p a.txt b.txt", ("b.txt",)),
        ("git init -q . 2>/dev/null || mkdir .git; echo x > .git/x", ()),
        ("chmod 600 a.txt", ()),
        ("ln -s a.txt link", ()),
    ],
)
def test_what_changed_is_taken_back_and_made_again(
    root: Path, tmp_path: Path, script: str, paths: tuple[str, ...]
) -> None:
    before = without_git(root)
    found = changed(root, script)
    assert (found.paths, found.missed, found.cut) == (paths, (), False)
    if not paths:
        return
    after = without_git(root)
    store = UndoStore(root, tmp_path / "state")
    store.begin("turn")
    store.note(found.writes, found.folders)
    assert store.undo("turn").done
    assert without_git(root) == before
    assert not (root / "x").exists()
    assert store.redo("turn").done
    assert without_git(root) == after


def without_git(root: Path) -> dict[str, tuple[str, bytes | str]]:
    return {name: what for name, what in snapshot(root).items() if not name.startswith(".git/")}


@pytest.mark.parametrize("script", ["rm .gitignore", "echo > .gitignore", "echo '*' > .gitignore"])
def test_what_only_came_into_view_or_out_of_it_was_not_made_and_not_removed(root: Path, script: str) -> None:
    for path in root.rglob("*"):
        os.utime(path)  # their inodes were changed before the look, as far as the clock tells
    watch = Watch(root)
    watch.look()
    view = watch._view
    watch._view = type(view)(view.files, view.cut, view.began + 200_000_000)  # they are older than its slack
    subprocess.run(["bash", "-ec", script], cwd=root, check=True)
    assert set(watch.changes().paths) <= {".gitignore"}


def test_what_is_too_large_or_too_much_is_named(root: Path) -> None:
    (root / "big.bin").write_bytes(bytes(3000))
    bounds = Bounds(file=2000)
    found = changed(root, "echo >> big.bin; head -c 4000 /dev/zero > new.bin; echo x >> a.txt", bounds)
    assert (found.paths, found.missed) == (("a.txt",), ("big.bin", "new.bin"))
    found = changed(root, "echo y >> a.txt; echo y >> src/b.bin", Bounds(total=40))
    assert (found.paths, found.missed) == (("a.txt",), ("src/b.bin",))


def test_a_file_of_two_names_is_not_kept(root: Path) -> None:
    (root / "same.txt").hardlink_to(root / "a.txt")
    found = changed(root, "echo x >> a.txt")
    assert (found.paths, found.missed) == ((), ("a.txt", "same.txt"))


def test_a_workspace_that_is_too_large_to_be_seen_takes_nothing_for_new(root: Path) -> None:
    found = changed(root, "echo x > aa.txt; echo x >> a.txt", Bounds(entries=3))
    assert found.cut
    assert found.paths == ("a.txt",)


def test_what_did_not_change_is_not_read_again(root: Path) -> None:
    watch = Watch(root)
    watch.look()
    first = watch._view.files["src/b.bin"]
    (root / "a.txt").write_text("other\n")
    watch.changes()
    assert watch._view.files["src/b.bin"] is first


def test_a_workspace_that_is_gone_is_no_error(root: Path) -> None:
    watch = Watch(root)
    watch.look()
    root.rename(root.with_name("elsewhere"))
    assert watch.changes() == Changes(cut=True)
