"""One worker process as seen from the front end: starting it, exchanging messages, handling its death."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from platformdirs import user_log_path

from gptoss_tui.engine.types import PrefillProgress, TokenBatch
from gptoss_tui.engine.worker import protocol
from gptoss_tui.engine.worker.protocol import Cancel, Failed, Generate, Generated, Progress, Reply, Request, Score
from gptoss_tui.errors import EngineDiedError, EngineError
from gptoss_tui.sanitize import to_terminal_text

OUTPUT_BYTES = 64 * 1024
"""How many bytes of the worker's most recent output are kept."""

TAIL_LINES, TAIL_CHARACTERS = 6, 800
LOG_FILE = "engine.log"

_EXIT_SECONDS = 2.0

# OpenMP threads that spin at barriers compete with the front end for cores: beside one busy program on 2 cores, a model
# like nano decoded 5 tokens/s with spinning and 60 with sleeping, at a tenth of the CPU time (AMD EPYC, torch 2.13).
#
# oneDNN caches a compiled product for each shape, and in prefill experts get a new number of rows every time: with the
# default limit of 1024 shapes, a long prompt took 2 GB more than the memory plan allows.
_ENVIRONMENT_DEFAULTS = {"OMP_WAIT_POLICY": "PASSIVE", "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64"}


class Mailbox:
    """Unread replies to one request.

    Bounded without back-pressure: waiting token batches are merged into one, and only the latest progress is kept, so a
    reader that does not read costs at most the tokens of its own generation.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        self.ended = False
        self._replies: deque[Reply] = deque()
        self._arrived = asyncio.Event()

    def put(self, reply: Reply) -> None:
        """Add a reply. Replies after the last one of the request are dropped."""
        if self.ended:
            return
        self.ended = protocol.ends_request(reply)
        merged = _merge(self._replies[-1], reply) if self._replies else None
        if merged is not None:
            self._replies[-1] = merged
        else:
            self._replies.append(reply)
        self._arrived.set()

    async def get(self) -> Reply:
        """Wait for the next reply. Raises the error of a `Failed`."""
        while not self._replies:
            self._arrived.clear()
            await self._arrived.wait()
        reply = self._replies.popleft()
        if isinstance(reply, Failed):
            raise reply.error
        return reply


def _merge(last: Reply, new: Reply) -> Reply | None:
    match last, new:
        case Generated(event=TokenBatch(tokens=before)), Generated(event=TokenBatch(tokens=after)):
            return Generated(new.id, TokenBatch(before + after))
        case Generated(event=PrefillProgress()), Generated(event=PrefillProgress()):
            return new
        case Progress(), Progress():
            return new
        case _:
            return None


class Connection:
    """A running worker process and its open requests. Belongs to one event loop."""

    def __init__(
        self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.dead = False
        self._process = process
        self._writer = writer
        self._mailboxes: dict[int, Mailbox] = {}
        self._next_id = 0
        self._output = bytearray()
        self._closing = False
        self._log: Path | None = None
        self._output_task = asyncio.create_task(self._keep_output())
        self._reader_task = asyncio.create_task(self._read(reader))

    @classmethod
    async def open(cls) -> Connection:
        """Start a worker, which loads nothing until asked. Raises EngineError if it cannot be started."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                # -P: the user's working directory must not shadow a module that the worker imports.
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", "-u", "-X", "faulthandler"),
                    *("-m", "gptoss_tui.engine.worker", str(theirs.fileno())),
                    env=_ENVIRONMENT_DEFAULTS | os.environ,
                    # The user's working directory may be deleted, and torch's maths library does not start in a
                    # directory that no longer exists.
                    cwd=os.sep,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.STDOUT,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
            reader, writer = await asyncio.open_connection(sock=ours)
        except OSError as error:
            ours.close()
            raise EngineError(f"The engine's process cannot be started: {error}") from error
        except BaseException:
            ours.close()
            raise
        return cls(process, reader, writer)

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._process.pid

    @asynccontextmanager
    async def request(self, make: Callable[[int], Request]) -> AsyncIterator[Mailbox]:
        """Send the request that `make` builds from an id; its replies arrive in the mailbox.

        Leaving the context before the last reply drops the remaining replies, and cancels a generation or scoring.
        """
        if self.dead:
            await asyncio.wait({self._reader_task})
            raise self._failure()
        self._next_id += 1
        request = make(self._next_id)
        mailbox = self._mailboxes[request.id] = Mailbox(request)
        self._writer.write(protocol.encode_request(request))
        try:
            yield mailbox
        finally:
            del self._mailboxes[request.id]
            if not mailbox.ended:
                self._cancel(mailbox)

    def cancel_running(self) -> None:
        """Cancel the running generation or scoring; waiting ones are not affected."""
        stoppable = (m for m in self._mailboxes.values() if isinstance(m.request, Generate | Score) and not m.ended)
        running = next(stoppable, None)
        if running is not None:
            self._cancel(running)

    def output_tail(self) -> str:
        """The last lines of the worker's output, safe for a terminal."""
        lines = self._output.decode(errors="replace").strip().splitlines()
        return to_terminal_text("\n".join(lines[-TAIL_LINES:]))[-TAIL_CHARACTERS:]

    async def close(self) -> None:
        """End the worker and wait until it is gone. Open requests fail with EngineError. Idempotent."""
        self._closing = True
        self._writer.close()
        await asyncio.wait({self._reader_task})

    def _cancel(self, mailbox: Mailbox) -> None:
        if not self.dead and isinstance(mailbox.request, Generate | Score):
            self._writer.write(protocol.encode_request(Cancel(mailbox.request.id)))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while (payload := await protocol.read(reader)) is not None:
                reply = protocol.decode_reply(payload)
                if mailbox := self._mailboxes.get(reply.id):
                    mailbox.put(reply)
        except protocol.ProtocolError as error:
            self._output += f"\n{error}\n".encode()
        await self._end()

    async def _end(self) -> None:
        """After the socket was closed: make sure that the process is gone too, then fail all open requests."""
        self.dead = True
        self._writer.close()
        try:
            await asyncio.wait_for(self._process.wait(), _EXIT_SECONDS)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()
        await asyncio.wait({self._output_task}, timeout=_EXIT_SECONDS)
        if self._output and not self._closing:
            self._log = _write_log(bytes(self._output))
        for mailbox in self._mailboxes.values():
            mailbox.put(Failed(mailbox.request.id, self._failure()))

    def _failure(self) -> EngineError:
        if self._closing:
            return EngineError("The engine was closed")
        tail = self.output_tail()
        return EngineDiedError(
            f"The engine's process ended: {_cause(self._process.returncode)}" + (f"\n{tail}" if tail else ""),
            hint="the conversation is kept; restart the engine"
            + (f" (its output is in {self._log})" if self._log else ""),
        )

    async def _keep_output(self) -> None:
        assert self._process.stdout is not None
        while chunk := await self._process.stdout.read(OUTPUT_BYTES):
            self._output += chunk
            del self._output[:-OUTPUT_BYTES]


def _cause(returncode: int | None) -> str:
    if returncode is None or returncode >= 0:
        return f"exit code {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = f"signal {-returncode}"
    return f"killed by {name}" + (", perhaps because memory ran out" if -returncode == signal.SIGKILL else "")


def _write_log(output: bytes) -> Path | None:
    """Store a dead worker's output where a bug report can find it; returns None if that fails."""
    path = user_log_path("gptoss-tui") / LOG_FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_bytes(output)
    except OSError:
        return None
    return path
