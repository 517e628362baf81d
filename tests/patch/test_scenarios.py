"""Every folder of `scenarios/`: `input/` and `patch.txt`, and either `expected/` or `error.txt`.

`notes.txt` holds the notes that a person sees before a yes; a scenario without it has none. `links.txt` has a line
`name -> target` for each symbolic link of the directory. A missing `input/` is an empty directory. After an error the
directory is as it was.
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
    links = dict(line.split(" -> ") for line in _lines(scenario / "links.txt"))
    for name, target in links.items():
        (root / name).symlink_to(target)
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
    expected = snapshot(scenario / "expected") | {name: ("link", target) for name, target in links.items()}
    assert snapshot(root) == expected
    assert list(planned.notes) == _lines(scenario / "notes.txt")


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_the_scenarios_are_there() -> None:
    assert len(SCENARIOS) >= 80
