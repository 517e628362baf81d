"""A process that dies, or a disk that refuses, anywhere in an edit: all old or all new after the next start."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gptoss_tui.errors import GptOssError, UndoError
from gptoss_tui.undo import UndoStore
from tests.patch.test_scenarios import snapshot
from tests.undo import crash
from tests.undo.steps import killed_at, process_that_forks, watch, without_second_names
from tests.undo.victim import REFUSED, act, recover

pytestmark = pytest.mark.slow

RAM = Path("/dev/shm")


@pytest.fixture(scope="module", autouse=True)
def forks() -> Iterator[None]:
    """One process for all tests."""
    with process_that_forks():
        yield


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: what is tried here makes thousands of calls to sync."""
    if not os.access(RAM, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=RAM) as folder:
        yield Path(folder)


@pytest.mark.parametrize("action", crash.ACTIONS)
def test_killed_at_every_step(disk: Path, action: str) -> None:
    stage = crash.set_stage(disk, action, trace=False)
    number, ends = 1, set()
    while True:
        root, state = stage.fresh()
        died = killed_at(number, act, action, root, state)
        kept = snapshot(root)
        assert crash.complaint(stage, root, state, -9 if died else 0) is None, f"step {number}"
        ends.add(kept not in (stage.old, stage.new))
        if not died:
            break
        number += 1
    assert number > 40
    assert ends == {True, False}, "some of the deaths left half an edit behind"


def test_killed_at_every_step_where_files_have_one_name(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File systems without hard links and without swapping: copies take their place, and may be torn."""
    without_second_names(monkeypatch)
    stage = crash.set_stage(disk, "apply", trace=False)
    number = 1
    while True:
        root, state = stage.fresh()
        died = killed_at(number, act, "apply", root, state, one_name=True)
        assert crash.complaint(stage, root, state, -9 if died else 0) is None, f"step {number}"
        if not died:
            break
        number += 1
    assert number > 40


def test_the_recovery_itself_is_killed_at_every_step(disk: Path) -> None:
    stage = crash.set_stage(disk, "apply", trace=False)
    deaths = 0
    for number in range(1, 200, 11):
        root, state = stage.fresh()
        if not killed_at(number, act, "apply", root, state):
            break
        shutil.rmtree(disk / "half", ignore_errors=True)
        (disk / "now").rename(disk / "half")
        at = 1
        while True:
            shutil.rmtree(disk / "now", ignore_errors=True)
            # `cp` keeps names of one file names of one file, as they are in the middle of an edit.
            subprocess.run(["cp", "-a", disk / "half", disk / "now"], check=True)
            if not killed_at(at, recover, root, state):
                break
            assert crash.complaint(stage, root, state, -9) is None, f"edit killed at {number}, recovery at {at}"
            deaths += 1
            at += 1
    assert deaths > 40


APPLY_ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS, errno.EMFILE, errno.EXDEV)


@pytest.mark.parametrize(
    ("action", "code"), [*(("apply", code) for code in APPLY_ERRORS), ("undo", errno.ENOSPC), ("redo", errno.EIO)]
)
def test_an_error_at_every_step(disk: Path, action: str, code: int) -> None:
    stage = crash.set_stage(disk, action, trace=False)
    number = refused = 0
    while True:
        number += 1
        root, state = stage.fresh()
        count = 0

        def step(name: str) -> None:
            nonlocal count
            count += 1
            if count == number:  # noqa: B023
                raise OSError(code, os.strerror(code))

        result, message = 0, ""
        with pytest.MonkeyPatch.context() as monkeypatch:
            watch(monkeypatch, step)
            try:
                act(action, root, state)
            except GptOssError as error:
                result, message = REFUSED, str(error)
        if result == REFUSED:
            refused += 1
            assert "othing was changed" in message or "undo store" in message
            assert snapshot(root) == stage.old, f"step {number}"
        assert crash.complaint(stage, root, state, result) is None, f"step {number}"
        if count < number:
            break
    assert refused > 25


def test_a_disk_that_stays_broken_is_mended_at_the_next_start(disk: Path) -> None:
    """From some step on every write fails, the way back too: the error says what is where, and nothing is lost."""
    stage = crash.set_stage(disk, "apply", trace=False)
    half = 0
    for number in range(1, 60):
        root, state = stage.fresh()
        count = 0

        def step(name: str) -> None:
            nonlocal count
            count += 1
            if count >= number:  # noqa: B023
                raise OSError(errno.EIO, os.strerror(errno.EIO))

        message = ""
        with pytest.MonkeyPatch.context() as monkeypatch:
            watch(monkeypatch, step)
            try:
                act("apply", root, state)
            except GptOssError as error:
                message = str(error)
        if "undone in part only" in message:
            half += 1
            assert "It is tried again at the next start" in message
        assert crash.complaint(stage, root, state, -9) is None, f"from step {number} on"
    assert half > 5


def test_what_a_person_changed_after_the_crash_is_theirs(disk: Path) -> None:
    stage = crash.set_stage(disk, "apply", trace=False)
    seen = 0
    for number in range(1, 60):
        root, state = stage.fresh()
        if not killed_at(number, act, "apply", root, state):
            break
        if not list(root.glob(".patch-*-0.old")) or (root / "a.txt").read_text() != "alpha\nBETA\n":
            continue
        (root / "a.txt").write_text("mine\n")
        notices = UndoStore(root, state).recover()
        assert (root / "a.txt").read_text() == "mine\n"
        if notices:
            seen += 1
            assert "a.txt (its old content is in .patch-" in notices[0]
            (backup,) = root.glob(".patch-*-0.old")
            assert backup.read_text() == "alpha\nbeta\n"
        assert UndoStore(root, state).recover() == ()
    assert seen > 0


def test_edits_are_refused_while_an_interrupted_one_cannot_be_taken_back(disk: Path) -> None:
    stage = crash.set_stage(disk, "apply", trace=False)
    root, state = stage.fresh()
    number = 1
    while killed_at(number, act, "apply", root, state):
        if (root / "a.txt").read_text() == "alpha\nBETA\n":
            break
        root, state = stage.fresh()
        number += 1

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(os, "rename", refuse)
        with pytest.raises(UndoError, match=r"cannot be undone yet: a\.txt"):
            UndoStore(root, state).recover()
        with pytest.raises(GptOssError, match="nothing was changed"):
            act("apply", root, state)
    assert crash.complaint(stage, root, state, -9) is None


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize("action", crash.ACTIONS)
def test_killed_at_system_calls(disk: Path, action: str) -> None:
    """A sample of the points, SQLite's own among them; `python -m tests.undo.crash` tries all."""
    stage = crash.set_stage(disk, action)
    tried = list(crash.points(stage, 12))
    assert len(tried) > 8
    for call, at in tried:
        assert crash.inject(stage, call, at, "signal=SIGKILL") is None, f"{call} number {at}"
