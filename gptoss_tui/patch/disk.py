"""Small steps on names in an open folder, synced where it matters. They follow no link."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import sys
from pathlib import Path

_CHUNK = 1 << 20
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CAPABILITIES = "security.capability"  # rights of a program beyond its user: new content does not get them
_CANNOT_SYNC = (errno.EINVAL, errno.ENOTSUP)


def sync(fd: int) -> None:
    """Onto the disk itself; on macOS `fsync` alone stops at the drive's cache."""
    if sys.platform == "darwin":
        import fcntl

        with contextlib.suppress(OSError):
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
            return
    os.fsync(fd)


def sync_folder(fd: int) -> None:
    """The names in a folder onto the disk; file systems that cannot are left alone."""
    try:
        sync(fd)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise


def make_folder(path: Path) -> None:
    """A folder for its owner alone, with those above it; their names are on the disk when this returns."""
    missing = [place for place in (path, *path.parents) if not place.exists()]
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    for place in reversed(missing):
        above = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            sync_folder(above)
        finally:
            os.close(above)


def status(folder: int, name: str) -> os.stat_result | None:
    """`lstat`; None when there is no such name."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def remove(folder: int, name: str) -> None:
    """Take the name away if it is there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def same_file(one: os.stat_result | None, other: os.stat_result | None) -> bool:
    """Whether both are names of one file."""
    return one is not None and other is not None and (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)


def unchanged(seen: os.stat_result, now: os.stat_result) -> bool:
    """Whether `now` is the file that was seen, not written since."""
    return same_file(seen, now) and (seen.st_size, seen.st_mtime_ns) == (now.st_size, now.st_mtime_ns)


def copy_attributes(folder: int, name: str, to: int) -> None:
    """The extended attributes of the file `name`: lists of who may read it, labels, notes. As far as they can be set.

    Without its list, the group bits of a mode would let the group do what only somebody on the list may.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError):
        fd = os.open(name, _READ, dir_fd=folder)
        try:
            for attribute in os.listxattr(fd):
                if attribute != _CAPABILITIES:
                    with contextlib.suppress(OSError):
                        os.setxattr(to, attribute, os.getxattr(fd, attribute))
        finally:
            os.close(fd)


def fingerprint(folder: int, name: str) -> str | None:
    """SHA-256 of a regular file; an empty text for another kind of thing, None when there is nothing."""
    try:
        fd = os.open(name, _READ, dir_fd=folder)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            return ""
        raise
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return ""
        digest = hashlib.sha256()
        while chunk := os.read(fd, _CHUNK):
            digest.update(chunk)
        return digest.hexdigest()
    finally:
        os.close(fd)


def starts_like(folder: int, name: str, whole: str) -> bool:
    """Whether the regular file `name` is the beginning of the file `whole`."""
    if fingerprint(folder, name) in (None, ""):
        return False
    with (
        open(os.open(name, _READ, dir_fd=folder), "rb") as part,
        open(os.open(whole, _READ, dir_fd=folder), "rb") as full,
    ):
        while chunk := part.read(_CHUNK):
            if full.read(len(chunk)) != chunk:
                return False
    return True
