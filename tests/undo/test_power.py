"""A power cut in the middle of an edit; `python -m tests.undo.power` tries many more disks."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gptoss_tui.patch import disk
from tests.undo import crash, power
from tests.undo.test_crash import RAM


@pytest.fixture
def base() -> Iterator[Path]:
    """A folder in memory where there is one: that disk forgets nothing, the played one does."""
    with tempfile.TemporaryDirectory(dir=RAM if RAM.is_dir() else None) as folder:
        yield Path(folder).resolve()


@pytest.mark.parametrize("action", crash.ACTIONS)
def test_what_was_not_synced_is_lost_in_any_combination(base: Path, action: str) -> None:
    tally = power.run(base, action, samples=5, again=2)
    assert tally.wrong == []
    assert tally.tried > 200
    assert tally.halves > 100


@pytest.mark.parametrize("forgotten", ["sync", "sync_folder"])
def test_a_sync_that_is_missing_would_be_found(base: Path, monkeypatch: pytest.MonkeyPatch, forgotten: str) -> None:
    monkeypatch.setattr(disk, forgotten, lambda fd: None)
    assert power.run(base, "apply", samples=6).wrong
