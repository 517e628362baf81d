"""Matrices and memory for tests of the CPU kernels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gptoss_tui.engine.native import library
from gptoss_tui.engine.native.trial import aligned_bytes, matrix
from gptoss_tui.engine.torch.mxfp4 import dequantize


@dataclass(frozen=True, slots=True)
class Packed:
    """Matrices as the kernels take them, and their values as float32 [experts, rows, columns], rows in packed order."""

    kind: int
    data: np.ndarray
    bias: Tensor
    values: Tensor

    @property
    def matrix(self) -> library.Matrix:
        return matrix(self.kind, self.data, self.bias, self.values.shape[2])


def random_matrix(kind: int, experts: int, rows: int, columns: int, generator: torch.Generator) -> Packed:
    """Random weights of `kind`; rows is a multiple of 16, columns of 32."""
    lib = library.load_library()
    size = lib.gt_packed_bytes(kind, rows, columns)
    data = aligned_bytes(experts * size)
    values = torch.empty(experts, rows, columns)
    for expert in range(experts):
        out = data[expert * size :].ctypes.data
        if kind == library.MXFP4:
            blocks = torch.randint(0, 256, (rows, columns // 32, 16), dtype=torch.uint8, generator=generator)
            scales = torch.randint(115, 124, (rows, columns // 32), dtype=torch.uint8, generator=generator)
            scales[::5, ::3] = 0  # as good as nothing
            scales[1::7, ::2] = 129  # above 1
            lib.gt_pack_mxfp4(blocks.data_ptr(), scales.data_ptr(), rows, columns, 0, out)
            values[expert] = dequantize(blocks, scales, torch.float32)
            continue
        source = torch.randn(rows, columns, generator=generator).bfloat16().contiguous()
        if kind == library.BF16:
            lib.gt_pack_bf16(source.data_ptr(), rows, columns, out)
            values[expert] = source.float()
        else:
            lib.gt_pack_int8(source.data_ptr(), rows, columns, out)
            values[expert] = _int8_values(data[expert * size :][:size], rows, columns)
    return Packed(kind, data, torch.randn(experts, rows, generator=generator), values)


def largest_matrix(kind: int, signs: Tensor) -> Packed:
    """The largest weights of `kind` that there are, 6 each, with these signs [rows, columns]: MXFP4 or int8."""
    lib = library.load_library()
    rows, columns = signs.shape
    data = aligned_bytes(lib.gt_packed_bytes(kind, rows, columns))
    if kind == library.MXFP4:
        codes = torch.where(signs < 0, 15, 7).to(torch.uint8).view(rows, columns // 2, 2)
        blocks = (codes[..., 0] | codes[..., 1] << 4).contiguous()
        scales = torch.full((rows, columns // 32), 127, dtype=torch.uint8)
        lib.gt_pack_mxfp4(blocks.data_ptr(), scales.data_ptr(), rows, columns, 0, data.ctypes.data)
    else:
        source = (signs * 6).bfloat16().contiguous()
        lib.gt_pack_int8(source.data_ptr(), rows, columns, data.ctypes.data)
    return Packed(kind, data, torch.zeros(1, rows), (signs * 6)[None])


def rows_for(count: int, columns: int, fill: float = float("nan"), beyond: int = 16) -> Tensor:
    """Float rows [count, columns] of a wider, aligned buffer; what is there before they are written is `fill`."""
    buffer = torch.from_numpy(aligned_bytes(4 * max(count, 1) * (columns + beyond)).view(np.float32))
    buffer.fill_(fill)
    return buffer.view(-1, columns + beyond)[:count, :columns]


def _int8_values(group_bytes: np.ndarray, rows: int, columns: int) -> Tensor:
    """Weights of a packed int8 matrix, read as native.h describes them."""
    blocks = columns // 32
    groups = group_bytes.reshape(rows // 16, -1)
    codes = groups[:, : blocks * 512].reshape(-1, blocks, 8, 16, 4).astype(np.float32) - 128
    halves = groups[:, blocks * 512 : blocks * 544].copy().view(np.uint16).reshape(-1, blocks, 16)
    scales = (halves.astype(np.uint32) << 16).view(np.float32)
    values = codes.transpose(0, 3, 1, 2, 4).reshape(-1, 16, blocks, 32) * scales.transpose(0, 2, 1)[..., None]
    return torch.from_numpy(values.reshape(rows, columns))
