"""The one interface of the sandboxes: start a Python in one, talk to it in bytes, end it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gptoss_tui.errors import GptOssError

HOME = "/mnt/data"
"""The working folder inside: the models were told that it is there."""

WORKSPACE = "/workspace"
"""Where the workspace is inside, when the person wants it there; it can only be read."""

PACKAGES = "/opt/python-packages"
"""Where bubblewrap shows the packages that `gptoss-tui sandbox build` installed."""

OUT_OF_MEMORY = "it used too much memory"
"""What `SandboxProcess.wait` gives when that is certain."""

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
"""`python -c` of this runs the worker, whose text comes as the first frame on stdin."""

PYTHON_FLAGS = ("-I", "-B", "-u", "-c", BOOTSTRAP)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a sandbox may use: bytes of memory and of each tmpfs, processes, open files; seconds and bytes a cell."""

    memory: int = 512 << 20
    scratch: int = 64 << 20
    processes: int = 64
    files: int = 256
    output: int = 64 << 10
    seconds: float = 120.0


class SandboxError(GptOssError):
    """A sandbox cannot be used here; nothing was run in it."""


class SandboxProcess(Protocol):
    """A Python that runs in a sandbox. Its first frame is the worker's text."""

    async def read(self, size: int) -> bytes:
        """Some bytes of its stdout, at most `size`; none at its end."""
        ...

    async def write(self, data: bytes) -> None:
        """Put bytes on its stdin. Raises OSError when it is gone."""
        ...

    def kill(self) -> None:
        """End it and everything that it started, now. Idempotent; also while a read waits, which then ends."""
        ...

    async def wait(self) -> str:
        """Wait for its end. Gives what is known about why, in words; may be empty."""
        ...


class Sandbox(Protocol):
    """A way to run Python where it can do no harm."""

    @property
    def name(self) -> str:
        """As in the settings: `docker`, `bubblewrap`."""
        ...

    @property
    def description(self) -> str:
        """One line for people: what it is, and what it does not protect from."""
        ...

    def worker_limits(self, limits: Limits) -> dict[str, int]:
        """The limits that the worker has to set for itself, by its names for them."""
        ...

    async def start(self, limits: Limits) -> SandboxProcess:
        """A new process in a new sandbox. Raises SandboxError when there can be none."""
        ...


def worker_source() -> bytes:
    """The text of the worker."""
    return Path(__file__).with_name("worker.py").read_bytes()
