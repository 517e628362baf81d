"""Engines that run the scripted backend in a real worker process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from gptoss_tui.engine.types import EngineSpec
from gptoss_tui.engine.worker.client import EngineClient

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def scripted_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let workers find and run `tests.engine.worker.scripted`, and keep their logs out of the home folder."""
    monkeypatch.setenv("GPTOSS_TUI_PYTHON_BACKENDS", "1")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
async def make_engine(scripted_environment: None, tmp_path: Path) -> AsyncIterator[Callable[[str], EngineClient]]:
    """Clients by the name of their checkpoint; closed at the end."""
    clients: list[EngineClient] = []

    def make(checkpoint: str = "model") -> EngineClient:
        spec = EngineSpec(checkpoint=tmp_path / checkpoint, backend="python:tests.engine.worker.scripted")
        clients.append(EngineClient(spec))
        return clients[-1]

    yield make
    for client in clients:
        await client.close()


@pytest.fixture
async def engine(make_engine: Callable[[str], EngineClient]) -> EngineClient:
    """A loaded engine."""
    client = make_engine("model")
    async for _ in client.load():
        pass
    return client
