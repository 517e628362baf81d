"""Where tests of the doors keep settings and sessions. A folder of tests takes these fixtures into its conftest."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the user's settings and sessions out of it."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("GPTOSS_TUI_SESSIONS", str(tmp_path / "sessions"))
    monkeypatch.setenv("GPTOSS_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """The folder of a session, which is its model's as well: the scripted engine loads nothing."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder
