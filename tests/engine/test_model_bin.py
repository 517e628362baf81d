"""`metal/model.bin` gives the tensors of the checkpoint that it was made of, and `raw` what `read` gives."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from gptoss_tui.engine.checkpoint import open_checkpoint, random_checkpoint, tensor_table
from gptoss_tui.engine.checkpoint.random_weights import RandomCheckpoint
from gptoss_tui.engine.config import Layout
from gptoss_tui.errors import CheckpointError
from tests.engine.model_bin import write_model_bin
from tests.engine.shapes import TINY


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the folders `original` and `metal`."""
    root = tmp_path_factory.mktemp("repository")
    random_checkpoint(TINY, root / "original", "original", seed=1)
    (root / "metal").mkdir()
    write_model_bin(open_checkpoint(root / "original"), root / "metal" / "model.bin")
    return root


def test_every_tensor_comes_back(written: Path) -> None:
    """Bit for bit, with the same config."""
    original, found = open_checkpoint(written / "original"), open_checkpoint(written / "metal")
    assert (found.config, found.layout, found.weight_bytes) == (TINY, "metal", original.weight_bytes)
    for name in tensor_table(TINY):
        assert torch.equal(found.read(name), original.read(name)), name


def test_it_is_found_below_its_repository_and_comes_last(written: Path, tmp_path: Path) -> None:
    """A directory that holds safetensors, too, is read as before."""
    assert open_checkpoint(written).layout == "original"
    shutil.copytree(written / "metal", tmp_path / "metal")
    assert open_checkpoint(tmp_path).layout == "metal"


@pytest.mark.parametrize("layout", ["original", "huggingface", "metal", "random"])
def test_raw_is_read_without_torch(layout: Layout, written: Path, tmp_path: Path) -> None:
    """The same bits in numpy's memory, whatever the layout."""
    if layout == "random":
        checkpoint = RandomCheckpoint("tiny", TINY)
    elif layout == "huggingface":
        random_checkpoint(TINY, tmp_path / layout, layout, seed=1)
        checkpoint = open_checkpoint(tmp_path / layout)
    else:
        checkpoint = open_checkpoint(written / layout)
    for name in tensor_table(TINY):
        tensor = checkpoint.read(name).cpu()
        bits = tensor if tensor.dtype == torch.uint8 else tensor.view(torch.uint16)
        raw = checkpoint.raw(name)
        assert raw.dtype == (np.uint8 if tensor.dtype == torch.uint8 else np.uint16)
        np.testing.assert_array_equal(raw, bits.numpy())


@pytest.mark.parametrize(
    ("offset", "data", "complaint"),
    [
        (0, b"GGUF", "not a model.bin"),
        (16, b"\0", "unknown kind"),
        (100, b"\0", "unknown kind"),
        (80, b"\0\0\0\0", "rotary"),
        (92, b"\0\0\0\0", "yarn_multiplier"),
        (36, b"\0\0\0\0", "num_hidden_layers"),
    ],
)
def test_other_files_are_refused(offset: int, data: bytes, complaint: str, written: Path, tmp_path: Path) -> None:
    """By the first field that says so."""
    content = bytearray((written / "metal" / "model.bin").read_bytes())
    content[offset : offset + len(data)] = data
    (tmp_path / "model.bin").write_bytes(content)
    with pytest.raises(CheckpointError, match=complaint):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("size", [0, 100, -1])
def test_a_truncated_file_is_refused(size: int, written: Path, tmp_path: Path) -> None:
    """Whether its header is whole or not."""
    (tmp_path / "model.bin").write_bytes((written / "metal" / "model.bin").read_bytes()[:size])
    with pytest.raises(CheckpointError, match=r"truncated|not a model\.bin"):
        open_checkpoint(tmp_path)
