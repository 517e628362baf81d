"""Repacked weights: kept in files that are right or not there."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gptoss_tui.engine.checkpoint import open_checkpoint
from gptoss_tui.engine.native import cache_file, weights
from gptoss_tui.engine.native.library import available
from gptoss_tui.engine.native.weights import Weights, load_weights

pytestmark = pytest.mark.skipif(not available(), reason="the kernels are not built")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache's folder, empty; small models are kept too."""
    monkeypatch.setattr(cache_file, "cache_folder", lambda: tmp_path / "native")
    monkeypatch.setattr(weights, "SMALLEST_KEPT", 0)
    return tmp_path / "native"


@pytest.fixture
def model(checkpoint: Callable[[str], Path], tmp_path: Path) -> Path:
    """A checkpoint of the test's own."""
    return Path(shutil.copytree(checkpoint("small"), tmp_path / "model"))


def load(model: Path, dense: str = "int8") -> Weights:
    return load_weights(open_checkpoint(model), dense, 1, lambda fraction: None)


def files(folder: Path) -> list[str]:
    return sorted(path.name.partition("-")[0] for path in folder.rglob("*.bin"))


def test_the_second_load_maps_what_the_first_one_wrote(folder: Path, model: Path) -> None:
    """Both kinds of dense layers share what they have in common."""
    first = load(model)
    assert not first.cached
    second = load(model)
    assert second.cached
    np.testing.assert_array_equal(first.shared["0.up"], second.shared["0.up"])
    assert not load(model, "exact").cached
    assert files(folder) == ["exact", "int8", "shared"]
    assert load(model, "exact").cached


def test_a_changed_checkpoint_is_repacked_and_the_old_file_goes(folder: Path, model: Path) -> None:
    """Its time is enough of a change."""
    load(model)
    names = {path.name for path in folder.rglob("*.bin")}
    os.utime(model / "model.safetensors", (1, 1))
    assert not load(model).cached
    assert files(folder) == ["int8", "shared"]
    assert names.isdisjoint(path.name for path in folder.rglob("*.bin"))


@pytest.mark.parametrize("damage", [b"", b"something else", None])
def test_a_damaged_file_is_made_again(folder: Path, model: Path, damage: bytes | None) -> None:
    """Empty, of another kind, or cut short."""
    load(model)
    path = next(folder.rglob("shared-*.bin"))
    path.write_bytes(path.read_bytes()[:-4096] if damage is None else damage)
    assert not load(model).cached
    assert load(model).cached


def test_without_room_the_weights_stay_in_memory(folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing is left in the folder."""
    usage = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(cache_file.shutil, "disk_usage", lambda path: usage)
    kept = load(model)
    monkeypatch.undo()
    assert files(folder) == []
    assert not kept.cached
    assert kept.shared["0.up"].any()


def test_a_write_that_fails_leaves_nothing(folder: Path) -> None:
    """Neither the file nor a part of it; what a killed process left goes with the next one."""
    folder.mkdir()
    old = folder / ".partial-old"
    old.write_bytes(b"x")
    os.utime(old, (time.time() - 7200, time.time() - 7200))

    def fail() -> None:
        with cache_file.new_file(folder / "a.bin", {"a": 10}) as writer:
            writer("a")(0, np.zeros(10, dtype=np.uint8))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(folder.iterdir()) == []


def test_files_of_a_checkpoint_that_is_gone_are_removed(folder: Path, model: Path, tmp_path: Path) -> None:
    """When the next model is repacked."""
    other = Path(shutil.copytree(model, tmp_path / "other"))
    load(model)
    shutil.rmtree(model)
    load(other)
    assert len(list(folder.iterdir())) == 1


def test_sections_come_back_as_they_were_written(folder: Path) -> None:
    """Each at its place, page by page."""
    with cache_file.new_file(folder / "a.bin", {"one": 5000, "two": 3}) as writer:
        writer("two")(1, np.array([7, 8], dtype=np.uint8))
        writer("one")(4998, np.array([9, 9], dtype=np.uint8))
    sections = cache_file.open_file(folder / "a.bin")
    assert sections is not None
    assert sections["two"].tolist() == [0, 7, 8]
    assert sections["one"][4997:].tolist() == [0, 9, 9]
    assert sections.address("two") % 4096 == 0
