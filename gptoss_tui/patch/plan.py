"""Computes from a patch and a directory the exact bytes that would be written. Writes nothing."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import stat
from pathlib import Path

from gptoss_tui.errors import PatchError
from gptoss_tui.patch import disk
from gptoss_tui.patch.confine import PathError, Tree, describe
from gptoss_tui.patch.journal import is_backup
from gptoss_tui.patch.lines import MAX_LINES
from gptoss_tui.patch.match import Matched, match_hunks
from gptoss_tui.patch.parse import UNWRITABLE
from gptoss_tui.patch.protected import (
    GIT,
    in_repository,
    obeyed,
    plain_name,
    protected_by,
    reason,
)
from gptoss_tui.patch.replace import replace_text
from gptoss_tui.patch.text import NotTextError, TextFile, decode, encode_new, splice
from gptoss_tui.patch.types import (
    AddFile,
    DeleteFile,
    Edit,
    FileChange,
    FileOperation,
    Patch,
    Plan,
    ReplaceText,
    UpdateFile,
)


def plan(patch: Patch, root: Path, *, protected: bool = False) -> Plan:
    """Plan what `patch` does to the files beneath `root`.

    Raises PatchError with the errors of all files and hunks; a single error means no plan at all. Files that control
    other programs are refused unless `protected` is True: then the plan lists them, and the caller must have the user
    approve each.
    """
    planner = _Planner(root, protected=protected)
    with planner.tree:
        for operation in patch.operations:
            planner.feed(operation)
        planner.check_folders()
        planner.check_repositories()
    if planner.errors:
        count = len(planner.errors)
        head = "The patch was not applied; nothing was changed."
        if count > 1:
            head = f"The patch was not applied; nothing was changed. It has {count} errors:"
        raise PatchError("\n\n".join((head, *planner.errors)))
    changes = tuple(planner.changes.values())
    return Plan(planner.tree.root, changes, (*patch.notes, *planner.notes), tuple(planner.protected.items()))


def digest(planned: Plan) -> str:
    """A hash of the root, all paths, and all contents before and after with their modes, to tie an approval to."""

    def sha(data: bytes | None) -> str | None:
        return None if data is None else hashlib.sha256(data).hexdigest()

    facts = [[c.kind, c.path, c.new_path, c.mode, sha(c.old), sha(c.new)] for c in planned.changes]
    return hashlib.sha256(json.dumps([os.fsdecode(planned.root), facts]).encode()).hexdigest()


class _Planner:
    """Plans one operation after another; each path may be touched only once."""

    def __init__(self, root: Path, *, protected: bool) -> None:
        try:
            self.tree = Tree(root)
        except PathError as error:
            raise PatchError(error.message) from error
        self.changes: dict[str, FileChange] = {}
        self.notes: list[str] = []
        self.errors: list[str] = []
        self.protected: dict[str, str] = {}
        self._may_be_protected = protected
        self._obeyed: dict[str, str] | None = None
        self._taken: set[str] = set()

    def feed(self, operation: FileOperation) -> None:
        try:
            change = self._change(operation)
        except PatchError as error:
            self.errors.append(error.message)
        except PathError as error:
            self.errors.append(f"{error.message}.")
        except NotTextError as error:
            self.errors.append(f"{operation.path}: {error.message}, so it cannot be patched.")
        else:
            self.changes[change.path] = change

    def check_folders(self) -> None:
        """Check that no path is both a file and the folder of another file."""
        written = [c.new_path or c.path for c in self.changes.values() if c.kind != "D"]
        for path in written:
            parents = [path[:at] for at, char in enumerate(path) if char == "/"]
            for parent in parents:
                status = self.tree.stat(parent)
                if parent in self._taken or (status is not None and not stat.S_ISDIR(status.st_mode)):
                    self.errors.append(f"{path}: {parent} is a file, not a folder.")

    def check_repositories(self) -> None:
        """Protect files that together make up a git repository, whatever their names."""
        paths = [path for c in self.changes.values() for path in (c.path, c.new_path) if path is not None]
        new = {_folded(c.new_path or c.path) for c in self.changes.values() if c.kind != "D"}
        new |= {path[:at] for path in new for at, char in enumerate(path) if char == "/"}
        for path in paths:
            if path in self.protected or not in_repository(path, lambda at: _folded(at) in new or self._is_there(at)):
                continue
            try:
                self._protect(path, GIT)
            except PatchError as error:
                self.errors.append(error.message)

    def _is_there(self, path: str) -> bool:
        try:
            return self.tree.stat(path) is not None
        except PathError:
            return False

    def _change(self, operation: FileOperation) -> FileChange:
        if isinstance(operation, AddFile):
            return self._add(operation)
        if isinstance(operation, DeleteFile):
            path = self._path(operation.path, last_link=False)
            old, mode, text = self._read(path)
            self._take(path)
            return FileChange("D", path, old, None, mode, edits=_whole(text, ()))
        if isinstance(operation, ReplaceText):
            return self._replace(operation)
        return self._update(operation)

    def _add(self, operation: AddFile) -> FileChange:
        path = self._path(operation.path)
        new = encode_new(operation.lines)
        gone = self.changes.get(path)
        if gone is not None and gone.kind == "D" and gone.old is not None:
            if gone.old == new:
                raise PatchError(f"{path}: deleting and adding it changes nothing; its lines are what the file has.")
            self.notes.append(f"{path}: deleted and added, so its whole content is replaced")
            return FileChange("M", path, gone.old, new, gone.mode, edits=_whole(_lines(gone.old), operation.lines))
        status = self.tree.stat(path)
        if status is not None:
            raise PatchError(
                f"{path}: cannot be added, {describe(status)} of that name exists. "
                "To change a file, send '*** Update File' with the lines to change."
            )
        self._take(path)
        return FileChange("A", path, None, new, edits=_whole(None, operation.lines))

    def _update(self, operation: UpdateFile) -> FileChange:
        path = self._path(operation.path, last_link=operation.move_to is None)
        old, mode, text = self._read(path)
        edits: tuple[Edit, ...] = ()
        new = old
        if operation.hunks:
            text = text or decode(old, MAX_LINES)  # for binary data, decode raises an error that says why
            edits = self._edits(path, match_hunks(operation.hunks, text.lines))
            new = splice(text, edits)
        new_path = self._destination(operation.move_to, path) if operation.move_to is not None else None
        return self._changed(FileChange("R" if new_path else "M", path, old, new, mode, new_path, edits))

    def _replace(self, operation: ReplaceText) -> FileChange:
        if UNWRITABLE.search(operation.old + operation.new):
            raise PatchError("The text holds NUL characters or lone surrogates, which no text file can hold.")
        path = self._path(operation.path)
        lines = tuple(operation.new.replace("\r\n", "\n").removesuffix("\n").split("\n")) if operation.new else ()
        if not operation.old and self.tree.stat(path) is None:
            return self._add(AddFile(operation.path, lines))
        old, mode, text = self._read(path)
        text = text or decode(old, MAX_LINES)
        if operation.old:
            edits = self._edits(path, replace_text(text.lines, operation.old, operation.new, operation.count))
        elif not text.lines:
            edits = _whole(text, lines)
        else:
            raise PatchError(
                f"{path}: old_text is empty, but the file has {len(text.lines)} lines; send those to change."
            )
        return self._changed(FileChange("M", path, old, splice(text, edits), mode, None, edits))

    def _edits(self, path: str, matched: Matched) -> tuple[Edit, ...]:
        if matched.errors:
            raise PatchError("\n".join(f"{path}: {error}" for error in matched.errors))
        self.notes.extend(f"{path}: {note}" for note in matched.notes)
        return matched.edits

    def _changed(self, change: FileChange) -> FileChange:
        """Claim the paths of a change to an existing file. Raises PatchError when nothing would change."""
        if change.new == change.old and change.new_path is None:
            raise PatchError(f"{change.path}: the update changes nothing; its new lines are what the file has.")
        self._take(change.path, *([change.new_path] if change.new_path else []))
        return change

    def _destination(self, raw: str, source: str) -> str:
        path = self._path(raw)
        if path == source:
            raise PatchError(f"{path}: cannot be moved onto itself; leave out '*** Move to'.")
        status = self.tree.stat(path)
        if status is not None:
            raise PatchError(f"{source}: cannot be moved to {path}, {describe(status)} of that name exists.")
        return path

    def _path(self, raw: str, *, last_link: bool = True) -> str:
        path = self.tree.resolve(raw, last_link=last_link)
        if path == ".":
            raise PatchError(f"{raw}: this is the workspace itself, not a file.")
        self._check_protected(path, raw)
        status = None if last_link else self.tree.stat(path)
        if status is not None and stat.S_ISLNK(status.st_mode):
            raise PatchError(f"{path}: it is a symbolic link; only files can be deleted or moved.")
        if path != self.tree.lexical(raw):
            self.notes.append(f"{raw} leads through a symbolic link: {path} is written")
        elif path != raw:
            self.notes.append(f"{raw} was read as {path}")
        return path

    def _check_protected(self, path: str, raw: str) -> None:
        if self._obeyed is None:
            self._obeyed = obeyed(self.tree.root)
        owner = next((by for one, by in self._obeyed.items() if f"{path}/".startswith(f"{one}/")), None)
        owner = owner or protected_by(path) or protected_by(self.tree.lexical(raw))
        if owner is not None:
            self._protect(path, owner)

    def _protect(self, path: str, owner: str) -> None:
        if not self._may_be_protected:
            raise PatchError(f"{reason(path, owner)}, so it needs an approval of its own.")
        self.protected[path] = owner

    def _read(self, path: str) -> tuple[bytes, int, TextFile | None]:
        """The content, permission bits and lines (None if not text) of a file that may be rewritten or removed."""
        if self.tree.stat(path) is None:
            raise PatchError(f"{path}: there is no such file.{self._similar(path)}")
        data, status = self.tree.read(path)
        if status.st_nlink > 1:
            if self._is_being_written(path, status):
                raise PatchError(
                    f"{path}: another edit of it is being written, or was interrupted. Send the patch again; what was "
                    "interrupted is put right with the next message of the user."
                )
            raise PatchError(f"{path}: it has {status.st_nlink} hard links, so changing it could change another file.")
        return data, stat.S_IMODE(status.st_mode), _lines(data)

    def _is_being_written(self, path: str, status: os.stat_result) -> bool:
        """Whether the file's second name is the backup of a transaction that has not ended."""
        try:
            with self.tree.folder(path.rpartition("/")[0]) as fd:
                backups = [name for name in os.listdir(fd) if is_backup(name)]
                return any(disk.same_file(disk.status(fd, name), status) for name in backups)
        except OSError:
            return False

    def _similar(self, path: str) -> str:
        """A hint with similar names in the same folder, which the model may have meant."""
        folder, _, name = path.rpartition("/")
        try:
            with self.tree.folder(folder) as fd:
                close = difflib.get_close_matches(name, os.listdir(fd), n=3, cutoff=0.6)
        except OSError:
            return ""
        return f" Files of a like name: {', '.join(close)}." if close else ""

    def _take(self, *paths: str) -> None:
        for path in paths:
            if path in self._taken:
                raise PatchError(f"{path}: it is changed twice; put all changes of a file under one file line.")
        self._taken.update(paths)


def _folded(path: str) -> str:
    return "/".join(map(plain_name, path.split("/")))


def _lines(data: bytes) -> TextFile | None:
    try:
        return decode(data, MAX_LINES)
    except NotTextError:
        return None


def _whole(text: TextFile | None, lines: tuple[str, ...]) -> tuple[Edit, ...]:
    """One edit that replaces all lines of a file by `lines`; empty when both are empty."""
    size = len(text.lines) if text else 0
    return (Edit(0, size, lines),) if size or lines else ()
