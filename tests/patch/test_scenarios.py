"""Every folder of `scenarios/`: `input/` and `patch.txt`, and either `expected/` or `error.txt`.

`notes.txt` holds the notes that a person sees before a yes; a scenario without it has none. A missing `input/` is an
empty directory. After an error the directory is as it was.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from gptoss_tui import patch
from gptoss_tui.errors import PatchError

SCENARIOS = sorted(path for path in (Path(__file__).parent / "scenarios").iterdir() if path.is_dir())


def snapshot(root: Path) -> dict[str, tuple[str, bytes | str]]:
    """Every file beneath `root`: what it is, whether it can be executed, and its bytes or link target."""
    found: dict[str, tuple[str, bytes | str]] = {}
    for path in sorted(root.rglob("*")) if root.exists() else ():
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            found[name] = ("link", os.readlink(path))
        elif path.is_file():
            found[name] = ("program" if path.stat().st_mode & stat.S_IXUSR else "file", path.read_bytes())
    return found


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda path: path.name)
def test_scenario(scenario: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    if (scenario / "input").exists():
        shutil.copytree(scenario / "input", root, symlinks=True)
    else:
        root.mkdir()
    before = snapshot(root)
    text = (scenario / "patch.txt").read_bytes().decode()
    error_file = scenario / "error.txt"
    if error_file.exists():
        with pytest.raises(PatchError) as caught:
            patch.plan(patch.parse(text), root)
        assert str(caught.value) == error_file.read_text().rstrip("\n")
        assert snapshot(root) == before
        return
    planned = patch.plan(patch.parse(text), root)
    assert snapshot(root) == before, "planning wrote something"
    patch.apply(planned)
    assert snapshot(root) == snapshot(scenario / "expected")
    notes = scenario / "notes.txt"
    assert list(planned.notes) == (notes.read_text().splitlines() if notes.exists() else [])


def test_the_scenarios_are_there() -> None:
    assert len(SCENARIOS) >= 80
