"""`gptoss-tui models prepared` shows and removes what the CPU engine keeps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gptoss_tui.cli import main
from gptoss_tui.engine.checkpoint import open_checkpoint, random_checkpoint
from gptoss_tui.engine.native import cache_file
from tests.engine.shapes import TINY

KIB = 1024


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """The folders of two checkpoints of which something is kept; the second is gone."""
    monkeypatch.setattr(cache_file, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr("gptoss_tui.engine.native.kept.cache_folder", lambda: tmp_path / "cache")
    found = {}
    for name, size in (("first", 64 * KIB), ("second", 256 * KIB)):
        random_checkpoint(TINY, tmp_path / name)
        checkpoint = open_checkpoint(tmp_path / name)
        folder = cache_file.source_folder(checkpoint)
        assert folder is not None
        cache_file.note_source(folder, checkpoint)
        with cache_file.new_file(folder / "shared-1.bin", {"all": size}) as writer:
            writer("all")(0, np.ones(size, dtype=np.uint8))
        found[name] = folder
    (tmp_path / "second").rename(tmp_path / "moved")
    return found


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, dict[str, object]]:
    """What the command says in JSON, by name."""
    assert main(["models", "prepared", "--json", *arguments]) == 0
    return {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)["prepared"]}


def test_the_list_says_what_takes_how_much(folders: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """By the name of the checkpoint, and which one is gone."""
    entries = shown(capsys)
    assert list(entries) == ["first", "second"]
    sizes = [entry["size"] for entry in entries.values()]
    assert all(isinstance(size, int) and size >= least * KIB for size, least in zip(sizes, (64, 256), strict=True))
    assert [entry["source_is_gone"] for entry in entries.values()] == [False, True]
    assert main(["models", "prepared"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("first ")
    assert "gone" not in first
    assert second.endswith("which is gone")
    assert main(["models", "list"]) == 0
    assert "gptoss-tui models prepared" in capsys.readouterr().out


def test_one_is_removed(folders: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """By its name; the others stay."""
    assert main(["models", "prepared", "--remove", "second"]) == 0
    assert "second" in capsys.readouterr().out
    assert not folders["second"].exists()
    assert list(shown(capsys)) == ["first"]


def test_all_are_removed_but_what_is_being_written(
    folders: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever writes a file goes on, and it is there afterwards."""
    with cache_file.new_file(folders["first"] / "int8-1.bin", {"all": KIB}) as writer:
        writer("all")(0, np.zeros(KIB, dtype=np.uint8))
        assert list(shown(capsys, "--remove-all")) == ["first"]
    assert [path.name for path in folders["first"].glob("*.bin")] == ["int8-1.bin"]
    assert not folders["second"].exists()


def test_a_name_that_is_not_there_is_an_error(folders: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """With those that are."""
    assert main(["models", "prepared", "--remove", "third"]) != 0
    said = capsys.readouterr().err
    assert "third" in said
    assert "first, second" in said
    assert all(folder.exists() for folder in folders.values())


def test_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It says so."""
    monkeypatch.setattr("gptoss_tui.engine.native.kept.cache_folder", lambda: tmp_path / "none")
    assert main(["models", "prepared"]) == 0
    assert "nothing is prepared" in capsys.readouterr().out
