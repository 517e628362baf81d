"""Taking edits back and making them again, in any order, with and without later changes."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from gptoss_tui import patch
from gptoss_tui.errors import PatchError, UndoError
from gptoss_tui.undo import UndoStore
from tests.patch.test_scenarios import snapshot

LINES = [f"line {number}" for number in range(1, 21)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.txt").write_text("".join(f"{line}\n" for line in LINES))
    (root / "gone.txt").write_text("x\n")
    (root / "run.sh").write_text("echo a\n")
    (root / "run.sh").chmod(0o750)
    return root


@pytest.fixture
def store(root: Path, tmp_path: Path) -> UndoStore:
    return UndoStore(root, tmp_path / "state")


def apply(store: UndoStore, turn: str, body: str) -> None:
    store.begin(turn)
    store.apply(patch.plan(patch.parse(f"*** Begin Patch\n{body}\n*** End Patch"), store.root))


def change(line: int, text: str, path: str = "a.txt") -> str:
    return f"*** Update File: {path}\n@@\n-line {line}\n+{text}"


EVERYTHING = """\
*** Update File: a.txt
-line 3
+LINE 3
*** Add File: new/deep/n.txt
+n
*** Delete File: gone.txt
*** Update File: run.sh
*** Move to: bin/run.sh
-echo a
+echo b"""


def test_undo_and_redo_of_every_kind_of_change(root: Path, store: UndoStore) -> None:
    old = snapshot(root)
    apply(store, "1", EVERYTHING)
    new = snapshot(root)
    assert old != new
    report = store.undo("1")
    assert report.done
    assert sorted(report.restored) == ["a.txt", "bin/run.sh", "gone.txt", "new/deep/n.txt", "run.sh"]
    assert snapshot(root) == old
    assert not (root / "new").exists(), "folders that the turn made go with it"
    assert store.redo("1").done
    assert snapshot(root) == new
    assert stat.S_IMODE((root / "bin/run.sh").stat().st_mode) == 0o750
    assert store.undo("1").done
    assert snapshot(root) == old
    assert [turn.undone for turn in store.turns()] == [True]


def test_a_turn_of_several_patches_is_one(root: Path, store: UndoStore) -> None:
    old = snapshot(root)
    apply(store, "1", change(3, "first"))
    apply(store, "1", "*** Update File: a.txt\n@@\n-first\n+second")
    apply(store, "1", "*** Add File: n.txt\n+n")
    apply(store, "1", "*** Delete File: n.txt")
    (turn,) = store.turns()
    assert turn.paths == ("a.txt", "n.txt")
    assert store.undo("1").restored == ("a.txt",)
    assert snapshot(root) == old


def test_without_a_name_undo_takes_the_last_and_redo_what_was_undone_last(root: Path, store: UndoStore) -> None:
    states = [snapshot(root)]
    for number in (1, 2, 3):
        apply(store, str(number), change(3 if number == 1 else number * 5, f"turn {number}"))
        states.append(snapshot(root))
    for expected in (states[2], states[1], states[0]):
        assert store.undo().done
        assert snapshot(root) == expected
    with pytest.raises(UndoError, match="No edits are in force"):
        store.undo()
    for expected in states[1:]:
        assert store.redo().done
        assert snapshot(root) == expected
    with pytest.raises(UndoError, match="could be made again"):
        store.redo()


def test_turns_that_touch_other_lines_are_undone_in_any_order(root: Path, store: UndoStore) -> None:
    apply(store, "1", change(3, "three"))
    apply(store, "2", change(10, "ten"))
    apply(store, "3", change(17, "seventeen"))
    report = store.undo("1")
    assert report.merged == ("a.txt",)
    assert (root / "a.txt").read_text().splitlines() == [*LINES[:9], "ten", *LINES[10:16], "seventeen", *LINES[17:]]
    assert store.undo("3").merged == ("a.txt",)
    assert store.redo("1").merged == ("a.txt",)
    assert (root / "a.txt").read_text().splitlines() == [*LINES[:2], "three", *LINES[3:9], "ten", *LINES[10:]]
    assert store.undo("2").done
    assert store.undo("1").done
    assert (root / "a.txt").read_text().splitlines() == LINES


def test_a_conflict_writes_nothing_and_asks(root: Path, store: UndoStore) -> None:
    apply(store, "1", f"{change(3, 'three')}\n*** Add File: n.txt\n+n")
    apply(store, "2", "*** Update File: a.txt\n@@\n-three\n+drei")
    before = snapshot(root)
    report = store.undo("1")
    assert not report.done
    assert snapshot(root) == before
    (conflict,) = report.conflicts
    assert conflict.path == "a.txt"
    assert conflict.choices == ("keep", "restore", "merge")
    assert conflict.current is not None
    assert b"drei" in conflict.current
    assert conflict.expected is not None
    assert b"three" in conflict.expected
    assert conflict.wanted is not None
    assert b"line 3\n" in conflict.wanted


@pytest.mark.parametrize(
    ("choice", "lines"),
    [
        ("keep", [*LINES[:2], "drei", *LINES[3:]]),
        ("restore", LINES),
        ("merge", [*LINES[:2], "<<<<<<< now", "drei", "=======", "line 3", ">>>>>>> wanted", *LINES[3:]]),
    ],
)
def test_the_three_ways_out_of_a_conflict(root: Path, store: UndoStore, choice: str, lines: list[str]) -> None:
    apply(store, "1", f"{change(3, 'three')}\n*** Add File: n.txt\n+n")
    apply(store, "2", "*** Update File: a.txt\n@@\n-three\n+drei")
    before = snapshot(root)
    report = store.undo("1", {"a.txt": choice})  # type: ignore[dict-item]
    assert report.done
    assert (root / "a.txt").read_text().splitlines() == lines
    assert not (root / "n.txt").exists()
    assert report.kept == (("a.txt",) if choice == "keep" else ())
    assert store.redo("1").done
    assert snapshot(root) == before, "what a choice wrote can be taken back like everything else"


def test_files_that_a_person_changed_or_removed(root: Path, store: UndoStore) -> None:
    apply(store, "1", f"{EVERYTHING}\n*** Add File: mine.txt\n+ours")
    (root / "mine.txt").write_text("theirs\n")
    (root / "gone.txt").write_text("made again\n")
    (root / "bin/run.sh").unlink()
    before = snapshot(root)
    report = store.undo("1")
    assert {conflict.path: conflict.choices for conflict in report.conflicts} == {
        "gone.txt": ("keep", "restore"),
        "mine.txt": ("keep", "restore"),
    }
    assert snapshot(root) == before
    assert store.undo("1", {"gone.txt": "keep", "mine.txt": "restore"}).done
    assert (root / "gone.txt").read_text() == "made again\n"
    assert not (root / "mine.txt").exists()
    assert (root / "run.sh").read_text() == "echo a\n"


def test_check_writes_nothing(root: Path, store: UndoStore) -> None:
    apply(store, "1", EVERYTHING)
    before = snapshot(root)
    assert store.undo("1", check=True).done
    assert snapshot(root) == before
    assert store.undo("1").done


def test_links_and_folders_in_the_place_of_a_file_are_left_alone(root: Path, store: UndoStore, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/n.txt").write_text("n\n")
    apply(store, "1", "*** Add File: sub/n.txt\n+n\n*** Delete File: gone.txt")
    (root / "gone.txt").mkdir()
    (root / "sub/n.txt").unlink()
    (root / "sub").rmdir()
    (root / "sub").symlink_to(tmp_path / "outside")
    report = store.undo("1")
    assert {conflict.path: conflict.choices for conflict in report.conflicts} == {
        "sub/n.txt": ("keep",),
        "gone.txt": ("keep",),
    }
    assert store.undo("1", {"sub/n.txt": "keep", "gone.txt": "keep"}).kept == ("sub/n.txt", "gone.txt")
    assert (tmp_path / "outside/n.txt").read_text() == "n\n"


def test_a_mode_that_a_person_set_stays(root: Path, store: UndoStore) -> None:
    apply(store, "1", change(3, "three"))
    (root / "a.txt").chmod(0o600)
    assert store.undo("1").done
    assert stat.S_IMODE((root / "a.txt").stat().st_mode) == 0o600


def test_binary_and_crlf_contents_come_back(root: Path, store: UndoStore) -> None:
    (root / "b.bin").write_bytes(bytes(range(256)) * 100)
    (root / "w.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo\r\nthree")
    old = snapshot(root)
    apply(store, "1", "*** Delete File: b.bin\n*** Update File: w.txt\n-two\n+TWO")
    assert store.undo("1").done
    assert snapshot(root) == old


def test_the_store_outlives_the_process_and_is_private(root: Path, store: UndoStore, tmp_path: Path) -> None:
    old = snapshot(root)
    apply(store, "1", EVERYTHING)
    again = UndoStore(root, tmp_path / "state")
    assert [turn.turn for turn in again.turns()] == ["1"]
    assert again.recover() == ()
    assert again.undo("1").done
    assert snapshot(root) == old
    for path in (tmp_path / "state").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_workspaces_do_not_see_each_other(root: Path, store: UndoStore, tmp_path: Path) -> None:
    apply(store, "1", change(3, "three"))
    other = tmp_path / "other"
    other.mkdir()
    assert UndoStore(other, tmp_path / "state").turns() == ()
    link = tmp_path / "link"
    link.symlink_to(root)
    assert len(UndoStore(link, tmp_path / "state").turns()) == 1


def test_the_oldest_turns_are_forgotten_first(root: Path, tmp_path: Path) -> None:
    store = UndoStore(root, tmp_path / "state", max_bytes=400_000)
    for number in range(6):
        (root / "big.bin").write_bytes(os.urandom(150_000))
        apply(store, str(number), "*** Delete File: big.bin")
    kept = [turn.turn for turn in store.turns()]
    assert kept == ["4", "5"]
    assert (store.directory / "edits.sqlite").stat().st_size < 500_000
    with pytest.raises(UndoError, match="No edits of 0"):
        store.undo("0")
    assert store.undo("5").done
    few = UndoStore(root, tmp_path / "few", max_turns=3)
    for number in range(5):
        apply(few, str(number), f"*** Add File: {number}.txt\n+{number}")
    assert [turn.turn for turn in few.turns()] == ["2", "3", "4"]


def test_a_turn_larger_than_the_bound_is_kept_alone(root: Path, tmp_path: Path) -> None:
    store = UndoStore(root, tmp_path / "state", max_bytes=1000)
    data = os.urandom(100_000)
    (root / "big.bin").write_bytes(data)
    apply(store, "1", "*** Delete File: big.bin")
    assert store.undo("1").done
    assert (root / "big.bin").read_bytes() == data


def test_an_edit_that_cannot_be_kept_is_not_made(root: Path, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file is in the way\n")
    store = UndoStore(root, tmp_path / "state")
    before = snapshot(root)
    with pytest.raises(PatchError, match="nothing was changed") as caught:
        apply(store, "1", change(3, "three"))
    assert "GPTOSS_TUI_UNDO" in str(caught.value)
    assert snapshot(root) == before


def test_a_refused_patch_leaves_no_trace(root: Path, store: UndoStore) -> None:
    planned = patch.plan(patch.parse(f"*** Begin Patch\n{change(3, 'three')}\n*** End Patch"), root)
    (root / "a.txt").write_text("other\n")
    with pytest.raises(PatchError, match="nothing was changed"):
        store.apply(planned)
    assert store.turns() == ()


@pytest.mark.parametrize("rubbish", [b"not a database at all" * 100, b"SQLite format 3\0" + b"\xff" * 4000])
def test_a_damaged_store_is_set_aside(root: Path, store: UndoStore, rubbish: bytes) -> None:
    apply(store, "1", change(3, "three"))
    (store.directory / "edits.sqlite").write_bytes(rubbish)
    (notice,) = store.recover()
    assert "damaged" in notice
    (aside,) = store.directory.glob("edits-damaged-*")
    assert aside.read_bytes() == rubbish
    apply(store, "2", change(4, "four"))
    assert [turn.turn for turn in store.turns()] == ["2"]


def test_nothing_is_made_on_disk_before_the_first_edit(store: UndoStore, tmp_path: Path) -> None:
    assert store.turns() == ()
    assert store.recover() == ()
    assert not (tmp_path / "state").exists()


def test_git_is_not_touched(root: Path, store: UndoStore) -> None:
    (root / ".git").mkdir()
    (root / ".git/index").write_bytes(b"DIRC")
    before = (root / ".git").stat().st_mtime_ns
    apply(store, "1", EVERYTHING)
    assert store.undo("1").done
    assert store.redo("1").done
    assert (root / ".git").stat().st_mtime_ns == before
    assert (root / ".git/index").read_bytes() == b"DIRC"
