"""Reading the beginnings of conversations ahead, while a person still types."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Final, cast

from gptoss_tui.engine.prefix import prefix_digest
from gptoss_tui.engine.types import Engine, GenerationEvent, SamplingParams

SECONDS: Final = 2.0
"""Where the first beginning takes longer, the others are not read ahead: their first use pays for them."""


async def read_ahead(engine: Engine, beginnings: Iterable[Sequence[int]], stop: Callable[[], bool]) -> None:
    """Let `engine` read and keep each of `beginnings` that it does not keep yet, until `stop` says so.

    Raises EngineError.
    """
    info = await engine.info()
    if info is None or not info.masks:  # a server's time is not ours to spend
        return
    began = time.monotonic()
    for tokens in beginnings:
        if prefix_digest(tokens) not in info.kept_prefixes:
            await _read(engine, tokens, stop)
        if stop() or time.monotonic() - began > SECONDS:
            return


async def _read(engine: Engine, tokens: Sequence[int], stop: Callable[[], bool]) -> None:
    """An engine reads for the sake of a token: one is sampled, and nothing comes of it."""
    params = SamplingParams(temperature=0.0, max_tokens=1, keep_prefix=len(tokens))
    # The contract promises an iterator that can be closed: a generator.
    generation = cast("AsyncGenerator[GenerationEvent, None]", engine.generate(tokens, params))
    async with aclosing(generation) as events:
        async for _ in events:
            if stop():
                return
