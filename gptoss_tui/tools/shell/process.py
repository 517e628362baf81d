"""Runs a command's process: streams its output, keeps its beginning and end, and can end everything it started."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

_READ_BYTES = 64 << 10
_TERM_SECONDS = 2.0
_LINGER_SECONDS = 0.5
_KILL_SECONDS = 10.0

CommandEnd = Literal["exit", "timeout"]


@dataclass(frozen=True, slots=True)
class Limits:
    """The seconds that a command may take, and the bytes of output that are kept, half of them from the end."""

    seconds: float = 120.0
    output: int = 64 << 10


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended. `code` is 128 + n after signal n, and None after a timeout; `dropped` is in bytes."""

    ending: CommandEnd
    code: int | None
    text: str
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Launch:
    """What to start. If `group`, the process leads a process group that is ended with it; else killing it is enough."""

    argv: Sequence[str]
    directory: Path
    environment: dict[str, str]
    pass_fds: tuple[int, ...] = ()
    group: bool = False


async def run_process(launch: Launch, limits: Limits, on_output: Callable[[str], None]) -> Outcome:
    """Run a command to its end. Raises OSError if it cannot be started; cancelling ends it and all that it started."""
    reading, writing = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            *launch.argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=writing,
            stderr=writing,
            cwd=launch.directory,
            env=launch.environment,
            pass_fds=launch.pass_fds,
            start_new_session=True,
        )
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    output = Output(limits.output, on_output)
    pump = asyncio.create_task(_pump(reading, output))
    try:
        async with asyncio.timeout(limits.seconds):
            code = await process.wait()
            await asyncio.wait([pump], timeout=_LINGER_SECONDS)
        return Outcome("exit", code if code >= 0 else 128 - code, output.finish(), output.dropped)
    except TimeoutError:
        if launch.group:
            await _ask(process)
        await _end(process, grouped=launch.group)
        await asyncio.wait([pump], timeout=_LINGER_SECONDS)
        return Outcome("timeout", None, output.finish(), output.dropped)
    finally:
        await _end(process, grouped=launch.group)
        pump.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(pump, return_exceptions=True)


async def _pump(reading: int, output: Output) -> None:
    """Read the pipe to its end, without a limit."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=_READ_BYTES)
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(reading, "rb", buffering=0)
    )
    try:
        while data := await reader.read(_READ_BYTES):
            output.add(data)
    finally:
        transport.close()


async def _ask(process: asyncio.subprocess.Process) -> None:
    """Send SIGTERM to the process and its group and give them some time to end."""
    signal_group(process.pid, signal.SIGTERM)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_TERM_SECONDS):
            await process.wait()


async def _end(process: asyncio.subprocess.Process, *, grouped: bool) -> None:
    """Make sure that nothing of the command is running any more. A cancellation meanwhile is raised at the end.

    In a sandbox, this first kills the init process of its namespace, not bubblewrap outside, which waits for it:
    bubblewrap then ends when the kernel has ended all processes inside.
    """
    first = [] if grouped or process.returncode is not None else _children(process.pid)
    for pid in first:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    cancelled = await _ended(process, _KILL_SECONDS) if first else False
    signal_group(process.pid, signal.SIGKILL)
    if await _ended(process) or cancelled:
        raise asyncio.CancelledError


async def _ended(process: asyncio.subprocess.Process, seconds: float | None = None) -> bool:
    """Wait for the process's end, at most `seconds`. Returns whether this was cancelled meanwhile."""
    until = None if seconds is None else asyncio.get_running_loop().time() + seconds
    cancelled = False
    while process.returncode is None:
        try:
            async with asyncio.timeout_at(until):
                await process.wait()
        except TimeoutError:
            break
        except asyncio.CancelledError:
            cancelled = True
    return cancelled


def _children(pid: int) -> list[int]:
    """The child processes of `pid`; empty where the kernel does not list them."""
    with contextlib.suppress(OSError, ValueError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def signal_group(pid: int, number: signal.Signals) -> None:
    """Signal a process group, if it still exists."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


@dataclass(slots=True)
class Output:
    """Decodes output as it arrives. Streams and keeps the first `limit // 2` bytes, and keeps the last `limit // 2`."""

    limit: int
    on_output: Callable[[str], None]
    dropped: int = 0
    _head: list[str] = field(default_factory=list)
    _room: int = 0
    _tail: bytearray = field(default_factory=bytearray)
    _decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace")
    )

    def __post_init__(self) -> None:
        self._room = self.limit // 2

    def add(self, data: bytes) -> None:
        """Add bytes that were read."""
        first, rest = data[: self._room], data[self._room :]
        self._room -= len(first)
        self._put(self._decoder.decode(first))
        if rest:
            self._tail += rest
            surplus = len(self._tail) - self.limit // 2
            if surplus > 0:
                del self._tail[:surplus]
                self.dropped += surplus

    def finish(self) -> str:
        """Return everything that was kept, with a mark where bytes are missing."""
        if not self.dropped:
            self._put(self._decoder.decode(bytes(self._tail), final=True))
            return "".join(self._head)
        self._put(self._decoder.decode(b"", final=True))
        mark = f"\n[… {self.dropped} bytes left out …]\n"
        self._put(mark + self._tail.decode("utf-8", "replace"))
        return "".join(self._head)

    def _put(self, text: str) -> None:
        if text:
            self._head.append(text)
            self.on_output(text)
