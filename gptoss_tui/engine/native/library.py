"""The shared library of the CPU kernels: loading it, its instruction sets, and its functions for ctypes (`abi.h`)."""

from __future__ import annotations

import ctypes
import os
from ctypes import POINTER, c_char_p, c_double, c_float, c_int32, c_int64, c_uint32, c_void_p
from functools import cache

from gptoss_tui.engine.native.build import LIBRARY
from gptoss_tui.errors import EngineError, UsageError

ABI = 3
"""The version of the library's interface that this module expects; `gt_abi` returns the library's own."""

ISA_VARIABLE = "GPTOSS_TUI_NATIVE_ISA"
"""Environment variable that selects an instruction set by name instead of the best, for tests and measurements."""

INSTRUCTION_SETS = ("scalar", "avx2", "avx512", "avx512bf16", "amx", "neon", "neon_i8mm")
"""Names by number. Among those of a processor, later ones are better."""

MXFP4, BF16, INT8, INT4 = 0, 1, 2, 3
"""Kinds of matrices."""

GROUP = 16
BLOCK = 32

OUTSIDE = -2
"""`GT_OUTSIDE`: returned by functions when an argument is outside of what the model or the cache has."""

Cancelled = ctypes.CFUNCTYPE(c_int32)


class Config(ctypes.Structure):
    """`gt_config`."""

    _fields_ = (
        *((name, c_int32) for name in ("layers", "experts", "experts_per_token", "vocabulary", "hidden")),
        *((name, c_int32) for name in ("intermediate", "head_dim", "heads", "kv_heads", "window", "exact", "wide")),
        ("swiglu_limit", c_float),
        *((name, c_int32) for name in ("chunk", "threads", "pin", "isa")),
    )


class Matrix(ctypes.Structure):
    """`gt_matrix`."""

    _fields_ = (
        ("kind", c_int32),
        ("experts", c_int32),
        ("rows", c_int64),
        ("columns", c_int64),
        ("data", c_void_p),
        ("bias", c_void_p),
    )


class Layer(ctypes.Structure):
    """`gt_layer`."""

    _fields_ = (
        *((name, c_void_p) for name in ("attn_norm", "sinks", "mlp_norm")),
        *((name, Matrix) for name in ("qkv", "out", "router", "up", "down")),
    )


class Top(ctypes.Structure):
    """`gt_top`."""

    _fields_ = (
        *((name, c_void_p) for name in ("embedding", "norm", "frequency")),
        ("concentration", c_float),
        ("unembedding", Matrix),
        ("coarse", Matrix),
        ("doubt", c_void_p),
        ("counts", c_void_p),
        ("used", c_void_p),
    )


class Cache(ctypes.Structure):
    """`gt_cache`."""

    _fields_ = (
        ("full", c_void_p),
        ("sliding", c_void_p),
        ("context", c_int64),
        ("slots", c_int64),
        ("sliding_start", c_int64),
    )


class Draw(ctypes.Structure):
    """`gt_draw`."""

    _fields_ = (
        ("temperature", c_float),
        ("uniform", c_double),
        ("forbidden", c_void_p),
        ("forbidden_count", c_int32),
        ("row", c_int32),
        ("within", c_double),
        ("logit", c_float),
        ("log_total", c_double),
    )


_FUNCTIONS: dict[str, tuple[type | None, tuple[type, ...]]] = {
    "gt_abi": (c_int32, ()),
    "gt_instruction_sets": (c_uint32, ()),
    "gt_new": (c_void_p, (POINTER(Config), POINTER(Top), POINTER(Layer))),
    "gt_free": (None, (c_void_p,)),
    "gt_share_steps": (None, (c_void_p,)),
    "gt_kernels": (c_char_p, (c_void_p, c_int32)),
    "gt_run": (c_int32, (c_void_p, POINTER(Cache), c_void_p, c_int32, c_int64, Cancelled)),
    "gt_logits": (POINTER(c_float), (c_void_p, c_int32)),
    "gt_sample": (c_int32, (c_void_p, POINTER(Draw))),
    "gt_choose": (c_int32, (c_void_p, c_int32, POINTER(Draw))),
    "gt_log_total": (c_double, (c_void_p,)),
    "gt_pack_mxfp4": (None, (c_void_p, c_void_p, c_int64, c_int64, c_int32, c_void_p)),
    "gt_pack_bf16": (None, (c_void_p, c_int64, c_int64, c_void_p)),
    "gt_pack_int8": (None, (c_void_p, c_int64, c_int64, c_void_p)),
    "gt_pack_coarse": (None, (c_void_p, c_int64, c_int64, c_void_p, c_void_p)),
    "gt_packed_bytes": (c_int64, (c_int32, c_int64, c_int64)),
    "gt_product": (c_int32, (c_void_p, POINTER(Matrix), c_int32, c_void_p, c_void_p)),
    "gt_time_product": (c_double, (c_void_p, POINTER(Matrix), c_void_p, c_void_p, c_int32)),
    "gt_time_read": (c_double, (c_void_p, c_void_p, c_int64)),
}


@cache
def load_library() -> ctypes.CDLL:
    """Load the library and declare its functions' types. Calls into it release the GIL.

    Raises EngineError if it was not built, does not load, or has another version.
    """
    hint = "`--backend torch` runs on any CPU; `gptoss-tui doctor` says how to build the kernels"
    if not LIBRARY.exists():
        raise EngineError("The CPU kernels were not built when gptoss-tui was installed", hint=hint)
    try:
        library = ctypes.CDLL(str(LIBRARY))
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise EngineError(f"The CPU kernels do not load: {error}", hint=hint) from error
    if library.gt_abi() != ABI:
        raise EngineError("The CPU kernels belong to another version of gptoss-tui", hint="reinstall gptoss-tui")
    return library


def available() -> bool:
    """Whether the library exists and loads."""
    try:
        load_library()
    except EngineError:
        return False
    return True


def instruction_sets() -> list[str]:
    """The instruction sets that the library was built with and this processor supports, the best one last.

    Raises EngineError as `load_library` does.
    """
    bits = load_library().gt_instruction_sets()
    return [name for number, name in enumerate(INSTRUCTION_SETS) if bits >> number & 1]


def chosen_set() -> str:
    """The best instruction set, or the one named by the environment. Raises UsageError if that one is not available."""
    found = instruction_sets()
    wanted = os.environ.get(ISA_VARIABLE, "")
    if not wanted:
        return found[-1]
    if wanted not in found:
        raise UsageError(f"{ISA_VARIABLE} names {wanted!r}", hint=f"this machine has {', '.join(found)}")
    return wanted
