"""The connection to a server that is a local program: messages over its stdin and stdout, one per line.

This is like the SDK's own stdio transport, except that the SDK buffers a line without limit; here its length is
limited.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

import anyio
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage
from mcp.types import jsonrpc_message_adapter

from gptoss_tui.tools.mcp import bounded
from gptoss_tui.tools.mcp.config import ServerConfig
from gptoss_tui.tools.shell.process import signal_group

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

END_SECONDS = 2.0
"""How long a server may take to end after its stdin is closed, and again after SIGTERM."""

_FLUSH_SECONDS = 0.5
_CHUNK = 64 << 10
_GONE = (anyio.ClosedResourceError, anyio.BrokenResourceError)

Received = SessionMessage | Exception


@asynccontextmanager
async def program(
    config: ServerConfig, errors: IO[bytes], on_fault: Callable[[str], None]
) -> AsyncIterator[tuple[MemoryObjectReceiveStream[Received], MemoryObjectSendStream[SessionMessage]]]:
    """Run the server of `config` with its stderr going to `errors`. It has ended when the context exits.

    A server that sends too much is killed at once: `on_fault` is called with the reason, and the streams close. Raises
    OSError or ValueError when the server cannot be started.
    """
    process, stdout = await _start(config, errors)
    found, received = anyio.create_memory_object_stream[Received](0)
    sent, wanted = anyio.create_memory_object_stream[SessionMessage](0)
    reading = asyncio.create_task(_Reader(process, stdout, found, on_fault).read())
    writing = asyncio.create_task(_write(process, wanted, found))
    try:
        yield received, sent
    finally:
        received.close()  # further messages are discarded, so that the server does not block on writing
        sent.close()
        try:
            await asyncio.wait([writing], timeout=_FLUSH_SECONDS)
        finally:
            try:
                await _end(process)
            finally:
                reading.cancel()
                writing.cancel()
                await asyncio.gather(reading, writing, return_exceptions=True)


async def _start(config: ServerConfig, errors: IO[bytes]) -> tuple[asyncio.subprocess.Process, int]:
    """Start the process. Returns it with the pipe to read from.

    The pipe is not asyncio's own, because a child of the process may hold that open.
    """
    reading, writing = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            config.command,
            *config.args,
            stdin=asyncio.subprocess.PIPE,
            stdout=writing,
            stderr=errors,
            env={**get_default_environment(), **config.env},
            cwd=config.cwd,
            start_new_session=True,
        )
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    return process, reading


@dataclass(slots=True)
class _Reader:
    """Parses the program's lines and delivers them one by one."""

    process: asyncio.subprocess.Process
    stdout: int
    found: MemoryObjectSendStream[Received]
    on_fault: Callable[[str], None]

    async def read(self) -> None:
        """Read to the end of the output, or until a line is too long."""
        reader = asyncio.StreamReader(limit=_CHUNK)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(self.stdout, "rb", buffering=0)
        )
        line = bytearray()
        try:
            while data := await reader.read(_CHUNK):
                *ended, rest = data.split(b"\n")
                for piece in ended:
                    line += piece
                    await self._deliver(line)
                    line = bytearray()
                line += rest
                if len(line) > bounded.MAX_RESPONSE:
                    self.on_fault(f"it sent a line of more than {bounded.MAX_RESPONSE >> 20} MiB, and was ended")
                    signal_group(self.process.pid, signal.SIGKILL)
                    return
        finally:
            self.found.close()
            transport.close()

    async def _deliver(self, line: bytearray) -> None:
        try:
            message: Received = SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
        except ValueError as error:
            message = error
        with contextlib.suppress(*_GONE):
            await self.found.send(message)


async def _write(
    process: asyncio.subprocess.Process,
    wanted: MemoryObjectReceiveStream[SessionMessage],
    found: MemoryObjectSendStream[Received],
) -> None:
    """Write messages to the program's stdin; when that fails, end the connection."""
    assert process.stdin is not None
    try:
        async for one in wanted:
            text = one.message.model_dump_json(by_alias=True, exclude_unset=True)
            process.stdin.write(text.encode() + b"\n")
            await process.stdin.drain()
    except OSError:
        found.close()
    finally:
        wanted.close()


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the program as the protocol specifies: close its stdin, then send SIGTERM, then SIGKILL."""
    assert process.stdin is not None
    process.stdin.close()
    by_itself = False
    try:
        by_itself = await _ends(process)
        if not by_itself:
            signal_group(process.pid, signal.SIGTERM)
            await _ends(process)
    finally:
        if not by_itself:
            signal_group(process.pid, signal.SIGKILL)
            process.stdin.transport.abort()  # a child in another group may hold it open with unread data
    await _ends(process)


async def _ends(process: asyncio.subprocess.Process) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(END_SECONDS):
            await process.wait()
            return True
    return False
