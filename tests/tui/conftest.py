"""What all tests of the app share: an environment that does not depend on the machine, and fingers that are quick."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path

import pytest
from textual import _wait
from textual.app import App
from textual.events import Key
from textual.pilot import Pilot
from textual.widgets import TextArea

_press_keys = App._press_keys


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "GPTOSS_TUI_THEME", "COLORFGBG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLORTERM", "truecolor")


@pytest.fixture(autouse=True)
def _quick_fingers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Words are typed into a text without a pause, and the toolkit's looks whether the app rests are short.

    It looks twice after every key, for 20 ms each: most of the time of a test was spent on that, with nothing going on.
    What has to wait for something waits for that, with `until`.
    """

    async def press_keys(app: App[object], keys: Iterable[str]) -> None:
        for key, following in pairwise([*keys, ""]):
            if _is_letter(key) and _is_letter(following) and isinstance(app.focused, TextArea):
                app._driver.send_message(Key(key, key))  # type: ignore[union-attr]
            else:
                await _press_keys(app, [key])

    monkeypatch.setattr(App, "_press_keys", press_keys)
    monkeypatch.setattr(_wait, "SLEEP_GRANULARITY", 0.005)


def _is_letter(key: str) -> bool:
    return len(key) == 1 and key.isalnum()


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with files, as the app's workspace; settings and state are in it too."""
    folder = tmp_path / "project"
    for name in ("src/main.py", "src/deep/engine.py", "notes with spaces.md", "README.md", "node_modules/x.js"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"content of {name}\n")
    (folder / ".gitignore").write_text("node_modules/\n")
    monkeypatch.setenv("GPTOSS_TUI_CONFIG", str(tmp_path / "config" / "config.toml"))
    return folder


async def until(pilot: Pilot[int], condition: Callable[[], object], tries: int = 2000) -> None:
    """Let the app run until `condition` holds; on a busy machine that may take many tries."""
    for _ in range(tries):
        if condition():
            await pilot.pause()
            return
        await pilot.pause(0.01)
    raise AssertionError("the app did not get there")
