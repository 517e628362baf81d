"""What all tests of the app share: an environment that does not depend on the machine."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from textual.pilot import Pilot


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "GPTOSS_TUI_THEME", "COLORFGBG"):
        monkeypatch.delenv(name, raising=False)


async def until(pilot: Pilot[int], condition: Callable[[], object], tries: int = 2000) -> None:
    """Let the app run until `condition` holds; on a busy machine that may take many tries."""
    for _ in range(tries):
        if condition():
            await pilot.pause()
            return
        await pilot.pause(0.01)
    raise AssertionError("the app did not get there")
