"""Packing of anything that 16 bits can be: numbers stay what they are within their scale, what is none is never one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gptoss_tui.engine.checkpoint import open_checkpoint
from gptoss_tui.engine.native import cache_file, weights
from gptoss_tui.engine.native.library import BLOCK, GROUP, INT4, INT8, available, load_library
from gptoss_tui.engine.native.trial import aligned_bytes
from gptoss_tui.engine.native.weights import load_weights
from gptoss_tui.errors import CheckpointError

pytestmark = pytest.mark.skipif(not available(), reason="the kernels are not built")

ROWS, BLOCKS = 1024, 2


def floats(halves: np.ndarray) -> np.ndarray:
    """bfloat16 as float64."""
    with np.errstate(invalid="ignore"):  # NaNs of the kind that signals
        wide: np.ndarray = (halves.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return wide


def unpacked(packed: np.ndarray, kind: int) -> tuple[np.ndarray, np.ndarray]:
    """Values [rows, blocks, 32] and scales [rows, blocks] of a matrix, as native.h describes it."""
    size = 512 if kind == INT8 else 256
    groups = packed.reshape(ROWS // GROUP, -1)
    octets = groups[:, : BLOCKS * size].reshape(-1, BLOCKS, size // 64, GROUP, 4)
    if kind == INT8:
        codes = octets.astype(np.float64) - 128
    else:
        codes = np.stack([octets & 15, octets >> 4], axis=3).astype(np.float64) - 7.5
        codes = codes.transpose(0, 1, 2, 4, 3, 5)  # the four low nibbles of a row, then the four high ones
        codes = codes.reshape(-1, BLOCKS, size // 64, GROUP, 8)
    halves = groups[:, BLOCKS * size : BLOCKS * (size + 32)].copy().view(np.uint16).reshape(-1, BLOCKS, GROUP)
    scales = floats(halves).transpose(0, 2, 1).reshape(ROWS, BLOCKS)
    codes = codes.transpose(0, 3, 1, 2, 4).reshape(ROWS, BLOCKS, BLOCK)
    return codes * scales[..., None], scales


def wild_rows() -> np.ndarray:
    """Rows of bfloat16: of any bits, of numbers of about a size from the smallest to the largest, of nothing."""
    generator = np.random.default_rng(2)
    rows = generator.integers(0, 1 << 16, size=(ROWS, BLOCKS, BLOCK), dtype=np.uint16)
    exponents = generator.integers(0, 255, size=(ROWS, BLOCKS, 1), dtype=np.uint16)
    near = np.maximum(exponents.astype(np.int32) - generator.integers(0, 4, size=rows.shape), 0).astype(np.uint16)
    rows[64:] = rows[64:] & 0x807F | near[64:] << 7
    rows[::7, 1] = 0
    rows[3, 0, 5], rows[4, 1, 0], rows[5, 0, 31] = 0x7F80, 0xFF80, 0x7FC1
    return rows.reshape(ROWS, -1)


def test_numbers_stay_within_half_a_step_and_the_rest_is_no_number() -> None:
    """In 8 bits, and from these in 4, whose doubt is what they lack."""
    library, source = load_library(), wild_rows()
    packed = aligned_bytes(library.gt_packed_bytes(INT8, *source.shape))
    library.gt_pack_int8(source.ctypes.data, *source.shape, packed.ctypes.data)
    values, scales = unpacked(packed, INT8)
    wanted = floats(source).reshape(values.shape)
    largest = np.abs(wanted).max(axis=2)
    good = np.isfinite(largest)
    assert 700 < good.all(axis=1).sum() < ROWS - 3
    assert np.isnan(scales[~good]).all()
    # A scale is rounded up to a bfloat16, and the smallest of these are far apart.
    assert (scales[good] <= largest[good] / 127 * (1 + 2**-7) + 2.0**-133).all()
    assert (np.abs(values - wanted).max(axis=2)[good] <= scales[good] * 0.5001).mean() > 0.95
    assert (np.abs(values - wanted).max(axis=2)[good] <= np.maximum(scales[good] * 0.5001, 4e-37)).all()

    coarse = aligned_bytes(library.gt_packed_bytes(INT4, *source.shape))
    doubt = np.empty(ROWS, dtype=np.float32)
    library.gt_pack_coarse(packed.ctypes.data, *source.shape, coarse.ctypes.data, doubt.ctypes.data)
    rough, steps = unpacked(coarse, INT4)
    assert (np.isnan(steps) == ~good).all()
    left = np.abs(rough - values)
    assert (left.max(axis=2)[good] <= np.maximum(steps[good] * 0.5001, 4e-37)).all()
    whole = good.all(axis=1)
    with np.errstate(over="ignore"):
        norms = np.sqrt((left[whole] ** 2).sum(axis=(1, 2))).astype(np.float32)
    assert (doubt[whole] >= norms).all()
    assert not np.isnan(doubt).any()


def damage(model: Path, name: str, octets: bytes) -> None:
    """Put `octets` into the middle of a tensor of a checkpoint's only file."""
    (path,) = model.rglob("*.safetensors")
    content = bytearray(path.read_bytes())
    length = int.from_bytes(content[:8], "little")
    begin, end = json.loads(content[8 : 8 + length])[name]["data_offsets"]
    middle = 8 + length + (begin + end) // 4 * 2
    content[middle : middle + len(octets)] = octets
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "octets", "dense"),
    [
        ("embedding.weight", b"\xc1\x7f", "int8"),
        ("unembedding.weight", b"\x80\xff", "int8"),
        ("unembedding.weight", b"\x80\xff", "exact"),
        ("norm.scale", b"\x80\x7f", "int8"),
        ("block.1.attn.sinks", b"\xc0\x7f", "exact"),
        ("block.0.attn.qkv.weight", b"\x80\x7f", "int8"),
        ("block.0.attn.qkv.weight", b"\x80\x7f", "exact"),
        ("block.0.mlp.gate.weight", b"\xff\xff", "int8"),
        ("block.1.mlp.mlp1_bias", b"\x80\xff", "int8"),
        ("block.1.mlp.mlp2_weight.scales", b"\xff", "int8"),
    ],
)
def test_a_checkpoint_with_what_is_no_number_is_refused(
    checkpoint: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    octets: bytes,
    dense: str,
) -> None:
    """By the name of the tensor, when its weights are prepared; nothing of it is kept."""
    monkeypatch.setattr(cache_file, "cache_folder", lambda: tmp_path / "native")
    monkeypatch.setattr(weights, "SMALLEST_KEPT", 0)
    model = Path(shutil.copytree(checkpoint("small"), tmp_path / "model"))
    damage(model, name, octets)
    with pytest.raises(CheckpointError, match=f"^{name} in .* not numbers"):
        load_weights(open_checkpoint(model), dense, 2, lambda fraction: None)
    assert not [path for path in (tmp_path / "native").rglob("*") if path.suffix == ".bin" and dense in path.name]
    assert not list((tmp_path / "native").rglob(f"{cache_file._PARTIAL}*"))
