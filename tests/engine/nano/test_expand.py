"""Where nano is unpacked: in the user's cache, else where nobody else can write."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gptoss_tui.engine.nano import expand
from gptoss_tui.errors import CheckpointError


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A cache that cannot be made, and the temporary folder."""
    (tmp_path / "file").write_text("")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(expand.tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    # What is in the model does not matter here.
    monkeypatch.setattr(expand, "expand", lambda compact, directory: (directory / "config.json").write_text("{}"))
    return tmp_path / "file", tmp_path / "tmp"


def compact(tmp_path: Path) -> Path:
    (tmp_path / "nano.safetensors").write_bytes(b"nano")
    return tmp_path / "nano.safetensors"


def test_without_a_cache_a_temporary_folder_of_ours_is_used_and_found_again(
    places: tuple[Path, Path], tmp_path: Path
) -> None:
    made = expand.materialise(compact(tmp_path))
    assert made.is_relative_to(places[1])
    assert (made.parent.parent.stat().st_mode & 0o777) == 0o700
    before = made.stat().st_mtime_ns
    assert expand.materialise(compact(tmp_path)) == made
    assert made.stat().st_mtime_ns == before


@pytest.mark.parametrize("trap", ["writable", "link"])
def test_a_folder_that_others_can_write_is_not_used(places: tuple[Path, Path], tmp_path: Path, trap: str) -> None:
    base = places[1] / f"gptoss-tui-{os.getuid()}"
    if trap == "link":
        (tmp_path / "theirs").mkdir()
        base.symlink_to(tmp_path / "theirs")
    else:
        base.mkdir()
        base.chmod(0o777)
    with pytest.raises(CheckpointError, match="cannot be unpacked") as caught:
        expand.materialise(compact(tmp_path))
    assert str(places[0]) in caught.value.message
    assert list(base.iterdir()) == []
