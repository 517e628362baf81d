"""Creates the engine for a spec: a worker process that runs the model, or a client of a server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gptoss_tui.engine.types import Engine, EngineSpec

if TYPE_CHECKING:
    from gptoss_tui.engine.remote.client import RemoteEngine


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What is known about a server. `talks` names the API dialect; `key` says whether an API key is set for it."""

    address: str
    server: str
    model: str
    context: int
    talks: str
    key: bool


def open_engine(spec: EngineSpec, at_once: int = 1) -> Engine:
    """Create the engine for `spec` without loading the model. Imports only what this engine needs, and never torch.

    A server is asked for up to `at_once` generations at a time; a local engine makes one at a time.
    """
    if spec.url:
        return _open_remote(spec, at_once)
    from gptoss_tui.engine.worker.client import EngineClient

    return EngineClient(spec)


async def ask_server(spec: EngineSpec) -> ServerFacts:
    """Ask the server at the address of `spec` about itself. Raises the same errors as `RemoteEngine.load`."""
    from gptoss_tui.engine.remote.address import take_key

    engine = _open_remote(spec)
    try:
        async for _ in engine.load():
            pass
        served = engine.served
        assert served is not None, "a load that does not raise has found a server"
    finally:
        await engine.close()
    talks = served.dialect.name
    return ServerFacts(engine.address.root, served.server, served.model, served.context, talks, bool(take_key()))


def _open_remote(spec: EngineSpec, at_once: int = 1) -> RemoteEngine:
    from gptoss_tui.engine.remote.client import RemoteEngine
    from gptoss_tui.harmony.spelling import Spelling
    from gptoss_tui.harmony.tokenizer import load_tokenizer

    return RemoteEngine(spec, lambda: Spelling(load_tokenizer()), at_once)
