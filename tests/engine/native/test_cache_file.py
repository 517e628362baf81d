"""Repacked weights: kept in files that are right or not there."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from gptoss_tui.engine.checkpoint import open_checkpoint
from gptoss_tui.engine.native import cache_file, weights
from gptoss_tui.engine.native.library import available
from gptoss_tui.engine.native.weights import Weights, load_weights
from gptoss_tui.errors import CheckpointError
from tests.engine.model_bin import write_model_bin

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
    assert (first.cached, first.not_kept) == (False, "")
    second = load(model)
    assert second.cached
    np.testing.assert_array_equal(first.shared["0.up"], second.shared["0.up"])
    assert not load(model, "exact").cached
    assert files(folder) == ["exact", "int8", "shared"]
    assert load(model, "exact").cached


def test_a_changed_checkpoint_is_repacked_and_the_old_file_goes(folder: Path, model: Path) -> None:
    """Its time is enough of a change. Who has the old file mapped keeps it."""
    load(model)
    mapped = load(model)
    before = mapped.shared["0.up"].copy()
    names = {path.name for path in folder.rglob("*.bin")}
    os.utime(model / "model.safetensors", (1, 1))
    assert not load(model).cached
    assert files(folder) == ["int8", "shared"]
    assert names.isdisjoint(path.name for path in folder.rglob("*.bin"))
    np.testing.assert_array_equal(mapped.shared["0.up"], before)


def _renamed(data: bytes) -> bytes:
    return data.replace(b"0.attn_norm", b"0.attn_form")


def _moved(data: bytes) -> bytes:
    return data.replace(b'"norm": [', b'"norm": [-', 1).replace(b" " * 9, b" " * 8, 1)


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "of another kind": lambda data: b"something else",
    "cut short": lambda data: data[:-4096],
    "a header longer than memory": lambda data: data[:8] + b"\xff" * 8 + data[16:],
    "a header longer than the file": lambda data: data[:8] + (1 << 40).to_bytes(8, "little") + data[16:],
    "a header of nothing": lambda data: data[:16] + bytes(4080) + data[4096:],
    "other sections": _renamed,
    "a section before the file": _moved,
    "rows that no matrix has": lambda data: _row(data, 1 << 30),
    "rows before the first": lambda data: _row(data, -1),
}


def _row(data: bytes, row: int) -> bytes:
    """The first id's row, in the first section."""
    start = 16 + int.from_bytes(data[8:16], "little")
    return data[:start] + row.to_bytes(4, "little", signed=True) + data[start + 4 :]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_made_again(folder: Path, model: Path, damage: str) -> None:
    """Whatever is in the place of it, nothing is read beyond what is there."""
    load(model)
    path = next(folder.rglob("shared-*.bin"))
    whole = path.read_bytes()
    damaged = DAMAGES[damage](whole)
    assert damaged != whole
    path.write_bytes(damaged)
    assert not load(model).cached
    assert path.read_bytes() == whole
    assert load(model).cached


def test_what_changes_while_it_is_read_is_not_kept(folder: Path, model: Path) -> None:
    """A download that goes on: half of the old file and half of the new one would be there for good."""

    def touch(fraction: float) -> None:
        if fraction > 0.5:
            os.utime(model / "model.safetensors", (2, 2))

    with pytest.raises(CheckpointError, match="changed while it was read"):
        load_weights(open_checkpoint(model), "int8", 1, touch)
    assert "int8" not in files(folder)
    assert not load(model).cached


def test_a_model_bin_has_an_identity_of_its_own(tmp_path: Path, checkpoint: Callable[[str], Path]) -> None:
    """Another file of the same shape is another model."""
    path = tmp_path / "model.bin"
    write_model_bin(open_checkpoint(checkpoint("small")), path)
    before = cache_file.identity(open_checkpoint(tmp_path))
    os.utime(path, (1, 1))
    assert cache_file.identity(open_checkpoint(tmp_path)) != before


def test_two_at_once_make_the_same(folder: Path, model: Path) -> None:
    """Each for itself; the files are whole at any time, and one of each stays."""
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(load, (model, model))
    assert bytes(one.shared["1.up"]) == bytes(other.shared["1.up"])
    assert bytes(one.dense["1.qkv"]) == bytes(other.dense["1.qkv"])
    assert files(folder) == ["int8", "shared"]
    assert [path for path in folder.rglob("*") if path.name.startswith(".partial")] == []
    assert load(model).cached


def test_what_a_killed_process_left_goes_at_once(folder: Path) -> None:
    """It may be all the room that there was. What a process writes that lives stays."""
    script = f"""
import os, signal
from pathlib import Path
from gptoss_tui.engine.native.cache_file import new_file
with new_file(Path({str(folder)!r}) / "a.bin", {{"a": 10}}):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -signal.SIGKILL
    (left,) = folder.iterdir()
    with cache_file.new_file(folder / "b.bin", {"b": 10}):
        (living,) = folder.iterdir()
        assert living != left
        with cache_file.new_file(folder / "c.bin", {"c": 10}):
            assert living.exists()
    assert sorted(path.name for path in folder.iterdir()) == ["b.bin", "c.bin"]


def test_without_room_the_weights_stay_in_memory(folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing is left in the folder."""
    usage = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(cache_file.shutil, "disk_usage", lambda path: usage)
    kept = load(model)
    monkeypatch.undo()
    assert "1.0 kB free" in kept.not_kept
    assert files(folder) == []
    assert not kept.cached
    assert kept.shared["0.up"].any()


def test_a_disk_that_gets_full_on_the_way_is_left_as_it_was(
    folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program may take the room that there was at the beginning."""
    write, written = os.pwrite, count()

    def full(handle: int, data: memoryview, offset: int) -> int:
        if next(written) > 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(handle, data, offset)

    monkeypatch.setattr(cache_file.os, "pwrite", full)
    kept = load(model)
    monkeypatch.undo()
    assert next(written) > 6
    assert os.strerror(errno.ENOSPC) in kept.not_kept
    assert not kept.cached
    assert kept.shared["0.up"].any()
    assert not any(path.name.startswith((".partial", "shared", "int8")) for path in folder.rglob("*"))


def test_a_write_that_fails_leaves_nothing(folder: Path) -> None:
    """Neither the file nor a part of it."""

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
    assert cache_file.open_file(folder / "a.bin", {"one": 5000, "two": 4}) is None
    sections = cache_file.open_file(folder / "a.bin", {"one": 5000, "two": 3})
    assert sections is not None
    assert sections["two"].tolist() == [0, 7, 8]
    assert sections["one"][4997:].tolist() == [0, 9, 9]
    assert sections.address("two") % 4096 == 0
