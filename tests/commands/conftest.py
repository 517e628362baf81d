"""What the commands run on: a scripted backend in a real worker, or a small random model in the real engine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from gptoss_tui.engine.checkpoint import random_checkpoint
from tests.engine.shapes import TINY

WriteTokens = Callable[[object], str]


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the user's settings, models and logs out of it."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Flags that choose the scripted backend: token `n` is followed by `n + 1`."""
    monkeypatch.setenv("GPTOSS_TUI_PYTHON_BACKENDS", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    return ["--backend", "python:tests.engine.worker.scripted", "--model", str(tmp_path)]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random checkpoint of a tiny shape."""
    directory = tmp_path_factory.mktemp("models") / "tiny"
    random_checkpoint(TINY, directory)
    return directory


@pytest.fixture
def write_tokens(tmp_path: Path) -> WriteTokens:
    """Write a value as JSON (a string as it is) and give the file's name."""

    def write(value: object) -> str:
        path = tmp_path / "tokens.json"
        path.write_text(value if isinstance(value, str) else json.dumps(value))
        return str(path)

    return write
