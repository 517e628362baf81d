"""All or nothing: disks that fail at any step, files that change after the plan, folders swapped for links."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from gptoss_tui import patch
from gptoss_tui.errors import PatchError
from gptoss_tui.patch import kernel
from gptoss_tui.patch.apply import REFUSED
from gptoss_tui.patch.journal import NoJournal, Record, new_record
from gptoss_tui.patch.types import Write
from tests.patch.test_scenarios import snapshot
from tests.sandboxes import missing

MANY = """\
*** Begin Patch
*** Update File: a.txt
-beta
+BETA
*** Add File: new/deep/n.txt
+n
*** Delete File: gone.txt
*** Update File: run.sh
*** Move to: bin/run.sh
-echo a
+echo b
*** Update File: sub/c.txt
-c
+C
*** End Patch
"""
STEPS = ("open", "write", "fsync", "link", "rename", "unlink", "mkdir", "fchmod")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "a.txt").write_text("alpha\nbeta\n")
    (root / "gone.txt").write_text("x\n")
    (root / "run.sh").write_text("echo a\n")
    (root / "run.sh").chmod(0o750)
    (root / "sub/c.txt").write_text("c\n")
    return root


def planned(root: Path, text: str = MANY) -> patch.Plan:
    return patch.plan(patch.parse(text), root)


def folders(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_dir()}


class FailingDisk:
    """Lets write-class calls of `os` through until the `at`-th, which fails; with `stuck`, all later ones too."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int, code: int, *, stuck: bool = False) -> None:
        self.calls = 0
        self._at, self._code, self._stuck = at, code, stuck
        for name in STEPS:
            monkeypatch.setattr(os, name, self._failing(getattr(os, name), name))

    def _failing(self, call: Callable[..., Any], name: str) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if name == "open" and not args[1] & os.O_CREAT:
                return call(*args, **kwargs)
            self.calls += 1
            if self.calls == self._at or (self._stuck and self.calls > self._at):
                raise OSError(self._code, os.strerror(self._code))
            return call(*args, **kwargs)

        return wrapper


def refusal(root: Path) -> str | None:
    """Why the patch was not applied; None when it was."""
    try:
        patch.apply(planned(root))
    except PatchError as error:
        return str(error)
    return None


def count_steps(root: Path) -> int:
    with pytest.MonkeyPatch.context() as monkeypatch:
        disk = FailingDisk(monkeypatch, at=0, code=errno.EIO)
        patch.apply(planned(root))
    return disk.calls


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS, errno.EMFILE, errno.EXDEV])
def test_an_error_at_any_step_leaves_all_old_or_all_new(root: Path, tmp_path: Path, code: int) -> None:
    twin = tmp_path / "twin"
    shutil.copytree(root, twin)
    steps = count_steps(twin)
    old, old_folders, new = snapshot(root), folders(root), snapshot(twin)
    assert steps >= 25
    failures = 0
    for at in range(1, steps + 1):
        with pytest.MonkeyPatch.context() as monkeypatch:
            FailingDisk(monkeypatch, at, code)
            message = refusal(root)
        if message is None:
            break
        failures += 1
        assert "nothing was changed" in message
        assert os.strerror(code) in message
        assert snapshot(root) == old, f"step {at} of {steps}"
        assert folders(root) == old_folders, f"step {at} of {steps}"
    # After the point of no return, two temporary names of each write are removed, and the folders synced.
    assert failures == steps - (2 * 6 + 5)
    assert {
        name: kept for name, kept in snapshot(root).items() if not name.rpartition("/")[2].startswith(".patch-")
    } == new


def test_a_rollback_that_fails_names_the_backups(root: Path) -> None:
    old = snapshot(root)
    stuck_with_backup = 0
    for at in range(1, 40):
        with pytest.MonkeyPatch.context() as monkeypatch:
            disk = FailingDisk(monkeypatch, at, errno.EIO, stuck=True)
            message = refusal(root)
        if message is None:
            break
        assert disk.calls >= at
        for name, kept in old.items():
            if snapshot(root).get(name) == kept:
                continue
            stuck_with_backup += 1
            assert f"{name} (its old content is in .patch-" in message
            backup = message.split(f"{name} (its old content is in ")[1].split(" ")[0]
            assert ((root / name).parent / backup).read_bytes() == kept[1]
        _restore(root, old)
    assert stuck_with_backup > 0


def _restore(root: Path, files: dict[str, tuple[str, bytes | str]]) -> None:
    shutil.rmtree(root)
    for name, (kind, data) in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        assert isinstance(data, bytes)
        path.write_bytes(data)
        path.chmod(0o750 if kind == "program" else 0o644)


