"""The escape corpus as a command: what the sandbox for commands lets happen is what it is meant to let happen."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gptoss_tui.tools.base import Workspace
from gptoss_tui.tools.python.sandbox import SandboxError
from gptoss_tui.tools.shell.probes import self_test
from gptoss_tui.tools.shell.process import Launch
from gptoss_tui.tools.shell.sandbox import Access, ShellSandbox, find_shell_sandbox
from gptoss_tui.tools.shell.tool import ShellTool
from tests.tools.calls import call
from tests.tools.python.escapes import Canaries, corpus
from tests.tools.python.test_escape import MIN_ATTEMPTS, connections, listeners

__all__ = ["listeners"]

ALLOWED = {
    # Sockets of its own network, which has nothing but its own loopback.
    *(f"socket {family} {kind}" for family in ("AF_INET", "AF_INET6") for kind in (1, 2)),
    # Process 1 is a shell of the command's own, behind the same filter.
    *("write to /proc/1/mem", "write to /proc/1/oom_score_adj", "read /proc/1/environ", "read /proc/1/mem"),
    # A command sees the file system, read-only.
    *("read /etc/ssh", "read /root"),
}


@pytest.fixture
def canaries(listeners: tuple[Canaries, list[socket.socket]]) -> Iterator[Canaries]:
    yield listeners[0]
    assert connections(listeners[1]) == 0


async def test_nothing_gets_out(shell: ShellTool, root: Path, canaries: Canaries) -> None:
    (root / "corpus.py").write_text(corpus(canaries, control=False))
    *escapes, last = (await call(shell, "/usr/bin/python3 corpus.py")).splitlines()
    assert set(escapes) <= ALLOWED
    assert int(last.split()[0]) >= MIN_ATTEMPTS


async def test_with_the_network_only_the_network_is_added(shell: ShellTool, root: Path, canaries: Canaries) -> None:
    (root / "corpus.py").write_text(corpus(replace(canaries, port=1), control=False))
    command = '{"command": "/usr/bin/python3 corpus.py", "network": true}'
    *escapes, last = (await call(shell, command)).splitlines()
    assert set(escapes) <= {*ALLOWED, "network interfaces"}
    assert int(last.split()[0]) >= MIN_ATTEMPTS


async def test_commands_have_a_session_of_their_own_and_no_capabilities(shell: ShellTool) -> None:
    look = "/usr/bin/python3 -c 'import os; print(os.getsid(0))'; grep ^Cap /proc/self/status"
    session, *capabilities = (await call(shell, look)).splitlines()
    assert session != "0", "the session is one of processes outside, and so is its terminal"
    assert len(capabilities) == 5
    assert {line.split()[1] for line in capabilities} == {"0" * 16}


class Open:
    """A sandbox that holds nothing, and one that cannot be started."""

    def __init__(self, root: Path, program: str) -> None:
        self.root, self._program = root, program

    def launch(self, command: str, directory: Path, access: Access, seccomp: int, protected: object = None) -> Launch:
        return Launch([self._program, "-c", command], directory, dict(os.environ), (seccomp,))


async def test_the_self_test_sees_a_sandbox_that_is_none(root: Path) -> None:
    with pytest.raises(SandboxError, match="does not hold") as refusal:
        await self_test(Open(root, "/bin/bash"))  # type: ignore[arg-type]
    for caught in ("has no system call filter", "sees other processes", "may gain privileges"):
        assert caught in refusal.value.message


async def test_a_sandbox_that_cannot_be_started_is_none(root: Path) -> None:
    for program in ("/nowhere/bwrap", "/bin/false"):
        shell = ShellTool(Workspace(root), find=lambda root, program=program: Open(root, program))  # type: ignore
        assert await shell.sandbox() is None
        prepared = await shell.prepare("true")
        assert prepared.effect is not None
        assert prepared.effect.reach == "host"


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root can be more than nobody")
async def test_root_is_nobody_before_anything_runs(shell: ShellTool, root: Path) -> None:
    sandbox = find_shell_sandbox(root)
    assert isinstance(sandbox, ShellSandbox)
    launch = sandbox.launch("true", root, Access(), 0, ())
    assert launch.argv[4].endswith("idmap.py")
    assert await call(shell, "id -u; stat -c %u /usr") == "65534\n65534\n"
