"""The system call filter: what the assembled program says, run as the kernel runs it."""

from __future__ import annotations

import errno
import json
import re
import struct
from pathlib import Path

import pytest

from gptoss_tui.tools.python.seccomp import _MODES, REFUSED, assemble, docker_profile, machines

ALLOW, KILL = 0x7FFF0000, 0x80000000
ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
COLUMN = {"x86_64": 0, "aarch64": 1}
CLONE = {"x86_64": 56, "aarch64": 220}
IOCTL = {"x86_64": 16, "aarch64": 29}
OPENAT = {"x86_64": 257, "aarch64": 56}
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}


def decide(
    machine: str, number: int, *arguments: int, architecture: int | None = None, assembled: bytes | None = None
) -> int:
    """What the filter returns for a call: the program, interpreted."""
    audit = ARCHITECTURE[machine] if architecture is None else architecture
    data = struct.pack("=iIQ6Q", number, audit, 0, *(*arguments, *[0] * (6 - len(arguments))))
    program = list(struct.iter_unpack("=HBBI", assembled or assemble(machine)))
    accumulator = at = 0
    while True:
        code, if_true, if_false, value = program[at]
        at += 1
        if code == 0x06:
            return int(value)
        if code == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, value)
        else:
            test = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}[code]
            at += if_true if test else if_false


def refused(error: int) -> int:
    return 0x00050000 | error


@pytest.fixture(params=machines())
def machine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("name", REFUSED)
def test_refused_calls(machine: str, name: str) -> None:
    number = REFUSED[name][COLUMN[machine]]
    if number is not None:
        assert decide(machine, number) == refused(errno.EPERM)


def test_everything_else_is_allowed_up_to_the_calls_that_are_known(machine: str) -> None:
    numbers = {n[COLUMN[machine]] for n in REFUSED.values()}
    allowed = [n for n in range(463) if n not in numbers and n != 435]
    assert {decide(machine, number) for number in allowed} == {ALLOW}
    assert OPENAT[machine] in allowed
    for number in (435, 463, 500, 0x40000000, 0x40000000 + 59):
        assert decide(machine, number) == refused(errno.ENOSYS)


def test_calls_of_another_architecture_end_the_process(machine: str) -> None:
    for architecture in (0x40000003, 0, *(a for m, a in ARCHITECTURE.items() if m != machine)):
        assert decide(machine, OPENAT[machine], architecture=architecture) == KILL


@pytest.mark.parametrize("bit", range(64))
def test_clone_makes_no_namespaces(machine: str, bit: int) -> None:
    namespaces = {7, 17, 25, 26, 27, 28, 29, 30}
    expected = refused(errno.EPERM) if bit in namespaces else ALLOW
    assert decide(machine, CLONE[machine], 1 << bit) == expected


def test_terminals_get_no_characters(machine: str) -> None:
    for request in (0x5412, 0x541C):
        assert decide(machine, IOCTL[machine], 0, request) == refused(errno.EPERM)
        assert decide(machine, IOCTL[machine], 0, request | 1 << 32) == refused(errno.EPERM)
    assert decide(machine, IOCTL[machine], 0, 0x5413) == ALLOW
    assert decide(machine, IOCTL[machine], 0x5412, 0) == ALLOW


SOCKET = {"x86_64": 41, "aarch64": 198}
SHELL_FAMILIES = (2, 10)


def test_a_command_gets_only_the_sockets_that_are_named(machine: str) -> None:
    program = assemble(machine, SHELL_FAMILIES, setuid=False)
    for family in range(64):
        expected = ALLOW if family in SHELL_FAMILIES else refused(errno.EPERM)
        assert decide(machine, SOCKET[machine], family, assembled=program) == expected
    for name, numbers in REFUSED.items():
        number = numbers[COLUMN[machine]]
        if number is not None and name != "socket":
            assert decide(machine, number, assembled=program) == refused(errno.EPERM)
    assert decide(machine, CLONE[machine], 1 << 28, assembled=program) == refused(errno.EPERM)
    assert decide(machine, IOCTL[machine], 0, 0x5412, assembled=program) == refused(errno.EPERM)


@pytest.mark.parametrize("name", _MODES)
def test_a_command_makes_no_file_that_runs_as_its_owner(machine: str, name: str) -> None:
    *numbers, argument = _MODES[name]
    number = numbers[COLUMN[machine]]
    program = assemble(machine, SHELL_FAMILIES, setuid=False)
    for mode in range(0o10000) if number is not None else ():
        arguments = [0] * argument + [mode]
        expected = refused(errno.EPERM) if mode & 0o6000 else ALLOW
        assert decide(machine, number or 0, *arguments, assembled=program) == expected
    assert decide(machine, 437, assembled=program) == refused(errno.ENOSYS)
    assert decide(machine, 437) == ALLOW


def test_numbers_are_those_of_the_kernels_headers(machine: str) -> None:
    if not HEADERS[machine].exists():
        pytest.skip(f"no {HEADERS[machine]} here")
    text = HEADERS[machine].read_text()
    known = {name: int(number) for name, number in re.findall(r"#define __NR_(\w+)\s+(\d+)", text)}
    for name, numbers in REFUSED.items():
        if numbers[COLUMN[machine]] is not None and name in known:
            assert known[name] == numbers[COLUMN[machine]], name
    for name, numbers in _MODES.items():
        if numbers[COLUMN[machine]] is not None and name in known:
            assert known[name] == numbers[COLUMN[machine]], name
    assert sum(name in known for name in REFUSED) > 50


def test_docker_is_given_the_same_calls() -> None:
    rules = json.loads(docker_profile())["syscalls"]
    assert set(rules[0]["names"]) == set(REFUSED)
    assert {a["value"] for rule in rules for a in rule.get("args", ()) if rule["names"] == ["clone"]} == {
        1 << bit for bit in (7, 17, 25, 26, 27, 28, 29, 30)
    }
