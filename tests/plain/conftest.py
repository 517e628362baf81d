"""What holds for all tests of the plain app."""

from __future__ import annotations

import pytest

from gptoss_tui.plain import front


@pytest.fixture(autouse=True)
def people_who_answer_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests answer as soon as they are asked; how long a question has to stand is tried where that matters."""
    monkeypatch.setattr(front, "GRACE_SECONDS", 0.0)
