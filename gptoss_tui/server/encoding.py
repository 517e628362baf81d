"""Long texts to tokens, a part at a time: whatever one client sends, the others go on meanwhile."""

from __future__ import annotations

import asyncio
import re

from gptoss_tui.harmony.tokenizer import Tokenizer
from gptoss_tui.server.errors import invalid

PART = 32_768
"""Characters that are encoded at a time, about 25 ms."""

CHARACTERS_PER_TOKEN = 24
"""No text has so many on average: one that has more of them than fit in the context is refused before it is encoded."""

_BOUNDARY = re.compile(r"(?<=\S) ")
"""Between a word and the space before the next one, where the vocabulary's rule cuts always."""


def check_characters(count: int, context: int) -> None:
    """Refuse a prompt of so many characters when it cannot fit. Raises ApiError 400."""
    if count > CHARACTERS_PER_TOKEN * context:
        raise invalid(
            f"The prompt has {count} characters, and the context of the model is {context} tokens long.",
            code="context_length_exceeded",
        )


async def encode_in_parts(tokenizer: Tokenizer, text: str) -> list[int]:
    """The tokens of `text`, as `Tokenizer.encode` gives them, giving way to others between its parts."""
    tokens: list[int] = []
    start = 0
    while start < len(text):
        end = len(text)
        if end - start > 2 * PART:
            boundary = _BOUNDARY.search(text, start + PART, start + 2 * PART)
            end = boundary.start() if boundary is not None else start + 2 * PART
        tokens += tokenizer.encode(text[start:end])
        start = end
        if start < len(text):
            await asyncio.sleep(0)
    return tokens
