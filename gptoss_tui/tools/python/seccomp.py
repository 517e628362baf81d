"""The system calls that sandboxed code may not make: one list, as BPF for bubblewrap and as JSON for Docker.

Everything that can reach another namespace, the kernel's configuration, other processes' memory, or a large and young
part of the kernel is refused. The BPF program is assembled here: a single filter does not need a library.
"""

from __future__ import annotations

import errno
import json
import struct
from typing import Any, Final

REFUSED: Final[dict[str, tuple[int | None, int | None]]] = {
    "_sysctl": (156, None),
    "acct": (163, 89),
    "add_key": (248, 217),
    "adjtimex": (159, 171),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "create_module": (174, None),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioperm": (173, None),
    "iopl": (172, None),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "lookup_dcookie": (212, 18),
    "mbind": (237, 235),
    "migrate_pages": (256, 238),
    "modify_ldt": (154, None),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "move_pages": (279, 239),
    "name_to_handle_at": (303, 264),
    "nfsservctl": (180, 42),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "personality": (135, 92),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_madvise": (440, 440),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "set_mempolicy": (238, 237),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "socket": (41, 198),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "sysfs": (139, None),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "uselib": (134, None),
    "userfaultfd": (323, 282),
    "ustat": (136, None),
    "vhangup": (153, 58),
}
"""Names of calls with their numbers on x86-64 and aarch64. clone3, and some arguments of clone and ioctl, come on top.

"""

_CLONE3 = 435
_FIRST_UNKNOWN = 463
"""Calls newer than this list fail with ENOSYS. (The x32 calls of x86-64 have larger numbers, too.)"""

_NAMESPACES = 0x7E020080
"""Flags of clone that create namespaces: time, mount, cgroup, uts, ipc, user, pid, net."""

_INJECTING_IOCTLS = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX inject characters into a terminal's input."""

_MODES: Final[dict[str, tuple[int | None, int | None, int]]] = {
    "chmod": (90, None, 1),
    "creat": (85, None, 1),
    "fchmod": (91, 52, 1),
    "fchmodat": (268, 53, 2),
    "fchmodat2": (452, 452, 2),
    "mknod": (133, None, 1),
    "mknodat": (259, 33, 2),
    "open": (2, None, 2),
    "openat": (257, 56, 3),
}
"""Calls that set a file's mode: their numbers, and the index of the mode argument."""

_OPENAT2 = 437
_SETUID_OR_SETGID = 0o6000

_MACHINES = {"x86_64": (0, 0xC000003E, 56, 16), "aarch64": (1, 0xC00000B7, 220, 29)}
"""For each machine: its column above, its audit architecture, and its numbers of clone and ioctl."""

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT, _SECOND_ARGUMENT = 0, 4, 16, 24


def machines() -> tuple[str, ...]:
    """The values of `platform.machine()` that `assemble` supports."""
    return tuple(_MACHINES)


def assemble(machine: str, families: tuple[int, ...] = (), *, setuid: bool = True) -> bytes:
    """Assemble the filter as an array of `struct sock_filter`. Raises KeyError for a machine not in `machines()`.

    `families` are the allowed address families of sockets; none by default. Without `setuid`, no setuid or setgid file
    can be made: it would stay behind in the workspace, where others could run it.
    """
    column, architecture, clone, ioctl = _MACHINES[machine]
    socket = REFUSED["socket"][column]
    program = [
        _step(_LOAD, _ARCHITECTURE),
        _step(_EQUAL, architecture, 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER),
        *_answer(_AT_LEAST, _FIRST_UNKNOWN, errno.ENOSYS),
        # Without clone3, glibc falls back to clone, whose flags the filter can inspect.
        *_answer(_EQUAL, _CLONE3, errno.ENOSYS),
    ]
    for numbers in REFUSED.values():
        if (number := numbers[column]) is not None and not (families and number == socket):
            program += _answer(_EQUAL, number, errno.EPERM)
    if families and socket is not None:
        program += _sockets(socket, families)
    if not setuid:
        program += _modes(column)
    program += [
        _step(_EQUAL, clone, 0, 4),
        _step(_LOAD, _FIRST_ARGUMENT),
        *_answer(_ANY_BIT, _NAMESPACES, errno.EPERM),
        _step(_RETURN, _ALLOW),
        _step(_EQUAL, ioctl, 0, 6),
        _step(_LOAD, _SECOND_ARGUMENT),
        *(step for request in _INJECTING_IOCTLS for step in _answer(_EQUAL, request, errno.EPERM)),
        _step(_RETURN, _ALLOW),
        _step(_RETURN, _ALLOW),
    ]
    return b"".join(program)


def _sockets(number: int, families: tuple[int, ...]) -> list[bytes]:
    """Allow only sockets of `families`. Other calls pass with their number still in the accumulator."""
    return [
        _step(_EQUAL, number, 0, 2 * len(families) + 2),
        _step(_LOAD, _FIRST_ARGUMENT),
        *(step for family in families for step in (_step(_EQUAL, family, 0, 1), _step(_RETURN, _ALLOW))),
        _step(_RETURN, _ERROR | errno.EPERM),
    ]


def _modes(column: int) -> list[bytes]:
    """Refuse setuid and setgid bits in every call that takes a mode.

    openat2 passes the mode in a struct, which a filter cannot read; it fails with ENOSYS, and programs do without it.
    """
    steps = [*_answer(_EQUAL, _OPENAT2, errno.ENOSYS)]
    for *numbers, argument in _MODES.values():
        if (number := numbers[column]) is not None:
            steps += [
                _step(_EQUAL, number, 0, 4),
                _step(_LOAD, _FIRST_ARGUMENT + 8 * argument),
                *_answer(_ANY_BIT, _SETUID_OR_SETGID, errno.EPERM),
                _step(_RETURN, _ALLOW),
            ]
    return steps


def docker_profile() -> str:
    """The same filter in the form of Docker's `seccomp=` option."""
    rules: list[dict[str, Any]] = [
        {"names": list(REFUSED), "action": "SCMP_ACT_ERRNO", "errnoRet": errno.EPERM},
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSYS},
    ]
    flags = [1 << bit for bit in range(32) if _NAMESPACES >> bit & 1]
    rules += [_argument_rule("clone", 0, flag, "SCMP_CMP_MASKED_EQ") for flag in flags]
    rules += [_argument_rule("ioctl", 1, request, "SCMP_CMP_EQ") for request in _INJECTING_IOCTLS]
    return json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules})


def _argument_rule(name: str, index: int, value: int, comparison: str) -> dict[str, Any]:
    argument = {"index": index, "value": value, "op": comparison}
    if comparison == "SCMP_CMP_MASKED_EQ":
        argument["valueTwo"] = value
    return {"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.EPERM, "args": [argument]}


def _answer(test: int, value: int, error: int) -> tuple[bytes, bytes]:
    """Steps that fail the call with `error` if the test is true, and continue otherwise."""
    return _step(test, value, 0, 1), _step(_RETURN, _ERROR | error)


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
