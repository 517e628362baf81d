"""What tests of conversations have in common."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gptoss_tui.agent.session import SessionFile


@pytest.fixture(autouse=True)
def session_files_are_closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Many of these conversations are left in the middle: nobody closes them, as the fronts do."""
    opened: list[SessionFile] = []
    begin = SessionFile.__init__

    def begin_and_remember(file: SessionFile, path: Path, descriptor: int) -> None:
        begin(file, path, descriptor)
        if descriptor >= 0:
            opened.append(file)

    monkeypatch.setattr(SessionFile, "__init__", begin_and_remember)
    yield
    for file in opened:
        file.close()
