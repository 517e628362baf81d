"""The engine of a spec: a worker process with the model, or a server that has it."""

from __future__ import annotations

from gptoss_tui.engine.types import Engine, EngineSpec


def open_engine(spec: EngineSpec) -> Engine:
    """The engine for `spec`; nothing is loaded yet. Imports only what that one needs, and no torch."""
    if not spec.url:
        from gptoss_tui.engine.worker.client import EngineClient

        return EngineClient(spec)
    from gptoss_tui.engine.remote.client import RemoteEngine
    from gptoss_tui.harmony.spelling import Spelling
    from gptoss_tui.harmony.tokenizer import load_tokenizer

    return RemoteEngine(spec, lambda: Spelling(load_tokenizer()))
