"""The lines of docs/architecture.md about who may import whom, read from the sources."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "gptoss_tui"

FORBIDDEN = {
    "engine": (
        "gptoss_tui.harmony",
        "gptoss_tui.patch",
        "gptoss_tui.tools",
        "gptoss_tui.agent",
        "gptoss_tui.tui",
        "textual",
    ),
    "harmony": ("gptoss_tui.engine", "gptoss_tui.patch", "gptoss_tui.tools", "gptoss_tui.agent", "torch", "textual"),
    "patch": ("gptoss_tui.engine", "gptoss_tui.harmony", "gptoss_tui.tools", "gptoss_tui.agent", "torch", "textual"),
    "undo": ("gptoss_tui.engine", "gptoss_tui.harmony", "gptoss_tui.tools", "gptoss_tui.agent", "torch", "textual"),
    "tools": ("gptoss_tui.engine", "gptoss_tui.agent", "gptoss_tui.tui", "torch", "textual"),
    "agent": ("gptoss_tui.tui", "gptoss_tui.commands", "torch", "textual"),
    "server": ("gptoss_tui.commands", "gptoss_tui.tui", "torch", "textual"),
    "tui": ("gptoss_tui.commands", "gptoss_tui.cli", "torch"),
    "commands": ("gptoss_tui.cli", "torch", "textual"),
}
"""Subpackage to what no module of it may name, neither at its top nor inside of a function."""


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("room", FORBIDDEN)
def test_imports_go_down(room: str) -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in (PACKAGE / room).rglob("*.py")
        for name in imported(path)
        if any(name == other or name.startswith(f"{other}.") for other in FORBIDDEN[room])
    ]
    assert wrong == []


def test_modules_stay_small() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in PACKAGE.rglob("*.py")}
    assert {str(path): length for path, length in lengths.items() if length >= 500} == {}
