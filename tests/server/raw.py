"""Requests as bytes: what no honest client sends."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from tests.server.running import Running


async def send(server: Running, data: bytes, *, end: bool = False, whole: bool = True) -> bytes:
    """All that the server answers until it closes the connection, or not `whole` what it says first."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        writer.write(data)
        if end:
            writer.write_eof()
        answer = b""
        with suppress(ConnectionError):
            while chunk := await asyncio.wait_for(reader.read(65536), 60):
                answer += chunk
                if not whole:
                    break
        return answer
    finally:
        writer.close()


def status_of(answer: bytes) -> int:
    """The status of the first answer; 0 when there is none."""
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/") else 0
