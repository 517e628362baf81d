"""MXFP4 as the kernels read it: tiles of 16 rows by 64 columns, values and scales in planes of their own.

A checkpoint stores a row as blocks of 32 values, neighbours in the two nibbles of a byte. Here a tile of 64 columns is
32 bytes a row: byte j holds column j in its low nibble and column 32 + j in its high one. Both nibbles of a tile then
have one scale a row, and neighbouring bytes are neighbouring columns, so nothing has to be shuffled to use them.

values: uint8 [E, rows / 16, columns / 64, 16, 32]; scales: uint8 [E, rows / 16, columns / 64, 2, 16], where index 0 is
the scale of the low nibbles. Columns are padded to 64 with zeros. Values and scales are the checkpoint's own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from gptoss_tui.errors import CheckpointError

TILE_ROWS = 16
TILE_COLUMNS = 64

_LARGEST_SCALE = 240
"""The scale is applied together with a factor of 2**14 (see `unpack`), whose exponent must not leave float32."""


@dataclass(frozen=True, slots=True)
class Tiles:
    """One projection of all experts of a layer: values and scales as above, bias [E, rows] in the model's dtype."""

    values: Tensor
    scales: Tensor
    bias: Tensor
    columns: int

    @property
    def rows(self) -> int:
        """Output features."""
        return int(self.bias.shape[1])

    @property
    def tiles(self) -> int:
        """Tiles side by side: columns / 64, rounded up."""
        return int(self.values.shape[2])

    @property
    def nbytes(self) -> int:
        """Bytes of all three tensors."""
        return self.values.nbytes + self.scales.nbytes + self.bias.nbytes


def to_tiles(blocks: Tensor, scales: Tensor, bias: Tensor) -> Tiles:
    """Repack uint8 blocks [E, rows, columns / 32, 16] and scales [E, rows, columns / 32] of a checkpoint.

    Raises CheckpointError for a scale above 2**113, which no weight of a model needs.
    """
    if int(scales.max()) > _LARGEST_SCALE:
        raise CheckpointError("An expert's scale is too large", hint="the checkpoint may be damaged")
    experts, rows, count, _ = blocks.shape
    if rows % TILE_ROWS:
        raise CheckpointError(f"{rows} rows of an expert's weight are no multiple of {TILE_ROWS}")
    odd = count % 2
    blocks, padded = F.pad(blocks, (0, 0, 0, odd)), F.pad(scales, (0, odd))
    columns = torch.stack((blocks & 15, blocks >> 4), dim=-1).view(experts, rows, -1, 2, 32)
    values = columns[..., 0, :] | columns[..., 1, :] << 4  # [E, rows, tiles, 32]
    tiles = values.shape[2]
    return Tiles(
        values.view(experts, rows // TILE_ROWS, TILE_ROWS, tiles, 32).transpose(2, 3).contiguous(),
        padded.view(experts, rows // TILE_ROWS, TILE_ROWS, tiles, 2).permute(0, 1, 3, 4, 2).contiguous(),
        bias,
        count * 32,
    )


@triton.jit
def nibble_value(nibble):
    """E2M1 codes int32 in 0..15 to float32, 2**-14 times too small.

    Sign and three bits become sign, exponent and mantissa of a float16, whose conversion knows denormals.
    """
    half = ((nibble & 8) << 12) | ((nibble & 7) << 9)
    return half.to(tl.int16).to(tl.float16, bitcast=True).to(tl.float32)


@triton.jit
def scale_value(scale):
    """E8M0 codes uint8 to float32, 2**14 times too large: the other half of `nibble_value`."""
    return ((scale.to(tl.int32) + 14) << 23).to(tl.float32, bitcast=True)
