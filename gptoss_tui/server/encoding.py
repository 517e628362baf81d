"""Encodes long texts in parts, so that no client's text blocks the other requests, however many there are."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import TypeVar

from gptoss_tui.harmony.tokenizer import Tokenizer
from gptoss_tui.server.errors import invalid

PART = 32_768
"""Number of characters encoded at a time, which takes about 25 ms."""

CHARACTERS_PER_TOKEN = 24
"""No text has this many on average: one with more characters than that allows is rejected without encoding it."""

SMALL = 4096
"""Characters or bytes that are processed faster than handing them to a thread or waiting for a turn would take."""

_T = TypeVar("_T")
_BOUNDARY = re.compile(r"(?<=\S) ")
"""The position between a word and the space before the next one, where the vocabulary's rule always splits."""


def check_characters(count: int, context: int) -> None:
    """Reject a prompt with this many characters if it cannot fit. Raises ApiError 400."""
    if count > CHARACTERS_PER_TOKEN * context:
        raise invalid(
            f"The prompt has {count} characters, and the context of the model is {context} tokens long.",
            code="context_length_exceeded",
        )


async def beside(size: int, work: Callable[[], _T]) -> _T:
    """Run `work`, whose time grows with `size`: in a thread, so that other requests continue, unless it is small."""
    return work() if size <= SMALL else await asyncio.to_thread(work)


class PartEncoder:
    """Encodes for all requests. Belongs to one event loop."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def part(self) -> AsyncIterator[None]:
        """Inside, one part may be encoded. Between two parts, of any request, the event loop polls its sockets."""
        async with self._lock:
            yield
            await asyncio.sleep(0)

    async def encode(self, text: str) -> list[int]:
        """The tokens of `text`, the same as from `Tokenizer.encode`."""
        if len(text) <= SMALL:
            return self._tokenizer.encode(text)
        tokens: list[int] = []
        for part in parts_of(text):
            async with self.part():
                tokens += self._tokenizer.encode(part)
        return tokens


def parts_of(text: str) -> Iterator[str]:
    """Split a text so that the tokens of its parts are the tokens of the whole."""
    start = 0
    while start < len(text):
        end = len(text)
        if end - start > 2 * PART:
            boundary = _BOUNDARY.search(text, start + PART, start + 2 * PART)
            end = boundary.start() if boundary is not None else start + 2 * PART
        yield text[start:end]
        start = end
