"""The program as it was installed, on the built-in model, in a folder of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.terminal import Terminal

PROGRAM = str(Path(sys.executable).with_name("gptoss-tui"))

OpenApp = Callable[..., Terminal]


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where nano is unpacked: once for all tests of this folder."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def environment(tmp_path: Path, cache: Path) -> dict[str, str]:
    """The environment of a user who has no settings. Answers are the likeliest ones: the same at every run."""
    # The size in the variables is that of the window in which the tests run, if it has one, not that of the terminals.
    dropped = ("GPTOSS_TUI_", "XDG_", "NO_COLOR", "COLUMNS", "LINES")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return kept | {
        "HOME": str(tmp_path / "home"),
        "XDG_CACHE_HOME": str(cache),
        "GPTOSS_TUI_TEMPERATURE": "0",
        "HF_HUB_OFFLINE": "1",
    }


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """An empty folder to work in."""
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@pytest.fixture
def open_app(workspace: Path, environment: dict[str, str]) -> Iterator[OpenApp]:
    """Open `gptoss-tui` in the workspace; it is closed at the end."""
    terminals: list[Terminal] = []

    def open_app(*arguments: str, size: tuple[int, int] = (100, 30), stderr: str = "") -> Terminal:
        command = [PROGRAM, *arguments]
        if stderr:
            command = ["sh", "-c", f'exec "$@" 2>{stderr}', "sh", *command]
        terminals.append(Terminal(command, workspace, environment, size))
        return terminals[-1]

    yield open_app
    for terminal in terminals:
        terminal.close()
