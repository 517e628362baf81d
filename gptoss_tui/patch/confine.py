"""Access to the files beneath one directory, by descriptor and never outside of it.

Every path is opened from a descriptor of the root without following links: with `openat2` where the kernel has it, else
one component at a time with `O_NOFOLLOW`. A directory that is swapped for a link midway causes an error, not an escape.
Links that stay inside are resolved first, so that opening meets none.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from gptoss_tui.errors import GptOssError
from gptoss_tui.patch.kernel import open_beneath

MAX_FILE_BYTES = 8 << 20
_CHUNK = 1 << 20
_MAX_PATH = 4096
_MAX_LINKS = 40
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class PathError(GptOssError):
    """A path may not be used, or is not what the caller needs. The message starts with the path."""


class Tree:
    """The files beneath `root`. A context manager that holds a descriptor of the root."""

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.realpath(root))
        self._roots = tuple(dict.fromkeys((str(self.root), os.path.abspath(root))))
        try:
            self._fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise PathError(f"{self.root}: the workspace cannot be opened ({error.strerror})") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self._fd)

    def lexical(self, raw: str) -> str:
        """Return `raw` relative to the root, without following links. Raises PathError when it may not be used."""
        return "/".join(_components(raw, self._roots)) or "."

    def resolve(self, raw: str, *, last_link: bool = True) -> str:
        """Return the path that `raw` names, relative to the root and with links resolved. It need not exist.

        The root itself is `.`. Accepts relative paths, and absolute ones inside the root. If `last_link` is False, a
        link as the last component is not followed. Raises PathError for everything that leads out.
        """
        pending = list(reversed(_components(raw, self._roots)))
        done: list[str] = []
        links = 0
        while pending:
            name = pending.pop()
            if name == "..":
                if not done:
                    raise PathError(f"{raw}: a link on the way leads outside the workspace")
                done.pop()
                continue
            target = self._read_link(done, name) if pending or last_link else None
            if target is None:
                done.append(name)
                continue
            links += 1
            if links > _MAX_LINKS:
                raise PathError(f"{raw}: too many symbolic links")
            if target.startswith("/"):
                target = _beneath(target, self._roots, raw)
                done = []
            pending.extend(part for part in reversed(target.split("/")) if part not in ("", "."))
        return "/".join(done) or "."

    def stat(self, path: str) -> os.stat_result | None:
        """`lstat` of a resolved path; None if it does not exist. Raises PathError for any other error."""
        try:
            with self.parent(path) as (fd, name):
                return os.stat(name, dir_fd=fd, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise PathError(f"{path}: {_reason(error)}") from error

    def read(self, path: str, *, limit: int = MAX_FILE_BYTES) -> tuple[bytes, os.stat_result]:
        """Read a resolved path. Returns its bytes and status.

        Raises PathError when it is missing, not a regular file, unreadable or larger than `limit` bytes.
        """
        try:
            with self.parent(path) as (parent, name):
                fd = os.open(name, _FILE, dir_fd=parent)
        except OSError as error:
            raise PathError(f"{path}: {_reason(error)}") from error
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise PathError(f"{path}: it is {describe(status)}, not a regular file")
            data = _read_all(fd, limit) if status.st_size <= limit else None
        except OSError as error:
            raise PathError(f"{path}: {_reason(error)}") from error
        finally:
            os.close(fd)
        if data is None:
            raise PathError(f"{path}: the file is larger than {limit // 1024} KiB")
        return data, status

    @contextlib.contextmanager
    def parent(self, path: str) -> Iterator[tuple[int, str]]:
        """Open the folder of a resolved path. Yields its descriptor and the last name. Raises OSError."""
        folder, _, name = path.rpartition("/")
        with self.folder(folder) as fd:
            yield fd, name or path

    @contextlib.contextmanager
    def folder(self, path: str) -> Iterator[int]:
        """Open a resolved folder and yield its descriptor. Raises OSError."""
        fd = self._open_folder(path)
        try:
            yield fd
        finally:
            os.close(fd)

    def _open_folder(self, path: str) -> int:
        if path in ("", "."):
            return os.dup(self._fd)
        opened = open_beneath(self._fd, path, _DIRECTORY)
        if opened is not None:
            return opened
        fd = os.dup(self._fd)
        try:
            for name in path.split("/"):
                inner = os.open(name, _DIRECTORY, dir_fd=fd)
                os.close(fd)
                fd = inner
        except OSError:
            os.close(fd)
            raise
        return fd

    def _read_link(self, folder: list[str], name: str) -> str | None:
        try:
            with self.folder("/".join(folder)) as fd:
                return os.readlink(name, dir_fd=fd)
        except OSError:
            return None


def describe(status: os.stat_result) -> str:
    """The file type in `status`, in words."""
    kinds = {
        stat.S_IFREG: "a file",
        stat.S_IFDIR: "a folder",
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
    }
    return kinds.get(stat.S_IFMT(status.st_mode), "a device")


def _read_all(fd: int, limit: int) -> bytes | None:
    """Read to the end of the file; None if that is more than `limit` bytes."""
    chunks: list[bytes] = []
    room = limit + 1
    while room and (chunk := os.read(fd, min(room, _CHUNK))):
        chunks.append(chunk)
        room -= len(chunk)
    return b"".join(chunks) if room else None


def _components(raw: str, roots: Sequence[str]) -> list[str]:
    if not raw:
        raise PathError("the path is empty")
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in raw):
        raise PathError(f"{raw!r}: control characters are not allowed in a path")
    if len(os.fsencode(raw)) > _MAX_PATH or any(len(os.fsencode(part)) > 255 for part in raw.split("/")):
        raise PathError(f"{raw[:80]}…: the path is too long")
    if raw == "~" or raw.startswith("~/"):
        raise PathError(f"{raw}: the home folder is outside the workspace; use a path relative to the workspace")
    path = _beneath(raw, roots, raw) if raw.startswith("/") else raw
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise PathError(f"{raw}: '..' is not allowed; use a path relative to the workspace")
    return parts


def _beneath(path: str, roots: Sequence[str], raw: str) -> str:
    """Make the absolute `path` relative to one of the spellings of the root. Raises PathError if it is outside."""
    for root in roots:
        base = root.rstrip("/")
        if path.rstrip("/") == base or path.startswith(f"{base}/"):
            return path[len(base) + 1 :] or "."
    raise PathError(f"{raw}: it is outside the workspace; use a path relative to the workspace")


def _reason(error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return "there is no such file"
    if error.errno == errno.ENOTDIR:
        return "a part of the path is not a folder"
    if error.errno == errno.ELOOP:
        return "a symbolic link appeared on the way"
    if error.errno == errno.ENXIO:
        return "it is not a regular file"
    return error.strerror or str(error)
