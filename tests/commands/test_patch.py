"""`gptoss-tui patch` as a program: stdin, stdout, stderr and exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gptoss_tui.undo import UndoStore
from tests.patch.test_scenarios import snapshot
from tests.undo.steps import killed_at, process_that_forks
from tests.undo.victim import act, make_workspace

PATCH = "*** Begin Patch\n*** Update File: a.txt\n@@\n-two\n+TWO\n*** Add File: n.txt\n+n\n*** End Patch\n"

DIFF = "diff --git a/a.txt b/a.txt\n--- a/a.txt\n+++ b/a.txt\n@@ -1,3 +1,3 @@\n one\n-two\n+TWO\n three\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.txt").write_text("one\ntwo\nthree\n")
    return root


def run(root: Path, *flags: str, text: str | bytes = "") -> subprocess.CompletedProcess[str]:
    data = text.encode() if isinstance(text, str) else text
    environment = {**os.environ, "GPTOSS_TUI_UNDO": str(root.parent / "state")}
    command = [sys.executable, "-m", "gptoss_tui", "patch", "-C", str(root), *flags]
    done = subprocess.run(command, input=data, capture_output=True, env=environment, check=False)
    return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())


def test_apply_check_undo_redo(root: Path) -> None:
    old = snapshot(root)
    checked = run(root, "--check", text=PATCH)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "-two\n+TWO\n" in checked.stdout
    assert snapshot(root) == old
    applied = run(root, text=PATCH)
    assert (applied.returncode, applied.stdout, applied.stderr) == (0, "M a.txt\nA n.txt\n", "")
    new = snapshot(root)
    assert run(root, "--undo", text=PATCH).stdout == "restored a.txt\nremoved n.txt\n"
    assert snapshot(root) == old
    assert run(root, "--redo", text=PATCH).returncode == 0
    assert snapshot(root) == new
    assert run(root, "--undo").returncode == 0, "without a patch, the last edit"
    assert snapshot(root) == old


@pytest.mark.parametrize(
    ("flags", "text", "reason"),
    [
        (("--apply",), PATCH.replace("two", "2"), "Hunk 1 (patch line 4): these lines are not in the file"),
        (("--check",), PATCH.replace("two", "2"), "Hunk 1 (patch line 4): these lines are not in the file"),
        ((), "", "The patch holds no file operation"),
        ((), DIFF, "This is a unified diff"),
        ((), DIFF.split("\n", 1)[1], "form here is:\n*** Begin Patch\n*** Update File: path\n@@\n"),
        ((), b"*** Begin Patch\n\xff\n", "not UTF-8"),
        (("--undo",), PATCH, "This patch is not in force"),
        (("--undo",), "", "No edits are in force"),
        (("--redo",), "", "could be made again"),
    ],
)
def test_what_is_refused_changes_nothing(root: Path, flags: tuple[str, ...], text: str | bytes, reason: str) -> None:
    before = snapshot(root)
    done = run(root, *flags, text=text)
    assert done.returncode == 1
    assert done.stdout == ""
    assert reason in done.stderr
    assert snapshot(root) == before


def test_a_folder_that_is_none_and_flags_that_do_not_go_together(root: Path) -> None:
    assert run(root / "nowhere", text=PATCH).returncode == 2
    assert run(root, "--check", "--undo", text=PATCH).returncode == 2


def test_tolerances_are_said_on_stderr(root: Path) -> None:
    done = run(root, text=PATCH.removeprefix("*** Begin Patch\n"))
    assert done.returncode == 0
    assert "note: *** Begin Patch was missing" in done.stderr


@pytest.mark.parametrize(("way", "line"), [("keep", "zwei"), ("restore", "two"), ("merge", "<<<<<<< now")])
def test_conflicts(root: Path, way: str, line: str) -> None:
    assert run(root, text=PATCH).returncode == 0
    (root / "a.txt").write_text("one\nzwei\nthree\n")
    before = snapshot(root)
    refused = run(root, "--undo", text=PATCH)
    assert refused.returncode == 1
    assert "a.txt: the same lines were changed since" in refused.stderr
    assert "--on-conflict" in refused.stderr
    assert snapshot(root) == before
    assert run(root, "--undo", "--on-conflict", way, text=PATCH).returncode == 0
    assert (root / "a.txt").read_text().splitlines()[1] == line
    assert not (root / "n.txt").exists()


def test_the_diff_for_a_program_is_raw_and_git_reads_it(root: Path) -> None:
    (root / "a.txt").write_bytes(b"one\ntwo\n\xff\x1b[31m\n")
    diff = subprocess.run(
        [sys.executable, "-m", "gptoss_tui", "patch", "--check", "-C", str(root)],
        input=PATCH.encode(),
        capture_output=True,
        check=True,
    ).stdout
    assert b" \xff\x1b[31m\n" in diff


def test_an_interrupted_edit_is_ended_at_the_next_start(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    make_workspace(other)
    before = snapshot(other)
    number = 1
    with process_that_forks():
        while snapshot(other) == before:
            assert killed_at(number, act, "apply", other, tmp_path / "state")
            number += 1
    done = run(other, "--check", text="*** Begin Patch\n*** Delete File: gone.txt\n*** End Patch\n")
    assert done.returncode == 0
    assert "interrupted and has been taken back" in done.stderr
    assert snapshot(other) == before
    assert UndoStore(other, tmp_path / "state").turns() == ()
