"""Repacking experts' weights into tiles changes where the numbers are and nothing else."""

from __future__ import annotations

import pytest
import torch

from gptoss_tui.engine.torch.mxfp4 import dequantize
from gptoss_tui.engine.triton.kernels.mxfp4 import to_tiles
from gptoss_tui.engine.triton.selftest import unpacked
from gptoss_tui.errors import CheckpointError


@pytest.mark.parametrize("columns", [32, 64, 160])
def test_tiles_hold_what_the_blocks_hold(columns: int) -> None:
    """Also where the last tile is half empty."""
    generator = torch.Generator().manual_seed(columns)
    blocks = torch.randint(256, (3, 48, columns // 32, 16), dtype=torch.uint8, generator=generator)
    scales = torch.randint(100, 129, (3, 48, columns // 32), dtype=torch.uint8, generator=generator)
    tiles = to_tiles(blocks, scales, torch.zeros(3, 48))
    assert (tiles.rows, tiles.columns, tiles.tiles) == (48, columns, -(-columns // 64))
    for expert in range(3):
        torch.testing.assert_close(
            unpacked(tiles, expert), dequantize(blocks[expert], scales[expert], torch.float32), rtol=0, atol=0
        )


def test_tiles_take_the_bytes_of_the_checkpoint() -> None:
    """Nothing is stored twice or widened: half a byte a value, a byte a block of 32."""
    blocks = torch.zeros((2, 32, 4, 16), dtype=torch.uint8)
    scales = torch.full((2, 32, 4), 127, dtype=torch.uint8)
    tiles = to_tiles(blocks, scales, torch.zeros(2, 32, dtype=torch.bfloat16))
    assert tiles.nbytes == blocks.nbytes + scales.nbytes + 2 * 32 * 2


@pytest.mark.parametrize("code", [129, 255])
def test_scales_that_cannot_be_applied_are_refused(code: int) -> None:
    """255 means not a number; what is far above a weight would overflow on the way."""
    scales = torch.full((1, 16, 2), code, dtype=torch.uint8)
    with pytest.raises(CheckpointError, match="scale"):
        to_tiles(torch.zeros((1, 16, 2, 16), dtype=torch.uint8), scales, torch.zeros(1, 16))
