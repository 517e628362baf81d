"""Loads an engine for the duration of a command, and shows the progress on stderr."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from gptoss_tui.commands.status_line import StatusLine

if TYPE_CHECKING:
    from gptoss_tui.engine.types import Engine, EngineInfo, EngineSpec


@asynccontextmanager
async def loaded_engine(spec: EngineSpec) -> AsyncIterator[tuple[Engine, EngineInfo]]:
    """Load `spec` into an engine that is closed at the end of the block. Raises what `Engine.load` raises."""
    from gptoss_tui.agent.engines import open_engine

    engine = open_engine(spec)
    try:
        yield engine, await _load(engine)
    finally:
        await engine.close()


async def _load(engine: Engine) -> EngineInfo:
    info = None
    with StatusLine() as line:
        async for progress in engine.load():
            line.load(progress)
            info = progress.info
    assert info is not None, "a load that does not raise ends with the info"
    return info
