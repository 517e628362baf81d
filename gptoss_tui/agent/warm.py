"""Prefills the beginnings of conversations in advance, while the user is still typing."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Final, cast

from gptoss_tui.engine.cache.prefix import prefix_digest
from gptoss_tui.engine.types import Engine, GenerationEvent, SamplingParams

SECONDS: Final = 2.0
"""No further beginnings are read after this time; they are then prefilled on their first use."""


async def read_ahead(engine: Engine, beginnings: Iterable[Sequence[int]], stop: Callable[[], bool]) -> None:
    """Let `engine` prefill and keep each of `beginnings` that it has not kept yet, until `stop` returns True.

    Does nothing for a server. Raises EngineError.
    """
    info = await engine.info()
    if info is None or not info.masks:  # do not spend a server's time on this
        return
    began = time.monotonic()
    for tokens in beginnings:
        if prefix_digest(tokens) not in info.kept_prefixes:
            await _read(engine, tokens, stop)
        if stop() or time.monotonic() - began > SECONDS:
            return


async def _read(engine: Engine, tokens: Sequence[int], stop: Callable[[], bool]) -> None:
    """Prefill `tokens`. An engine only does so to generate, so one token is sampled and ignored."""
    params = SamplingParams(temperature=0.0, max_tokens=1, keep_prefix=len(tokens))
    # `Engine.generate` promises an iterator that can be closed: a generator.
    generation = cast("AsyncGenerator[GenerationEvent, None]", engine.generate(tokens, params))
    async with aclosing(generation) as events:
        async for _ in events:
            if stop():
                return
