"""Dense matrices: in the model's dtype, or in 8 bits if the user asked for that (`--dense int8`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gptoss_tui.errors import EngineError

GROUP = 64
"""Columns that share a scale: as many as a warp of kernels/dense.py handles at once."""

_SLICE = 1 << 14
"""Rows that are dequantized at once."""


@dataclass(frozen=True, slots=True)
class EightBit:
    """A matrix [N, K] as int8 values [N, K] and a scale for each group of columns in a row, bfloat16 [N, K / GROUP]."""

    values: Tensor
    scales: Tensor

    @property
    def nbytes(self) -> int:
        """Bytes of values and scales."""
        return self.values.nbytes + self.scales.nbytes

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of products with this matrix."""
        return self.scales.dtype

    def __getitem__(self, rows: slice) -> Tensor:
        """Dequantize some rows."""
        values, scales = self.values[rows], self.scales[rows]
        return (values.view(*scales.shape, GROUP) * scales[:, :, None]).view(values.shape)


Matrix = Tensor | EightBit


def to_eight_bits(matrix: Tensor) -> EightBit:
    """Quantize bfloat16 [N, K] to the nearest values; a group's scale is its largest magnitude / 127, up to rounding.

    Raises EngineError if K is not a multiple of `GROUP`.
    """
    rows, columns = matrix.shape
    if columns % GROUP:
        raise EngineError(
            f"{columns} columns of a dense matrix are no multiple of {GROUP}", hint="`--dense exact` takes them"
        )
    values = torch.empty((rows, columns), dtype=torch.int8, device=matrix.device)
    scales = torch.empty((rows, columns // GROUP), dtype=matrix.dtype, device=matrix.device)
    for part in _slices(rows):
        groups = matrix[part].float().view(-1, columns // GROUP, GROUP)
        scales[part] = groups.abs().amax(2) / 127
        taken = scales[part].float()[:, :, None]
        values[part] = torch.where(taken > 0, groups / taken, 0.0).round().clamp(-127, 127).flatten(1).to(torch.int8)
    return EightBit(values, scales)


def linear(x: Tensor, weight: Matrix, bias: Tensor | None = None) -> Tensor:
    """`torch.nn.functional.linear`; a weight in 8 bits is dequantized a slice of rows at a time."""
    if isinstance(weight, Tensor):
        return F.linear(x, weight, bias)
    out = torch.cat([F.linear(x, weight[part]) for part in _slices(len(weight.values))], dim=-1)
    return out if bias is None else out + bias


def _slices(rows: int) -> Iterator[slice]:
    return (slice(start, start + _SLICE) for start in range(0, rows, _SLICE))
