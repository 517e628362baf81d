"""A loaded engine for the length of a command, with the progress of loading on stderr."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from gptoss_tui.sanitize import to_terminal_line

if TYPE_CHECKING:
    from gptoss_tui.engine.types import EngineInfo, EngineSpec, LoadProgress
    from gptoss_tui.engine.worker.client import EngineClient


@asynccontextmanager
async def loaded_engine(spec: EngineSpec) -> AsyncIterator[tuple[EngineClient, EngineInfo]]:
    """Load `spec` in a worker that ends with the block. Raises what `EngineClient.load` raises."""
    from gptoss_tui.engine.worker.client import EngineClient

    engine = EngineClient(spec)
    try:
        async for progress in engine.load():
            _show(progress)
            info = progress.info
        assert info is not None, "a load that does not raise ends with the info"
        yield engine, info
    finally:
        await engine.close()


def _show(progress: LoadProgress) -> None:
    """One line that rewrites itself and is gone when the model is ready; nothing where stderr is no terminal."""
    if sys.stderr.isatty():
        line = "" if progress.done else f"{to_terminal_line(progress.stage)} {progress.fraction:.0%}"
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
