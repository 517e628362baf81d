"""MXFP4 against its definition, element by element, and packing as the inverse of unpacking."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gptoss_tui.engine.torch.mxfp4 import dequantize, quantize

MAGNITUDES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
CODES = (*MAGNITUDES, *(-value for value in MAGNITUDES))

seeds = st.integers(0, 2**32 - 1)


def packed(seed: int, *shape: int, scales: tuple[int, int] = (100, 150)) -> tuple[Tensor, Tensor]:
    """Random blocks [*shape, 16] and scales [*shape] in the given range."""
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.randint(0, 256, (*shape, 16), dtype=torch.uint8, generator=generator)
    return blocks, torch.randint(*scales, shape, dtype=torch.uint8, generator=generator)


def by_definition(blocks: Tensor, scales: Tensor) -> Tensor:
    """The values of one row, float64 [in]: blocks [in / 32, 16], scales [in / 32]."""
    values = []
    for block, scale in zip(blocks.tolist(), scales.tolist(), strict=True):
        for byte in block:
            values += [math.ldexp(CODES[byte & 15], scale - 127), math.ldexp(CODES[byte >> 4], scale - 127)]
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_every_byte_at_every_scale_is_exact(dtype: torch.dtype) -> None:
    blocks = torch.arange(256, dtype=torch.uint8).view(1, 16, 16).expand(255, 16, 16)
    scales = torch.arange(255, dtype=torch.uint8)[:, None].expand(255, 16)
    expected = torch.stack([by_definition(b, s) for b, s in zip(blocks, scales, strict=True)])
    values = dequantize(blocks, scales, dtype)
    assert values.dtype == dtype
    assert torch.equal(values, expected.to(dtype))
    representable = expected.abs() <= torch.finfo(dtype).max
    assert torch.equal(values.double()[representable], expected[representable])


def test_the_nan_scale_is_nan() -> None:
    blocks, scales = packed(0, 2, 3)
    scales[1, 2] = 255
    values = dequantize(blocks, scales, torch.float32)
    assert values[1, 64:].isnan().all()
    assert values.isnan().sum() == 32


def test_leading_axes_are_kept() -> None:
    blocks, scales = packed(1, 3, 5, 2)
    values = dequantize(blocks, scales, torch.float32)
    assert values.shape == (3, 5, 64)
    assert torch.equal(values[2, 4], by_definition(blocks[2, 4], scales[2, 4]).float())
    assert torch.equal(dequantize(blocks[:, 1::2], scales[:, 1::2], torch.float32), values[:, 1::2])


def test_blocks_that_do_not_fit_the_scales_are_refused() -> None:
    blocks, scales = packed(1, 3, 2)
    with pytest.raises(ValueError, match="do not fit"):
        dequantize(blocks, scales[:, :1], torch.float32)


@given(seed=seeds)
def test_values_on_the_grid_come_back_exactly(seed: int) -> None:
    blocks, scales = packed(seed, 4, 3, scales=(0, 253))
    values = dequantize(blocks, scales, torch.float32)
    assert torch.equal(dequantize(*quantize(values), torch.float32), values)


def test_a_block_with_few_and_small_values_comes_back_exactly() -> None:
    for codes in ([0.0] * 32, [-0.0] * 32, [0.5, *[0.0] * 31], [6.0, *[0.5] * 31], [3.0, -1.5, *[0.25] * 30]):
        for scale in (2.0**-100, 1.0, 2.0**100):
            values = torch.tensor([codes]) * scale
            assert torch.equal(dequantize(*quantize(values), torch.float32), values)


@given(seed=seeds, scale=st.integers(-60, 60))
def test_no_other_scale_or_rounding_has_a_smaller_error(seed: int, scale: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(1, 32, generator=generator, dtype=torch.float64) * 2.0**scale
    error = (dequantize(*quantize(values), torch.float32).double() - values).square().sum()
    grid = torch.tensor(CODES, dtype=torch.float64)
    for exponent in range(scale - 6, scale + 6):
        nearest = (values[..., None] - grid * 2.0**exponent).abs().amin(-1)
        assert error <= nearest.square().sum() * (1 + 1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_ties_go_to_the_even_code(dtype: torch.dtype) -> None:
    ties = torch.tensor([[6.0, 0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0, *[0.0] * 24]], dtype=dtype)
    rounded = [6.0, 0.0, 1.0, 1.0, 2.0, 2.0, 4.0, 4.0]
    signs = torch.tensor([[1.0], [-1.0]], dtype=dtype)
    values = dequantize(*quantize(signs * ties), torch.float32)
    assert values[0, :8].tolist() == rounded
    assert values[1, :8].tolist() == [-value for value in rounded]


def test_relative_error_of_gaussian_weights() -> None:
    weight = torch.randn(256, 512, generator=torch.Generator().manual_seed(0))
    error = (dequantize(*quantize(weight), torch.float32) - weight).norm() / weight.norm()
    assert 0.08 < error < 0.115


def test_the_largest_and_smallest_floats_stay_finite() -> None:
    largest = torch.full((1, 32), torch.finfo(torch.float32).max)
    tiny = torch.full((1, 32), 2.0**-149)
    assert dequantize(*quantize(largest), torch.float32).isfinite().all()
    assert dequantize(*quantize(tiny), torch.float32).eq(0).all()


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        quantize(torch.full((1, 32), value))


def test_a_width_that_is_no_multiple_of_a_block_is_refused() -> None:
    with pytest.raises(ValueError, match="32"):
        quantize(torch.zeros(2, 33))
