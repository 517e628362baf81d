"""One Python in one sandbox: runs cells, streams their output, and is killed when it does not obey."""

from __future__ import annotations

import asyncio
import base64
import binascii
import codecs
import contextlib
import itertools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from gptoss_tui.tools.python.frames import FrameReader, ProtocolError, encode, pack
from gptoss_tui.tools.python.sandbox import (
    OUT_OF_MEMORY,
    Limits,
    Sandbox,
    SandboxError,
    SandboxProcess,
    worker_source,
)

_START_SECONDS = 15.0
_GRACE_SECONDS = 2.0
_INTERRUPT_SECONDS = 5.0
"""How long a cell may take to stop after the user interrupted it; only the next cell waits for that."""
_READ_BYTES = 64 << 10
_PIECES = 16
_SENT_PER_OUTPUT = 64
"""Frames that take more than this many times the allowed output cannot come from our worker."""
_FIGURE_BYTES = 4 << 20
"""The most bytes (Base64) that a cell's figures may take, besides the output; same as `worker._MAX_FIGURE_BYTES`."""
_FIGURES = 8
"""The most figures that a cell may send, each of which becomes a file; same as `worker._MAX_FIGURES`."""
_FRAME_SLACK = 512 << 10
_PNG = b"\x89PNG\r\n\x1a\n"
_MEMORY_ERROR = "MemoryError"

