"""Reads and decompresses a response body piece by piece up to a limit, as protection from decompression bombs."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from gptoss_tui.tools.net.errors import TooLargeError, UnreadableError

ACCEPTED = "gzip, deflate"
"""The encodings that we accept: the standard library can decompress these in small pieces."""

_MAX_LAYERS = 2
_PIECE = 1 << 18


class _Unpacker(Protocol):
    @property
    def unconsumed_tail(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = 0, /) -> bytes: ...


def encodings(header: str) -> list[str]:
    """Parse a `Content-Encoding` header into names, in the order to undo them. Raises UnreadableError."""
    names = [name.strip().lower() for name in header.split(",")]
    names = [name.removeprefix("x-") for name in reversed(names) if name not in ("", "identity")]
    if len(names) > _MAX_LAYERS or any(name not in ("gzip", "deflate") for name in names):
        raise UnreadableError(f"The server packed its answer as {header[:100]!r}, which is not read.")
    return names


async def read_body(chunks: AsyncIterator[bytes], packed: Sequence[str], limit: int) -> bytes:
    """Return the decompressed body. `limit` is in bytes and holds for the packed and the decompressed body alike.

    Raises TooLargeError, and UnreadableError when it cannot be decompressed. Lets other tasks run between pieces.
    """
    layers = [_Layer(name) for name in packed]
    body = bytearray()
    taken = 0
    async for chunk in chunks:
        taken += len(chunk)
        if taken > limit:
            raise _too_large(limit)
        await _unpack(bytes(chunk), layers, body, limit)
    return bytes(body)


class _Layer:
    """The decompressor of one encoding."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._unpacker: _Unpacker | None = None

    def pieces(self, data: bytes) -> list[bytes]:
        """Return the next piece of at most `_PIECE` bytes, and the rest of `data` for the next call."""
        if self._unpacker is None:
            self._unpacker = zlib.decompressobj(self._window(data))
        try:
            piece = self._unpacker.decompress(data, _PIECE)
        except zlib.error as error:
            raise UnreadableError(f"The answer cannot be unpacked: {error}.") from error
        return [piece, self._unpacker.unconsumed_tail]

    def _window(self, data: bytes) -> int:
        if self._name == "gzip":
            return 16 + zlib.MAX_WBITS
        # `deflate` means a zlib stream, but some servers omit its header.
        return zlib.MAX_WBITS if data[:1] and data[0] & 0x0F == 8 else -zlib.MAX_WBITS


async def _unpack(data: bytes, layers: Sequence[_Layer], body: bytearray, limit: int) -> None:
    if not layers:
        body += data
        if len(body) > limit:
            raise _too_large(limit)
        return
    while data:
        piece, data = layers[0].pieces(data)
        await _unpack(piece, layers[1:], body, limit)
        await asyncio.sleep(0)


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(f"The answer is longer than {limit >> 20} MiB, which is all that is read.")
