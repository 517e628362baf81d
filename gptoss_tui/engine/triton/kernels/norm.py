"""RMS norms of the residual stream, split into two parts so that a product need not wait for the whole vector.

A kernel that writes `x` float32 [TOKENS, H] also writes `scaled` = g * x in the products' dtype, where g float32 [H]
are the gains of the next norm, and `squares` float32 [TOKENS, H / 16]: sums of x * x over 16 neighbours. The product
W rms_norm(x) is then W scaled / rms(x), where rms is computed from the squares at the end.
"""

from __future__ import annotations

import triton
import triton.language as tl

from gptoss_tui.engine.triton.kernels.overlap import follow


@triton.jit
def scale_kernel(
    x, g, scaled, squares, H: tl.constexpr, BLOCK: tl.constexpr, OVERLAP: tl.constexpr
):  # fmt: skip
    """Compute `scaled` and `squares` of x. Program (i, n) handles 16 * BLOCK columns of token n."""
    strip, n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK), tl.program_id(1)
    column = strip[:, None] * 16 + tl.arange(0, 16)[None, :]
    inside = column < H
    gain = tl.load(g + column, mask=inside, other=0.0)
    follow(OVERLAP)
    value = tl.load(x + n * H + column, mask=inside, other=0.0)
    tl.store(scaled + n * H + column, (value * gain).to(scaled.dtype.element_ty), mask=inside)
    tl.store(squares + n * (H // 16) + strip, tl.sum(value * value, 1), mask=strip < H // 16)


@triton.jit
def inverse_rms(squares, n, H: tl.constexpr, EPS: tl.constexpr):
    """1 / rms(x) of token n, computed from `squares`."""
    STRIPS: tl.constexpr = triton.next_power_of_2(H // 16)
    strip = tl.arange(0, STRIPS)
    held = tl.load(squares + n * (H // 16) + strip, mask=strip < H // 16, other=0.0)
    return tl.rsqrt(tl.sum(held, 0) / H + EPS)


@triton.jit
def load_squares(squares, H: tl.constexpr, TOKENS: tl.constexpr):
    """Load all of `squares`, padded with zeros: float32 [8, H / 16 rounded up to a power of two]."""
    STRIPS: tl.constexpr = triton.next_power_of_2(H // 16)
    n, strip = tl.arange(0, 8)[:, None], tl.arange(0, STRIPS)[None, :]
    return tl.load(squares + n * (H // 16) + strip, mask=(n < TOKENS) & (strip < H // 16), other=0.0)