T = TypeVar("T")
Ending = Literal["ok", "error", "timeout", "memory", "died"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a cell ended. If `alive` is False, the interpreter is gone, and its state with it. `dropped` is in bytes.

    The ending `memory` means that the memory limit was hit, by an exception or by the process's death. `figures` are
    PNG files.
    """

    ending: Ending
    text: str
    alive: bool
    dropped: int = 0
    why: str = ""
    figures: tuple[bytes, ...] = ()


class Interpreter:
    """A running worker, created by `start`. It cannot be used after `kill` or an outcome that is not alive."""

    def __init__(self, process: SandboxProcess, limits: Limits) -> None:
        self._process = process
        self._limits = limits
        self._frames = FrameReader()
        self._pending: list[dict[str, Any]] = []
        self._cells = itertools.count(1)
        self._cell = 0
        self._received = 0
        self._figures = _Figures()
        # Cancelling a read whose bytes have already arrived would lose them, so only this task reads.
        self._pieces: asyncio.Queue[bytes] = asyncio.Queue(_PIECES)
        self._pump = asyncio.create_task(self._pumped(), name="read the Python worker")

    @classmethod
    async def start(cls, sandbox: Sandbox, limits: Limits) -> Interpreter:
        """Start a worker and wait until it is ready for its first cell. Raises SandboxError."""
        process = await sandbox.start(limits)
        interpreter = cls(process, limits)
        try:
            async with asyncio.timeout(_START_SECONDS):
                await process.write(pack(worker_source()) + encode(sandbox.worker_limits(limits)))
                ready = await interpreter._receive()
            if ready != {"ready": True}:
                raise ProtocolError("another first frame")
        except (OSError, EOFError, TimeoutError, ProtocolError) as error:
            why = await interpreter.end() or str(error) or "it gave no sign of life"
            raise SandboxError(f"Python did not start in {sandbox.name}: {why}") from error
        except BaseException:
            interpreter.kill()
            raise
        return interpreter

    async def run(self, code: str, on_output: Callable[[str], None]) -> Outcome:
        """Run a cell. If this is cancelled, the cell keeps running: `interrupt` or `kill` must follow."""
        self._cell = cell = next(self._cells)
        output = _Output(on_output, self._limits.output)
        self._received, self._figures = 0, _Figures()
        try:
            ending, done = await self._run(cell, code, output)
        except TimeoutError:  # an OSError, too
            await self.end()
            return Outcome("timeout", output.finish(), alive=False)
        except (OSError, EOFError, ProtocolError):
            why = await self.end()
            return Outcome("memory" if why == OUT_OF_MEMORY else "died", output.finish(), alive=False, why=why)
        except asyncio.CancelledError:
            raise
        except BaseException:
            self.kill()
            raise
        if ending == "timeout" and done["strays"]:
            # Processes that the cell started are still running and would keep using the machine.
            await self.end()
            return Outcome("timeout", output.finish(), alive=False)
        text = output.finish()
        if ending == "error" and text.rstrip().rpartition("\n")[2].startswith(_MEMORY_ERROR):
            ending = "memory"
        return Outcome(ending, text, alive=True, dropped=done["dropped"], figures=self._figures.done)

    async def interrupt(self) -> bool:
        """Stop the cell that a cancelled `run` left behind. Returns False if it did not stop and the state is lost."""
        output = _Output(lambda text: None, self._limits.output)
        try:
            deadline = time.monotonic() + _INTERRUPT_SECONDS
            await _within(self._process.write(encode({"interrupt": self._cell})), deadline)
            done = await _within(self._until_done(self._cell, output), deadline)
        except (OSError, EOFError, ProtocolError):  # a TimeoutError is an OSError
            done = {"strays": 1}
        except BaseException:
            self.kill()
            raise
        if done["strays"]:
            await self.end()
        return not done["strays"]

    def kill(self) -> None:
        """Kill the worker now."""
        self._process.kill()
        with contextlib.suppress(RuntimeError):  # the event loop is closed, and the task with it
            self._pump.cancel()

    async def end(self) -> str:
        """Kill the worker and wait for its end. Returns why it had ended on its own, as far as known."""
        self.kill()
        return await self._process.wait()

    async def _pumped(self) -> None:
        """Queue the worker's bytes as they arrive, at most `_PIECES` pieces ahead; an empty piece marks the end."""
        try:
            while data := await self._process.read(_READ_BYTES):
                await self._pieces.put(data)
        except OSError:
            pass
        await self._pieces.put(b"")

    async def _run(self, cell: int, code: str, output: _Output) -> tuple[Ending, dict[str, Any]]:
        """Run a cell to its end or time limit. Raises TimeoutError when it cannot be stopped."""
        deadline = time.monotonic() + self._limits.seconds
        await _within(self._process.write(encode({"id": cell, "code": code})), deadline + _GRACE_SECONDS)
        try:
            done = await _within(self._until_done(cell, output), deadline)
        except TimeoutError:
            await _within(self._process.write(encode({"interrupt": cell})), deadline + _GRACE_SECONDS)
            done = await _within(self._until_done(cell, output), deadline + _GRACE_SECONDS)
            return "timeout", done
        return ("ok" if done["ok"] else "error"), done

    async def _until_done(self, cell: int, output: _Output) -> dict[str, Any]:
        while True:
            message = await self._receive()
            if message.get("id") != cell:
                raise ProtocolError("a frame of another cell")
            if isinstance(text := message.get("text"), str):
                output.add(text)
            elif isinstance(piece := message.get("figure"), str):
                self._received -= len(piece)
                self._figures.add(piece, last=message.get("last") is True)
            elif message.get("done") is True:
                return _checked(message)
            else:
                raise ProtocolError("an unknown frame")

    async def _receive(self) -> dict[str, Any]:
        while not self._pending:
            data = await self._pieces.get()
            if not data:
                raise EOFError
            self._received += len(data)
            if self._received > self._limits.output * _SENT_PER_OUTPUT + _FRAME_SLACK:
                raise ProtocolError("too many bytes")
            self._pending = self._frames.feed(data)
        return self._pending.pop(0)


async def _within(work: Awaitable[T], deadline: float) -> T:
    async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
        return await work


class _Figures:
    """Assembles the pictures of a cell from their pieces. As they come from a sandbox, they are checked to be PNG."""

    def __init__(self) -> None:
        self.done: tuple[bytes, ...] = ()
        self._pieces: list[str] = []
        self._room = _FIGURE_BYTES

    def add(self, piece: str, *, last: bool) -> None:
        self._room -= len(piece)
        if self._room < 0:
            raise ProtocolError("too large a figure")
        if len(self.done) == _FIGURES:
            raise ProtocolError("too many figures")
        self._pieces.append(piece)
        if last:
            try:
                data = base64.b64decode("".join(self._pieces), validate=True)
            except (binascii.Error, ValueError):
                raise ProtocolError("a figure that is not Base64") from None
            if not data.startswith(_PNG):
                raise ProtocolError("a figure that is not PNG")
            self.done, self._pieces = (*self.done, data), []


class _Output:
    """Decodes the output of a cell from its bytes (sent as Latin-1), at most `limit` of them."""

    def __init__(self, on_output: Callable[[str], None], limit: int) -> None:
        self._on_output = on_output
        self._room = limit
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pieces: list[str] = []

    def add(self, text: str) -> None:
        try:
            data = text.encode("latin-1")[: self._room]
        except UnicodeEncodeError:
            raise ProtocolError("output that is not bytes") from None
        self._room -= len(data)
        self._put(self._decoder.decode(data))

    def finish(self) -> str:
        self._put(self._decoder.decode(b"", final=True))
        return "".join(self._pieces)

    def _put(self, text: str) -> None:
        if text:
            self._pieces.append(text)
            self._on_output(text)


def _checked(message: dict[str, Any]) -> dict[str, Any]:
    for name, kind in (("ok", bool), ("dropped", int), ("strays", int)):
        if type(message.get(name)) is not kind:
            raise ProtocolError(f"a last frame without {name}")
    if min(message["dropped"], message["strays"]) < 0:
        raise ProtocolError("a last frame that counts below nothing")
    return message
