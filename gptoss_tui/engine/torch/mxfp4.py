"""MXFP4: 4-bit values in blocks of 32 along the input axis, with one power-of-two scale per block.

A value is a nibble, E2M1 (sign, two exponent bits, one mantissa bit); byte j of a block holds element 2j in its low
nibble and 2j+1 in its high one. A scale is a byte, E8M0: 2**(byte - 127). OCP Microscaling Formats 1.0.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from gptoss_tui.engine.config import MXFP4_BLOCK

_MAGNITUDES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
_SCALE_BIAS = 127
_NAN_SCALE = 255
_LARGEST_SCALE = 252  # 6 * 2**125 is the largest value that float32 and bfloat16 hold


def dequantize(blocks: Tensor, scales: Tensor, dtype: torch.dtype) -> Tensor:
    """The values of packed weights: [..., out, in] of `dtype` (bfloat16 or float32), exactly.

    blocks: uint8 [..., out, in / 32, 16]; scales: uint8 [..., out, in / 32]. A scale byte of 255 gives NaN.
    """
    _check(blocks, scales)
    # One lookup yields both values of a byte, scaled: index = scale * 256 + byte.
    index = blocks.int().add_(scales.int().mul_(256)[..., None])
    values = _pairs(dtype, blocks.device).index_select(0, index.view(-1)).view(dtype)
    return values.view(*scales.shape[:-1], scales.shape[-1] * MXFP4_BLOCK)


def quantize(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Pack `weight` [..., out, in], of any float dtype, to the blocks and scales that `dequantize` takes.

    Values round to nearest, ties to the even code. Only two scales can be best for a block: the smallest that clips
    nothing, and the next smaller one; the one with the smaller squared error is used. Values that MXFP4 can represent
    are restored exactly. Raises ValueError when `in` is not a multiple of 32 or a value is not finite.
    """
    if weight.shape[-1] % MXFP4_BLOCK:
        raise ValueError(f"the last axis must be a multiple of {MXFP4_BLOCK}, got {weight.shape[-1]}")
    if not bool(weight.isfinite().all()):
        raise ValueError("only finite values can be quantized")
    values = weight.double().reshape(*weight.shape[:-1], -1, MXFP4_BLOCK)
    # frexp: largest / 6 = mantissa * 2**exponent with mantissa in [0.5, 1), so 6 * 2**exponent is above the largest,
    # and 6 * 2**(exponent - 1) reaches it when the mantissa is exactly 0.5.
    mantissa, exponent = torch.frexp(values.abs().amax(-1) / _MAGNITUDES[-1])
    exponent = torch.where(mantissa == 0.5, exponent - 1, exponent)
    wide, narrow = _encode(values, exponent), _encode(values, exponent - 1)
    better = narrow[2] < wide[2]
    codes = torch.where(better[..., None], narrow[0], wide[0])
    scales = torch.where(better, narrow[1], wide[1])
    return codes[..., 0::2] | codes[..., 1::2] << 4, scales


def _encode(values: Tensor, exponent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Codes uint8 [..., 32], scales uint8 [...] and squared error [...] of `values` at the scale 2**exponent."""
    scales = (exponent + _SCALE_BIAS).clamp(0, _LARGEST_SCALE)
    power = torch.ldexp(torch.ones_like(values[..., :1]), scales[..., None] - _SCALE_BIAS)
    scaled = values / power
    magnitudes = torch.tensor(_MAGNITUDES, dtype=torch.float64, device=values.device)
    codes = torch.bucketize(scaled.abs(), _midpoints(values.device))
    error = ((magnitudes[codes] - scaled.abs()) * power).square().sum(-1)
    return (codes + 8 * scaled.signbit()).to(torch.uint8), scales.to(torch.uint8), error


@cache
def _midpoints(device: torch.device) -> Tensor:
    """Midpoints between magnitudes. Ties round down, so where the even code is above, the bound is one float lower."""
    magnitudes = torch.tensor(_MAGNITUDES, dtype=torch.float64)
    middle = (magnitudes[1:] + magnitudes[:-1]) / 2
    middle[1::2] = torch.nextafter(middle[1::2], torch.zeros((), dtype=torch.float64))
    return middle.to(device)


@cache
def _pairs(dtype: torch.dtype, device: torch.device) -> Tensor:
    """The two values of each (scale byte, block byte) pair, as one integer of twice the width: [256 * 256].

    Only the rows of the few scales that a model uses are ever touched, so the used part of the table stays in L1 cache.
    """
    values = torch.tensor([*_MAGNITUDES, *(-value for value in _MAGNITUDES)], dtype=torch.float64)
    byte = torch.arange(256)
    powers = torch.ldexp(torch.ones(256, dtype=torch.float64), byte - _SCALE_BIAS)
    powers[_NAN_SCALE] = torch.nan
    pairs = powers[:, None, None] * torch.stack((values[byte & 15], values[byte >> 4]), dim=-1)
    wide = {torch.bfloat16: torch.int32, torch.float32: torch.int64}[dtype]
    return pairs.to(dtype).view(wide).view(-1).to(device)


def _check(blocks: Tensor, scales: Tensor) -> None:
    if blocks.shape != (*scales.shape, MXFP4_BLOCK // 2):
        raise ValueError(f"blocks {tuple(blocks.shape)} do not fit scales {tuple(scales.shape)}")
