"""Calls single prefill kernels, on any instruction set, for tests and measurements (`trial.cpp`)."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_double, c_float, c_int32, c_int64, c_void_p
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gptoss_tui.engine.native import library

WRITTEN = "written"
"""Names the AMX kernels with the AMX instructions emulated in plain code."""


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
    """Which kernels to try, on how many threads, and how often."""

    isa: str
    exact: bool
    threads: int = 2
    repeat: int = 1

    def __str__(self) -> str:
        return f"{self.isa}-{'exact' if self.exact else 'fast'}"

    def trial(self) -> ctypes.Structure:
        """These kernels as a `gt_trial`."""
        written = self.isa == WRITTEN
        isa = 0 if written else library.INSTRUCTION_SETS.index(self.isa)
        return _Trial(isa, self.exact, written, self.threads, self.repeat)


def all_kernels() -> list[Kernels]:
    """All kernels that the library has and this machine can run; none if there is no library."""
    if not library.available():
        return []
    sets = library.instruction_sets()
    names = [*sets, WRITTEN] if "avx512bf16" in sets else sets
    return [Kernels(name, exact) for name in names for exact in (True, False)]


def matrix(kind: int, data: npt.NDArray[np.uint8], bias: Tensor, columns: int) -> library.Matrix:
    """A matrix of packed weights; bias.shape is [experts, rows]. `data` and `bias` must live as long as it is used."""
    experts, rows = bias.shape
    return library.Matrix(kind, experts, rows, columns, data.ctypes.data, bias.data_ptr())


def product(
    kernels: Kernels,
    w: library.Matrix,
    x: Tensor,
    y: Tensor,
    first: Tensor | None,
    token: Tensor | None,
    limit: float = 0,
) -> float:
    """Run `gt_try_product`: x, y float32 with any row strides; first, token int32.

    Returns seconds, or -1 if this library or machine does not have the kernels. `token` needs a `limit`: only products
    that are followed by SwiGLU gather rows of x.
    """
    run = _function("gt_try_product")
    run.argtypes = (
        *(POINTER(_Trial), POINTER(library.Matrix), c_void_p, c_void_p, c_int32),
        *(c_void_p, c_int64, c_void_p, c_int64, c_float),
    )
    rows = x.shape[0] if token is None else int(token.max()) + 1
    pointers = (None if tensor is None else tensor.data_ptr() for tensor in (first, token))
    seconds: float = run(
        kernels.trial(), w, *pointers, rows, x.data_ptr(), x.stride(0), y.data_ptr(), y.stride(0), limit
    )
    return seconds


def attention(
    kernels: Kernels, query: Tensor, keys: Tensor, values: Tensor, sinks: Tensor, past: int, window: int, out: Tensor
) -> float:
    """Run `gt_try_attention`; returns seconds, or -1 as `product` does.

    query, out [T, Q, D] float32; keys, values [K, slots, D], of which past + T slots are in use.
    """
    run = _function("gt_try_attention")
    run.argtypes = (POINTER(_Trial), POINTER(_Chunk))
    tokens, heads, dim = query.shape
    chunk = _Chunk(
        *(keys.data_ptr(), values.data_ptr(), keys.stride(0), keys.dtype == torch.float32, past, window),
        *(tokens, heads, keys.shape[0], dim, sinks.data_ptr(), query.data_ptr(), query.stride(0)),
        *(out.data_ptr(), out.stride(0)),
    )
    seconds: float = run(kernels.trial(), chunk)
    return seconds


def peak(kernels: Kernels, kind: int) -> float:
    """Peak rate of the instructions used for products with a kind of matrix, on values in registers.

    Returns operations per second, or -1 if there are none.
    """
    run = _function("gt_try_peak")
    run.argtypes = (POINTER(_Trial), c_int32)
    operations: float = run(kernels.trial(), kind)
    return operations


def aligned_bytes(size: int) -> npt.NDArray[np.uint8]:
    """Zeroed memory that starts at a multiple of 64 bytes."""
    buffer = np.zeros(size + 64, dtype=np.uint8)
    start = -buffer.ctypes.data % 64
    return buffer[start : start + size]


def _function(name: str) -> Any:
    function = getattr(library.load_library(), name)
    function.restype = c_double
    return function