@pytest.mark.parametrize("create", [False, True])
def test_a_read_only_disk_changes_nothing_and_says_so(tmp_path: Path, create: bool) -> None:
    bwrap = shutil.which("bwrap") or missing("bubblewrap is not installed")
    (tmp_path / "a.txt").write_text("old\n")
    text = "*** Add File: sub/b.txt\n+x" if create else "*** Update File: a.txt\n@@\n-old\n+new"
    text = f"*** Begin Patch\n{text}\n*** End Patch"
    code = f"""
from pathlib import Path
from gptoss_tui import patch
from gptoss_tui.errors import PatchError
try:
    patch.apply(patch.plan(patch.parse({text!r}), Path({str(tmp_path)!r})))
except PatchError as error:
    print(error.message)
"""
    command = [bwrap, "--ro-bind", "/", "/", "--dev", "/dev", "--chdir", str(Path.cwd()), sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "bwrap: " in done.stderr:
        missing(done.stderr)
    assert done.stdout == f"{REFUSED} The disk refused: Read-only file system.\n", done.stderr


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP])
def test_file_systems_without_hard_links(root: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError(code, os.strerror(code))

    plan = planned(root)
    monkeypatch.setattr(os, "link", refuse)
    patch.apply(plan)
    assert sorted(snapshot(root)) == ["a.txt", "bin/run.sh", "new/deep/n.txt", "sub/c.txt"]
    assert (root / "a.txt").read_text() == "alpha\nBETA\n"


def test_what_is_left_behind_is_nothing_but_the_result(root: Path) -> None:
    patch.apply(planned(root))
    assert sorted(snapshot(root)) == ["a.txt", "bin/run.sh", "new/deep/n.txt", "sub/c.txt"]
    assert stat.S_IMODE((root / "bin/run.sh").stat().st_mode) == 0o750


def _edit(root: Path) -> None:
    (root / "sub/c.txt").write_text("c\nmore\n")


def _same_size_edit(root: Path) -> None:
    (root / "sub/c.txt").write_text("d\n")


def _chmod(root: Path) -> None:
    (root / "sub/c.txt").chmod(0o600)


def _remove(root: Path) -> None:
    (root / "gone.txt").unlink()


def _appear(root: Path) -> None:
    (root / "new/deep").mkdir(parents=True)
    (root / "new/deep/n.txt").write_text("mine\n")


def _destination(root: Path) -> None:
    (root / "bin").mkdir()
    (root / "bin/run.sh").write_text("mine\n")


def _to_link(root: Path) -> None:
    (root / "a.txt").rename(root / "real.txt")
    (root / "a.txt").symlink_to("real.txt")


def _to_folder(root: Path) -> None:
    (root / "gone.txt").unlink()
    (root / "gone.txt").mkdir()


def _to_pipe(root: Path) -> None:
    (root / "a.txt").unlink()
    os.mkfifo(root / "a.txt")


def _hard_link(root: Path) -> None:
    os.link(root / "a.txt", root.parent / "outside.txt")


def _parent_to_link(root: Path) -> None:
    outside = root.parent / "outside"
    (root / "sub").rename(outside)
    (root / "sub").symlink_to(outside)


def _parent_to_file(root: Path) -> None:
    (root / "new").write_text("file\n")


CHANGES = (
    *(_edit, _same_size_edit, _chmod, _remove, _appear, _destination, _to_link, _to_folder, _to_pipe, _hard_link),
    *(_parent_to_link, _parent_to_file),
)


class _Begun(NoJournal):
    """Tells whether a transaction began."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def opened(self, record: Record, writes: Sequence[Write]) -> None:
        self.records.append(record)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__.strip("_"))
def test_a_file_changed_after_the_plan_stops_everything(root: Path, change: Callable[[Path], None]) -> None:
    plan, journal = planned(root), _Begun()
    change(root)
    before = snapshot(root.parent)
    with pytest.raises(PatchError, match="nothing was changed"):
        patch.apply(plan, journal)
    assert snapshot(root.parent) == before
    assert not journal.records or change is _parent_to_file  # found when the folder is made


def test_a_file_that_appears_at_the_last_moment_is_not_overwritten(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(root, "*** Begin Patch\n*** Add File: n.txt\n+ours\n*** End Patch")
    real = os.link

    def link(*args: Any, **kwargs: Any) -> None:
        (root / "n.txt").write_text("theirs\n")
        real(*args, **kwargs)

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(PatchError, match=r"n\.txt: the file changed"):
        patch.apply(plan)
    assert (root / "n.txt").read_text() == "theirs\n"


def test_a_file_that_changes_at_the_last_moment_is_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(root, "*** Begin Patch\n*** Update File: a.txt\n-beta\n+BETA\n*** End Patch")
    real = os.link

    def link(*args: Any, **kwargs: Any) -> None:
        (root / "a.txt").write_text("theirs, and longer\n")
        real(*args, **kwargs)

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(PatchError, match=r"a\.txt: the file changed"):
        patch.apply(plan)
    assert snapshot(root)["a.txt"] == ("file", b"theirs, and longer\n")
    assert not [name for name in snapshot(root) if ".patch-" in name]


UPDATE = "*** Begin Patch\n*** Update File: a.txt\n-beta\n+BETA\n*** End Patch"


def _replaced_by_another_program(root: Path, name: str) -> None:
    (root / "theirs").write_text("theirs\n")
    (root / "theirs").rename(root / name)


@pytest.mark.parametrize("swap", [True, False], ids=["exchange", "rename"])
def test_a_file_that_is_replaced_just_before_the_swap_is_kept(
    root: Path, monkeypatch: pytest.MonkeyPatch, swap: bool
) -> None:
    plan = planned(root, UPDATE)
    real, sync = kernel.exchange, os.fsync

    def exchange(folder: int, one: str, other: str) -> bool:
        monkeypatch.setattr(kernel, "exchange", real)
        _replaced_by_another_program(root, "a.txt")
        return real(folder, one, other)

    def fsync(fd: int) -> None:
        if not (root / "a.txt").read_text().startswith("theirs"):
            _replaced_by_another_program(root, "a.txt")
        sync(fd)

    if not swap:
        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(kernel, "exchange", lambda *names: False)
    else:
        monkeypatch.setattr(kernel, "exchange", exchange)
    with pytest.raises(PatchError, match=r"nothing was changed\. a\.txt: the file changed"):
        patch.apply(plan)
    assert (root / "a.txt").read_text() == "theirs\n"
    assert not [name for name in snapshot(root) if ".patch-" in name]


def test_a_file_that_is_replaced_just_before_a_swap_that_fails_is_kept(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So is what it was before."""
    plan = planned(root, UPDATE)
    real = kernel.exchange

    def exchange(folder: int, one: str, other: str) -> bool:
        monkeypatch.setattr(kernel, "exchange", real)
        _replaced_by_another_program(root, "a.txt")
        real(folder, one, other)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(kernel, "exchange", exchange)
    with pytest.raises(PatchError, match=r"Not restored: a\.txt \(its old content is in "):
        patch.apply(plan)
    assert (root / "a.txt").read_text() == "theirs\n"
    [backup] = root.glob(".patch-*.old")
    assert backup.read_text() == "alpha\nbeta\n"


def test_a_file_that_is_replaced_just_before_it_is_deleted_is_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(root, "*** Begin Patch\n*** Delete File: gone.txt\n*** End Patch")
    real = os.rename

    def rename(source: str, target: str, **folders: int) -> None:
        if source == "gone.txt":
            monkeypatch.setattr(os, "rename", real)
            _replaced_by_another_program(root, "gone.txt")
        real(source, target, **folders)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(PatchError, match=r"gone\.txt: the file changed"):
        patch.apply(plan)
    assert (root / "gone.txt").read_text() == "theirs\n"


def test_bytes_written_into_the_old_file_while_it_is_swapped_are_kept(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that has the file open for writing does not notice that its name is swapped away."""
    plan = planned(root, UPDATE)
    real = kernel.exchange
    with (root / "a.txt").open("a") as writer:

        def exchange(folder: int, one: str, other: str) -> bool:
            done = real(folder, one, other)
            writer.write("more\n")
            writer.flush()
            return done

        monkeypatch.setattr(kernel, "exchange", exchange)
        with pytest.raises(PatchError, match=r"a\.txt: the file changed"):
            patch.apply(plan)
    assert (root / "a.txt").read_text() == "alpha\nbeta\nmore\n"


def test_an_applied_plan_is_taken_back(root: Path) -> None:
    before = snapshot(root)
    plan = planned(root)
    patch.apply(plan)
    patch.undo(plan)
    assert snapshot(root) == before
    patch.apply(plan)
    (root / "a.txt").write_text("other\n")
    changed = snapshot(root)
    with pytest.raises(PatchError, match="nothing was changed"):
        patch.undo(plan)
    assert snapshot(root) == changed


def test_the_digest_binds_every_byte_and_name(root: Path) -> None:
    def digest(text: str) -> str:
        return patch.digest(planned(root, f"*** Begin Patch\n{text}\n*** End Patch"))

    update = "*** Update File: a.txt\n-beta\n+BETA"
    digests = [
        digest(update),
        digest(update + " "),
        digest("*** Update File: a.txt\n*** Move to: b.txt\n-beta\n+BETA"),
        digest("*** Add File: b.txt\n+x"),
        digest("*** Add File: c.txt\n+x"),
        digest("*** Delete File: a.txt"),
    ]
    (root / "a.txt").chmod(0o700)
    digests.append(digest(update))
    (root / "a.txt").write_text("alpha\nbeta")
    digests.append(digest(update))
    (root / "a.txt").write_text("alpha\nbetA")
    digests.append(digest(update.replace("-beta", "-betA")))
    shutil.copytree(root, root.parent / "other", symlinks=True)
    digests.append(
        patch.digest(planned(root.parent / "other", "*** Begin Patch\n*** Delete File: a.txt\n*** End Patch"))
    )
    digests.append(digest("*** Delete File: a.txt"))
    assert len(set(digests)) == len(digests)
    (root / "a.txt").write_text("alpha\nbeta")
    assert digest(update) == digest(f"{update}\n\n")


def test_a_second_apply_of_one_plan_is_refused(root: Path) -> None:
    plan = planned(root)
    patch.apply(plan)
    after = snapshot(root)
    with pytest.raises(PatchError, match="nothing was changed"):
        patch.apply(plan)
    assert snapshot(root) == after


def test_the_root_may_be_reached_through_a_link(root: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(root)
    text = f"*** Begin Patch\n*** Update File: {link}/a.txt\n-beta\n+B\n*** Add File: {root}/n.txt\n+n\n*** End Patch"
    plan = planned(link, text)
    assert plan.paths == ("a.txt", "n.txt")
    assert plan.notes == (f"{link}/a.txt was read as a.txt", f"{root}/n.txt was read as n.txt")
    patch.apply(plan)
    assert (root / "a.txt").read_text() == "alpha\nB\n"


def test_a_missing_root_is_a_patch_error(tmp_path: Path) -> None:
    with pytest.raises(PatchError, match="cannot be opened"):
        planned(tmp_path / "nowhere")


def acl(*entries: tuple[int, int, int]) -> bytes:
    """A list of who may do what, as the kernel keeps it: `(tag, rights, id)`."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


NOBODY = 0xFFFFFFFF
LIST = acl((0x01, 6, NOBODY), (0x02, 6, 12345), (0x04, 0, NOBODY), (0x10, 6, NOBODY), (0x20, 0, NOBODY))
"""The owner and user 12345 may read and write; the group may not, though the mode of such a file is 0660."""


@pytest.mark.skipif(sys.platform != "linux", reason="Python has no call for it elsewhere")
def test_attributes_and_lists_of_who_may_read_stay(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("a\n")
    try:
        os.setxattr(tmp_path / "f", "user.note", b"hello")
        os.setxattr(tmp_path / "f", "system.posix_acl_access", LIST)
    except OSError as error:
        pytest.skip(f"this file system has none: {error}")
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o660
    patch.apply(patch.plan(patch.parse("*** Begin Patch\n*** Update File: f\n-a\n+b\n*** End Patch"), tmp_path))
    assert (tmp_path / "f").read_text() == "b\n"
    assert os.getxattr(tmp_path / "f", "user.note") == b"hello"
    assert os.getxattr(tmp_path / "f", "system.posix_acl_access") == LIST


@pytest.mark.parametrize("body", ["*** Update File: f\n-a\n+b", "*** Update File: f\n*** Move to: g"])
def test_what_is_written_does_not_run_as_the_owner_of_the_file(tmp_path: Path, body: str) -> None:
    (tmp_path / "f").write_text("a\n")
    (tmp_path / "f").chmod(0o6755)
    planned = patch.plan(patch.parse(f"*** Begin Patch\n{body}\n*** End Patch"), tmp_path)
    patch.apply(planned)
    (there,) = tmp_path.iterdir()
    assert stat.S_IMODE(there.stat().st_mode) == 0o755
    patch.undo(planned)
    assert ((tmp_path / "f").read_text(), stat.S_IMODE((tmp_path / "f").stat().st_mode)) == ("a\n", 0o6755)


def test_a_file_that_another_process_writes_is_not_called_a_hard_link(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("a\n")
    record = new_record([], ())
    os.link(tmp_path / "f", tmp_path / record.backup(0))
    asked = patch.parse("*** Begin Patch\n*** Update File: f\n-a\n+b\n*** End Patch")
    with pytest.raises(PatchError, match="another edit of it is being written"):
        patch.plan(asked, tmp_path)
    (tmp_path / record.backup(0)).rename(tmp_path / "g")
    with pytest.raises(PatchError, match="2 hard links"):
        patch.plan(asked, tmp_path)
