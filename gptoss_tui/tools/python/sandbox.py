"""The common interface of the sandboxes: start a Python in one, exchange bytes with it, end it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gptoss_tui.errors import GptOssError

HOME = "/mnt/data"
"""The working folder inside the sandbox: the models are told that it exists."""

WORKSPACE = "/workspace"
"""Where the workspace is mounted inside the sandbox, read-only, if the user wants it there."""

PACKAGES = "/opt/python-packages"
"""Where bubblewrap mounts the packages that `gptoss-tui sandbox build` installed."""

OUT_OF_MEMORY = "it used too much memory"
"""What `SandboxProcess.wait` returns when this is certain."""

BOOTSTRAP = """\
import os
def read(size):
    data = b""
    while len(data) < size:
        piece = os.read(0, size - len(data))
        if not piece:
            os._exit(0)
        data += piece
    return data
exec(compile(read(int.from_bytes(read(4), "big")), "<worker>", "exec"), {"__name__": "__worker__"})
"""
"""Run with `python -c`: reads the worker's source from the first frame on stdin and executes it."""

PYTHON_FLAGS = ("-I", "-B", "-u", "-c", BOOTSTRAP)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a sandbox may use: bytes of memory and of each tmpfs, processes, open files; output bytes and seconds per
    cell."""

    memory: int = 512 << 20
    scratch: int = 64 << 20
    processes: int = 64
    files: int = 256
    output: int = 64 << 10
    seconds: float = 120.0


class SandboxError(GptOssError):
    """A sandbox cannot be used here; nothing was run in it."""


class SandboxProcess(Protocol):
    """A Python process in a sandbox. The first frame sent to it is the worker's source."""

    async def read(self, size: int) -> bytes:
        """Read up to `size` bytes of its stdout; returns empty bytes at the end."""
        ...

    async def write(self, data: bytes) -> None:
        """Write bytes to its stdin. Raises OSError when the process is gone."""
        ...

    def kill(self) -> None:
        """Kill the process and everything it started. Idempotent; a pending `read` then ends."""
        ...

    async def wait(self) -> str:
        """Wait until the process has ended. Returns why it ended, in words, or an empty string if that is not known."""
        ...


class Sandbox(Protocol):
    """A way to run Python where it cannot do harm."""

    @property
    def name(self) -> str:
        """The name in the settings: `docker` or `bubblewrap`."""
        ...

    @property
    def description(self) -> str:
        """One line for users: what it is, and what it does not protect from."""
        ...

    def worker_limits(self, limits: Limits) -> dict[str, int]:
        """The limits that the worker has to set for itself, by the worker's names for them."""
        ...

    async def start(self, limits: Limits) -> SandboxProcess:
        """Start a process in a new sandbox. Raises SandboxError when that fails."""
        ...


def worker_source() -> bytes:
    """The source of the worker module."""
    return Path(__file__).with_name("worker.py").read_bytes()
