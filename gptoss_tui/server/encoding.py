"""Long texts to tokens, a part at a time: whatever clients send, and however many do, the others go on meanwhile."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import TypeVar

from gptoss_tui.harmony.tokenizer import Tokenizer
from gptoss_tui.server.errors import invalid

PART = 32_768
"""Characters that are encoded at a time, about 25 ms."""

CHARACTERS_PER_TOKEN = 24
"""No text has so many on average: one that has more of them than fit in the context is refused before it is encoded."""

SMALL = 4096
"""Characters or bytes that are read faster than a thread takes them over, or a turn comes."""

_T = TypeVar("_T")
_BOUNDARY = re.compile(r"(?<=\S) ")
"""Between a word and the space before the next one, where the vocabulary's rule cuts always."""


def check_characters(count: int, context: int) -> None:
    """Refuse a prompt of so many characters when it cannot fit. Raises ApiError 400."""
    if count > CHARACTERS_PER_TOKEN * context:
        raise invalid(
            f"The prompt has {count} characters, and the context of the model is {context} tokens long.",
            code="context_length_exceeded",
        )


async def beside(size: int, work: Callable[[], _T]) -> _T:
    """Do `work` that takes time with its size: in a thread, so that others go on meanwhile, unless it is small."""
    return work() if size <= SMALL else await asyncio.to_thread(work)


class PartEncoder:
    """Encodes for all requests. Belongs to one event loop."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def part(self) -> AsyncIterator[None]:
        """Inside, a part can be encoded: one between two looks at the sockets, whoever's it is."""
        async with self._lock:
            yield
            await asyncio.sleep(0)

    async def encode(self, text: str) -> list[int]:
        """The tokens of `text`, as `Tokenizer.encode` gives them."""
        if len(text) <= SMALL:
            return self._tokenizer.encode(text)
        tokens: list[int] = []
        for part in parts_of(text):
            async with self.part():
                tokens += self._tokenizer.encode(part)
        return tokens


def parts_of(text: str) -> Iterator[str]:
    """The text in parts whose tokens are those of the whole."""
    start = 0
    while start < len(text):
        end = len(text)
        if end - start > 2 * PART:
            boundary = _BOUNDARY.search(text, start + PART, start + 2 * PART)
            end = boundary.start() if boundary is not None else start + 2 * PART
        yield text[start:end]
        start = end
