"""Kernels that begin before the previous one has ended (programmatic dependent launch, since Hopper).

What a kernel reads before `follow` must have been written before the previous kernel began: weights, tables, and the
results of the kernel before the previous one, which had ended before any program of the previous one got past its own
`follow`. All other reads, and all writes, come after `follow`. Early reads of another kernel's results bypass the
first-level cache (".cg"), which may still hold older data.
"""

from __future__ import annotations

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait


@triton.jit
def follow(OVERLAP: tl.constexpr):
    """Wait until the previous kernel has ended, and let the next one begin. Does nothing without OVERLAP."""
    if OVERLAP:
        gdc_wait()
        gdc_launch_dependents()
