"""Prefill's kernels, called alone through `gt_try_product` and `gt_try_attention`, and what they are compared with."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_double, c_float, c_int32, c_int64, c_void_p
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gptoss_tui.engine.mxfp4 import dequantize
from gptoss_tui.engine.native import library

WRITTEN = "written"
"""AMX with its instructions written out in plain code."""


class _Trial(ctypes.Structure):
    _fields_ = tuple((name, c_int32) for name in ("isa", "exact", "written", "threads", "repeat"))


class _Chunk(ctypes.Structure):
    _fields_ = (
        *((name, c_void_p) for name in ("keys", "values")),
        ("head_stride", c_int64),
        ("wide", c_int32),
        *((name, c_int64) for name in ("past", "window")),
        *((name, c_int32) for name in ("tokens", "heads", "kv_heads", "dim")),
        *((name, c_void_p) for name in ("sinks", "query")),
        ("query_stride", c_int64),
        ("out", c_void_p),
        ("out_stride", c_int64),
    )


@dataclass(frozen=True, slots=True)
class Kernels:
    """Which kernels to try."""

    isa: str
    exact: bool
    threads: int = 2
    repeat: int = 1

    def __str__(self) -> str:
        return f"{self.isa}-{'exact' if self.exact else 'fast'}"

    def trial(self) -> _Trial:
        written = self.isa == WRITTEN
        isa = 0 if written else library.INSTRUCTION_SETS.index(self.isa)
        return _Trial(isa, self.exact, written, self.threads, self.repeat)


def all_kernels() -> list[Kernels]:
    """All that the library has and this machine runs."""
    if not library.available():
        return []
    sets = library.instruction_sets()
    names = [*sets, WRITTEN] if "avx512bf16" in sets else sets
    return [Kernels(name, exact) for name in names for exact in (True, False)]


@dataclass(frozen=True, slots=True)
class Packed:
    """Matrices as the kernels take them, and their values as float32 [experts, rows, columns], rows in packed order."""

    kind: int
    data: np.ndarray
    bias: Tensor
    values: Tensor

    @property
    def matrix(self) -> library.Matrix:
        experts, rows, columns = self.values.shape
        return library.Matrix(self.kind, experts, rows, columns, self.data.ctypes.data, self.bias.data_ptr())


def random_matrix(kind: int, experts: int, rows: int, columns: int, generator: torch.Generator) -> Packed:
    """Random weights of `kind`; rows is a multiple of 16, columns of 32."""
    lib = library.load_library()
    size = lib.gt_packed_bytes(kind, rows, columns)
    data = _aligned(experts * size)
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


def product(
    kernels: Kernels, w: Packed, x: Tensor, y: Tensor, first: Tensor | None, token: Tensor | None, limit: float = 0.0
) -> float:
    """Run `gt_try_product`: x, y float32 with their own strides; first, token int32. Seconds, or -1: not there.

    `token` comes with a limit: only the products that SwiGLU follows gather rows of x.
    """
    run = library.load_library().gt_try_product
    run.restype = c_double
    run.argtypes = (
        *(POINTER(_Trial), POINTER(library.Matrix), c_void_p, c_void_p, c_int32),
        *(c_void_p, c_int64, c_void_p, c_int64, c_float),
    )
    rows = x.shape[0] if token is None else int(token.max()) + 1
    seconds: float = run(
        *(kernels.trial(), w.matrix, _pointer(first), _pointer(token), rows),
        *(x.data_ptr(), x.stride(0), y.data_ptr(), y.stride(0), limit),
    )
    return seconds


def attention(
    kernels: Kernels, query: Tensor, keys: Tensor, values: Tensor, sinks: Tensor, past: int, window: int, out: Tensor
) -> float:
    """Run `gt_try_attention`. query, out [T, Q, D] float32; keys, values [K, slots, D], past + T in use."""
    run = library.load_library().gt_try_attention
    run.restype, run.argtypes = c_double, (POINTER(_Trial), POINTER(_Chunk))
    tokens, heads, dim = query.shape
    chunk = _Chunk(
        *(keys.data_ptr(), values.data_ptr(), keys.stride(0), keys.dtype == torch.float32, past, window),
        *(tokens, heads, keys.shape[0], dim, sinks.data_ptr(), query.data_ptr(), query.stride(0)),
        *(out.data_ptr(), out.stride(0)),
    )
    seconds: float = run(kernels.trial(), chunk)
    return seconds


def rows_for(count: int, columns: int, fill: float = float("nan"), beyond: int = 16) -> Tensor:
    """Float rows [count, columns] of a wider, aligned buffer; what is there before they are written is `fill`."""
    buffer = torch.from_numpy(_aligned(4 * max(count, 1) * (columns + beyond)).view(np.float32))
    buffer.fill_(fill)
    return buffer.view(-1, columns + beyond)[:count, :columns]


def _aligned(size: int) -> np.ndarray:
    buffer = np.zeros(size + 64, dtype=np.uint8)
    start = -buffer.ctypes.data % 64
    return buffer[start : start + size]


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _int8_values(group_bytes: np.ndarray, rows: int, columns: int) -> Tensor:
    """Weights of a packed int8 matrix, read as native.h describes them."""
    blocks = columns // 32
    groups = group_bytes.reshape(rows // 16, -1)
    codes = groups[:, : blocks * 512].reshape(-1, blocks, 8, 16, 4).astype(np.float32) - 128
    halves = groups[:, blocks * 512 : blocks * 544].copy().view(np.uint16).reshape(-1, blocks, 16)
    scales = (halves.astype(np.uint32) << 16).view(np.float32)
    values = codes.transpose(0, 3, 1, 2, 4).reshape(-1, 16, blocks, 32) * scales.transpose(0, 2, 1)[..., None]
    return torch.from_numpy(values.reshape(rows, columns))
