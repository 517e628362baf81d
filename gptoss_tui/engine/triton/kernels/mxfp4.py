"""MXFP4 as the kernels read it: tiles of 16 rows by 64 columns, with values and scales in separate tensors.

A checkpoint stores a row as blocks of 32 values, with neighbours in the two nibbles of a byte. Here a tile of 64
columns has 32 bytes per row: byte j holds column j in its low nibble and column 32 + j in its high one. So all low
nibbles of a row share one scale, all high ones another, and neighbouring bytes are neighbouring columns: nothing has to
be shuffled.

values: uint8 [E, rows / 16, columns / 64, 16, 32]; scales: uint8 [E, rows / 16, columns / 64, 8, 2, 2], where the last
two axes are rows g and g + 8, and low and high nibbles; together they are the word that a thread of a matrix product
needs (mma.py). Columns are padded with zeros to a multiple of 64. The codes are those of the checkpoint, unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor
from triton import knobs

from gptoss_tui.errors import CheckpointError

TILE_ROWS = 16

_LARGEST_SCALE = 128
"""The largest scale code. A scale is multiplied by 2**126 (see mma.py), and the product must fit into bfloat16."""


@dataclass(frozen=True, slots=True)
class Tiles:
    """One projection of all experts in a layer: values and scales as above, bias [E, rows] in the model's dtype."""

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
        """Tiles per tile row: columns / 64, rounded up."""
        return int(self.values.shape[2])

    @property
    def nbytes(self) -> int:
        """Bytes of all three tensors."""
        return self.values.nbytes + self.scales.nbytes + self.bias.nbytes


def to_tiles(blocks: Tensor, scales: Tensor, bias: Tensor) -> Tiles:
    """Repack uint8 blocks [E, rows, columns / 32, 16] and scales [E, rows, columns / 32] of a checkpoint.

    Raises CheckpointError for a scale above 2, which would allow weights above 12: no model needs that.
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
        padded.view(experts, rows // TILE_ROWS, 2, 8, tiles, 2).permute(0, 1, 4, 3, 2, 5).contiguous(),
        bias,
        count * 32,
    )


INTERPRETED = tl.constexpr(knobs.runtime.interpret)

# Turns four bytes into eight float16: four from the low nibbles, four from the high ones. The top bytes of four float16
# are made at once, in place; then each moves to the top of its half word.
UNPACK = tl.constexpr("""{
.reg .b32 a, b, l, h;
shl.b32 a, $4, 1;
shl.b32 b, $4, 4;
and.b32 a, a, 0x0E0E0E0E;
and.b32 b, b, 0x80808080;
or.b32 l, a, b;
shr.b32 a, $4, 3;
and.b32 a, a, 0x0E0E0E0E;
and.b32 b, $4, 0x80808080;
or.b32 h, a, b;
prmt.b32 $0, l, 0, 0x1404;
prmt.b32 $1, l, 0, 0x3424;
prmt.b32 $2, h, 0, 0x1404;
prmt.b32 $3, h, 0, 0x3424;
}""")


@triton.jit
def unpack(byte):
    """The exact values of the low and the high nibbles of uint8 codes, times 2**-14: two float16 tensors.

    The sign and the three other bits of E2M1 become sign, exponent and mantissa of a float16. That is exact because
    both formats have denormals.
    """
    if INTERPRETED:
        wide = byte.to(tl.int32)
        low = ((wide & 7) << 9) | ((wide & 8) << 12)
        high = ((wide & 0x70) << 5) | ((wide & 0x80) << 8)
        return low.to(tl.int16).to(tl.float16, bitcast=True), high.to(tl.int16).to(tl.float16, bitcast=True)
    else:
        return tl.inline_asm_elementwise(
            UNPACK, "=r,=r,=r,=r,r", [byte], dtype=(tl.float16, tl.float16), is_pure=True, pack=4
        )


@triton.jit
def scale_value(scale):
    """E8M0 codes uint8 to float32, times 2**14, which makes up for the factor in `unpack`."""
    return ((scale.to(tl.int32) + 14) << 23).to(tl.float32, bitcast=True)


def spread_codes(word: str, out: str = "p") -> list[str]:
    """PTX that turns eight codes into four pairs of bfloat16, 2**-126 times their values.

    Pairs p0 and p1 are the low nibbles, p2 and p3 the high ones. The sign and the three other bits of E2M1 become sign,
    exponent and mantissa of a bfloat16. p0 has bytes 0 and 2, p1 bytes 1 and 3 (p2 and p3 likewise): these lie in
    different half words, so one shift moves both. Registers u and v are scratch.
    """
    shifts = (("shl", 12, "shl", 6), ("shl", 4, "shr", 2), ("shl", 8, "shl", 2), ("", 0, "shr", 6))
    lines = []
    for pair, (sign, by, rest, at) in enumerate(shifts):
        lines += [f"{sign}.b32 u, {word}, {by};"] if sign else [f"mov.b32 u, {word};"]
        lines += [
            f"{rest}.b32 v, {word}, {at};",
            "and.b32 u, u, 0x80008000;",
            "and.b32 v, v, 0x01C001C0;",
            f"or.b32 {out}{pair}, u, v;",
        ]
    return lines


# Turns four bytes into eight bfloat16, in the order of the bytes.
_CODES = [
    ".reg .b32 u, v, p<4>;",
    *spread_codes("$4"),
    *(f"prmt.b32 ${n}, p{n // 2 * 2}, p{n // 2 * 2 + 1}, {('0x5410', '0x7632')[n % 2]};" for n in range(4)),
]
CODES = tl.constexpr("{\n" + "\n".join(_CODES) + "\n}")


@triton.jit
def weights_of(byte, low_code, high_code, kind: tl.constexpr):
    """The weights [N, 32] of the low and the high nibbles of uint8 [N, 32], in dtype `kind`; scale codes uint8 [N]."""
    if INTERPRETED or kind != tl.bfloat16:
        low, high = unpack(byte)
        low = low.to(tl.float32) * scale_value(low_code)[:, None]
        high = high.to(tl.float32) * scale_value(high_code)[:, None]
        return low.to(kind), high.to(kind)
    else:
        low, high = tl.inline_asm_elementwise(
            CODES, "=&r,=&r,=&r,=&r,r", [byte], dtype=(tl.bfloat16, tl.bfloat16), is_pure=True, pack=4
        )
        return low * rest_of_scale(low_code)[:, None], high * rest_of_scale(high_code)[:, None]


@triton.jit
def rest_of_scale(code):
    """2**(code - 1) in bfloat16: the scale, times the 2**126 that `spread_codes` leaves out."""
    return ((code.to(tl.int16) + 126) << 7).to(tl.bfloat16, bitcast=True)
