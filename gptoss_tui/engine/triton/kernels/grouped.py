"""The experts for many tokens: products of MXFP4 tiles with tokens that are grouped by expert.

T tokens with k experts each make T * k rows, sorted by expert. A block has up to BM rows of one expert; a program finds
its rows from `ends`. Experts without rows have no blocks, so their weights are not read.
"""

from __future__ import annotations

import triton
import triton.language as tl

from gptoss_tui.engine.triton.kernels.experts import swiglu
from gptoss_tui.engine.triton.kernels.mxfp4 import weights_of


@triton.jit
def block_of(ends, index, E: tl.constexpr, EP: tl.constexpr, BM: tl.constexpr):
    """The expert of block `index`, the block's first row, and the end of the expert's rows.

    The expert is E if there is no such block. ends int32 [E]: the end of each expert's rows, in order.
    """
    expert = tl.arange(0, EP)
    last = tl.load(ends + expert, mask=expert < E, other=0)
    start = tl.load(ends + expert - 1, mask=(expert > 0) & (expert < E), other=0)
    blocks = tl.where(expert < E, tl.cdiv(last - start, BM), 0)
    before = tl.cumsum(blocks, 0)
    chosen = tl.sum((before <= index).to(tl.int32), 0)
    chosen = tl.where(chosen >= E, E, chosen)
    mine = expert == chosen
    first = tl.sum(tl.where(mine, start + (index - before + blocks) * BM, 0), 0)
    return chosen, first, tl.sum(tl.where(mine, last, 0), 0)


@triton.jit
def tile_product(
    a, rows, held, values, scales, strip, columns,
    TILES: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """Multiply rows of a [*, columns] by BN rows of packed weights, from tile `strip` on: float32 [BM, BN]."""
    n, col, both = tl.arange(0, BN), tl.arange(0, 32), tl.arange(0, 64)
    tile_row, inner = strip + (n // 16).to(tl.int64) * TILES, n % 16
    # The weights are the left operand, which the matrix units read from registers: unpacked weights can stay there.
    acc = tl.zeros((BN, BM), tl.float32)
    for tile in tl.range(0, TILES):
        k = tile * 64 + both
        x = tl.load(a + rows[:, None] * columns + k[None, :], mask=held[:, None] & (k < columns)[None, :], other=0.0)
        at = tile_row + tile
        byte = tl.load(values + (at * 16 + inner)[:, None] * 32 + col[None, :])
        code = scales + at * 32 + inner % 8 * 4 + inner // 8 * 2
        low, high = weights_of(byte, tl.load(code), tl.load(code + 1), a.dtype.element_ty)
        weight = tl.reshape(tl.permute(tl.join(low, high), (0, 2, 1)), (BN, 64))
        acc = tl.dot(weight, tl.trans(x), acc, input_precision="ieee")
    return tl.trans(acc)


@triton.jit
def grouped_up_kernel(
    t, order, ends, values, scales, bias, hidden, limit,
    H: tl.constexpr, I: tl.constexpr, E: tl.constexpr, EP: tl.constexpr, TOP: tl.constexpr,
    ALPHA: tl.constexpr, TILES: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """hidden [T * k, I] = swiglu(W t + b), one row per choice, in sorted order.

    t [T, H]; order int32 [T * k]: which choice each sorted row is, token * k + place. Program (j, i) computes block i,
    columns j * BN to (j + 1) * BN of 2 I.
    """
    expert, first, end = block_of(ends, tl.program_id(1), E, EP, BM)
    if expert < E:
        row = first + tl.arange(0, BM)
        held = row < end
        tokens = (tl.load(order + row, mask=held, other=0) // TOP).to(tl.int64)
        strip = (expert.to(tl.int64) * (2 * I // 16) + tl.program_id(0) * (BN // 16)) * TILES
        acc = tile_product(t, tokens, held, values, scales, strip, H, TILES, BM, BN)
        column = tl.program_id(0) * BN + tl.arange(0, BN)
        acc += tl.load(bias + expert * 2 * I + column)[None, :].to(tl.float32)
        gate, linear = tl.split(tl.reshape(acc, (BM, BN // 2, 2)))
        out = tl.program_id(0) * (BN // 2) + tl.arange(0, BN // 2)
        place = hidden + row.to(tl.int64)[:, None] * I + out[None, :]
        tl.store(place, swiglu(gate, linear, limit, ALPHA).to(hidden.dtype.element_ty), mask=held[:, None])


@triton.jit
def grouped_down_kernel(
    hidden, order, ends, weights, values, scales, bias, out,
    H: tl.constexpr, I: tl.constexpr, E: tl.constexpr, EP: tl.constexpr,
    TILES: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """out [T * k, H] = weight * (W hidden + b), in the original order of the choices. weights float32 [T * k]."""
    expert, first, end = block_of(ends, tl.program_id(1), E, EP, BM)
    if expert < E:
        row = first + tl.arange(0, BM)
        held = row < end
        choice = tl.load(order + row, mask=held, other=0).to(tl.int64)
        strip = (expert.to(tl.int64) * (H // 16) + tl.program_id(0) * (BN // 16)) * TILES
        acc = tile_product(hidden, row.to(tl.int64), held, values, scales, strip, I, TILES, BM, BN)
        column = tl.program_id(0) * BN + tl.arange(0, BN)
        acc += tl.load(bias + expert * H + column)[None, :].to(tl.float32)
        acc *= tl.load(weights + choice, mask=held, other=0.0)[:, None]
        tl.store(out + choice[:, None] * H + column[None, :], acc.to(out.dtype.element_ty), mask=held[:, None])
