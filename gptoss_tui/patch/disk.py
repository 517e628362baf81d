"""Small file operations on names in an open folder, synced where it matters. None of them follows links."""

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
_CAPABILITIES = "security.capability"  # extra privileges of a program, which new content must not get
_CANNOT_SYNC = (errno.EINVAL, errno.ENOTSUP)


def sync(fd: int) -> None:
    """Flush a file to the disk itself; on macOS, `fsync` alone only reaches the drive's cache."""
    if sys.platform == "darwin":
        import fcntl

        with contextlib.suppress(OSError):
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
            return
    os.fsync(fd)


def sync_folder(fd: int) -> None:
    """Flush the entries of a folder to disk; does nothing on file systems that do not support it."""
    try:
        sync(fd)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise


def make_folder(path: Path) -> None:
    """Create a folder that only its owner can use, with missing parents, and sync their entries to disk."""
    missing = [place for place in (path, *path.parents) if not place.exists()]
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    for place in reversed(missing):
        above = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            sync_folder(above)
        finally:
            os.close(above)


def status(folder: int, name: str) -> os.stat_result | None:
    """`lstat` of a name, or None if it does not exist."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def remove(folder: int, name: str) -> None:
    """Remove the name if it exists."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def same_file(one: os.stat_result | None, other: os.stat_result | None) -> bool:
    """Whether both are the same file."""
    return one is not None and other is not None and (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)


def unchanged(seen: os.stat_result, now: os.stat_result) -> bool:
    """Whether `now` is the same file as `seen`, and was not written since."""
    return same_file(seen, now) and (seen.st_size, seen.st_mtime_ns) == (now.st_size, now.st_mtime_ns)


def copy_attributes(folder: int, name: str, to: int) -> None:
    """Copy the extended attributes of the file `name`, such as ACLs and labels, as far as they can be set.

    Without the ACL, the mode's group bits would grant the group what the ACL grants only to its members.
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
    """The SHA-256 of a regular file; an empty string for any other type, None if it does not exist."""
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
    """Whether the content of the regular file `name` is a prefix of that of the file `whole`."""
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
