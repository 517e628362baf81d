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


@triton.jit
def follow_last(OVERLAP: tl.constexpr):
    """Wait until the previous kernel has ended; the next one begins when this one has."""
    if OVERLAP:
        gdc_wait()


# One thread of a program asks for all of it.
_PREFETCH = tl.constexpr("""{
.reg .pred first;
.reg .b32 thread;
mov.u32 thread, %tid.x;
setp.eq.u32 first, thread, 0;
@first cp.async.bulk.prefetch.L2.global [$1], $2;
mov.u32 $0, 0;
}""")


@triton.jit
def fetch_ahead(pointer, index, SIZE: tl.constexpr):
    """Ask for bytes `index` * SIZE to (`index` + 1) * SIZE behind `pointer` into the second-level cache; 0: nothing.

    SIZE is a multiple of 16. What the next kernel reads is then on its way while this one ends and that one begins,
    when the memory would have little to do.
    """
    if SIZE > 0:
        address = pointer.to(tl.int64) + index.to(tl.int64) * SIZE
        tl.inline_asm_elementwise(
            _PREFETCH, "=r,l,r", [address, tl.full((), SIZE, tl.int32)], dtype=tl.int32, is_pure=False, pack=1
        )
