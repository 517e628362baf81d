"""Two Linux system calls that Python does not provide, and whether the running kernel has them.

`openat2` opens a path, and the kernel itself refuses to follow links or to leave the starting folder. `renameat2` swaps
two names atomically, so that no other program's file can get lost between a check and a rename. Without them, callers
fall back to ways that are as safe but need more steps.
"""

from __future__ import annotations

import errno
import functools
import os
import sys
from collections.abc import Callable

_OPENAT2 = 437  # the same number on every architecture
_BENEATH, _NO_SYMLINKS, _NO_MAGICLINKS = 0x08, 0x04, 0x02
_EXCHANGE = 2
_MISSING = (errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.E2BIG)


def open_beneath(folder: int, path: str, flags: int) -> int | None:
    """Open `path` (without `..`) beneath `folder`. Returns a descriptor, or None if the kernel lacks `openat2`.

    Raises OSError: ELOOP for a link on the way, EXDEV for a path that leads out.
    """
    call = _openat2()
    return None if call is None else call(folder, path, flags)


def exchange(folder: int, one: str, other: str) -> bool:
    """Swap two names in a folder. Returns False, with nothing done, if that is not supported. Raises OSError."""
    call = _renameat2()
    return call is not None and call(folder, one, other)


@functools.cache
def _openat2() -> Callable[[int, str, int], int] | None:
    if sys.platform != "linux":
        return None
    import ctypes

    class How(ctypes.Structure):
        _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))

    try:
        syscall = ctypes.CDLL(None, use_errno=True).syscall
    except (OSError, AttributeError):
        return None
    syscall.restype = ctypes.c_long

    def call(folder: int, path: str, flags: int) -> int:
        how = How(flags | os.O_CLOEXEC, 0, _BENEATH | _NO_SYMLINKS | _NO_MAGICLINKS)
        arguments = (ctypes.c_int(folder), ctypes.c_char_p(os.fsencode(path)), ctypes.byref(how))
        while True:
            fd = syscall(ctypes.c_long(_OPENAT2), *arguments, ctypes.c_size_t(ctypes.sizeof(how)))
            if fd >= 0:
                return int(fd)
            code = ctypes.get_errno()
            if code not in (errno.EINTR, errno.EAGAIN):
                raise OSError(code, os.strerror(code), path)

    return call if _works(call) else None


def _works(call: Callable[[int, str, int], int]) -> bool:
    """Whether the call works: old kernels lack it, and the filters of some containers forbid it."""
    root = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.close(call(root, ".", os.O_RDONLY | os.O_DIRECTORY))
    except OSError:
        return False
    finally:
        os.close(root)
    return True


@functools.cache
def _renameat2() -> Callable[[int, str, str], bool] | None:
    if sys.platform != "linux":
        return None
    import ctypes

    try:
        function = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    function.restype = ctypes.c_int

    def call(folder: int, one: str, other: str) -> bool:
        if function(folder, os.fsencode(one), folder, os.fsencode(other), _EXCHANGE) == 0:
            return True
        code = ctypes.get_errno()
        if code in _MISSING:
            return False
        raise OSError(code, os.strerror(code), one)

    return call
