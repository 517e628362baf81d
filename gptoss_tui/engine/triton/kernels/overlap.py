"""Kernels that begin before the one in front of them has ended (programmatic dependent launch, since Hopper).

What a kernel reads before `follow` must have been there before the previous kernel began: weights, tables, and what the
kernel in front of the previous one wrote, for that one had to end before any program of the previous one came behind
its own `follow`. Everything else, and every write, comes after. Reads of the last kind go around the first-level cache
(".cg"), which may still hold what was there before.
"""

from __future__ import annotations

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait


@triton.jit
def follow(OVERLAP: tl.constexpr):
    """Wait until the previous kernel has ended, and let the next one begin."""
    if OVERLAP:
        gdc_wait()
        gdc_launch_dependents()
