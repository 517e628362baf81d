"""Run as root before bubblewrap: gives one process, as `nobody`, access to a folder, without changing the disk.

    python -I -S idmap.py FOLDER PROGRAM ARGUMENT ...

If root starts bubblewrap, it does not isolate, because uid 0 inside remains the host's uid 0. So root switches to
`nobody` first, who may not write the folder. An id-mapped mount in this process's own mount namespace therefore shows
the owner's files as nobody's, and files that nobody creates there belong to the owner on the disk. It is mounted at
/tmp/workspace. Only the standard library is imported, so that this starts fast.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

WORKSPACE = "/tmp/workspace"
NOBODY = 65534

_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_MS_REC, _MS_PRIVATE, _MS_NOSUID, _MS_NODEV = 0x4000, 0x40000, 2, 4
_AT_FDCWD, _AT_EMPTY_PATH, _AT_RECURSIVE = -100, 0x1000, 0x8000
_OPEN_TREE_CLONE, _OPEN_TREE_CLOEXEC = 1, 0x80000
_MOVE_MOUNT_F_EMPTY_PATH = 4
_MOUNT_ATTR_IDMAP = 0x00100000

_libc = ctypes.CDLL(None, use_errno=True)


def main(folder: str, command: list[str]) -> None:
    """Mount `folder`, become `nobody` and execute `command`. Does not return."""
    _checked("unshare", _libc.unshare(_CLONE_NEWNS))
    _checked("mount", _libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None))
    tree = _mapped(folder)
    _checked("mount", _libc.mount(b"tmpfs", b"/tmp", b"tmpfs", _MS_NOSUID | _MS_NODEV, b"mode=755"))
    os.mkdir(WORKSPACE)
    _call("move_mount", _MOVE_MOUNT, tree, b"", _AT_FDCWD, WORKSPACE.encode(), _MOVE_MOUNT_F_EMPTY_PATH)
    os.close(tree)
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    os.chdir("/")
    os.execv(command[0], command)


def _mapped(folder: str) -> int:
    """Return a detached, id-mapped copy of the mount at `folder`, in which its owner appears as nobody."""
    status = os.stat(folder)
    tree = _call(
        "open_tree", _OPEN_TREE, _AT_FDCWD, os.fsencode(folder), _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | _AT_RECURSIVE
    )
    names = _user_namespace(status.st_uid, status.st_gid)
    attributes = struct.pack("=QQQQ", _MOUNT_ATTR_IDMAP, 0, 0, names)
    _call("mount_setattr", _MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH | _AT_RECURSIVE, attributes, len(attributes))
    os.close(names)
    return tree


def _user_namespace(uid: int, gid: int) -> int:
    """Create a user namespace that maps the ids on the disk, and return its descriptor; its process may then end."""
    ready, go = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        failed = _libc.unshare(_CLONE_NEWUSER)
        os.write(ready[1], b"n" if failed else b"y")
        os.close(go[1])
        os.read(go[0], 1)
        os._exit(0)
    answer = os.read(ready[0], 1)
    try:
        if answer != b"y":
            raise OSError("there can be no user namespace")
        for kind, number in (("uid", uid), ("gid", gid)):
            with open(f"/proc/{pid}/{kind}_map", "w") as file:
                file.write(f"{number} {NOBODY} 1")
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        for fd in (*ready, *go):
            os.close(fd)
        os.waitpid(pid, 0)


def _call(name: str, number: int, *arguments: int | bytes) -> int:
    converted = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return _checked(name, _libc.syscall(ctypes.c_long(number), *converted))


def _checked(name: str, result: int) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")
    return result


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2:])
    except OSError as error:
        sys.exit(f"the workspace cannot be given to an ordinary user: {error}")
