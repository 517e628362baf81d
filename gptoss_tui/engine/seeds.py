"""A random seed for each token of an answer, so that an interrupted answer continues as it would have.

How many random numbers a token takes depends on how it is chosen, so the generator's state cannot be restored by
counting tokens.
"""

from __future__ import annotations

_MASK = 0xFFFF_FFFF_FFFF_FFFF
STRIDE = 0x1E37_79B9_7F4A_7C15
"""Distance between the seeds of neighbouring tokens. `triton/kernels/unembed.py` repeats it and does its own mixing."""


def token_seed(seed: int, place: int) -> int:
    """The 64-bit seed of the token at `place` of an answer, mixed by SplitMix64's finaliser (Steele et al., 2014)."""
    mixed = (seed + (place + 1) * STRIDE) & _MASK
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58_476D_1CE4_E5B9 & _MASK
    mixed = (mixed ^ (mixed >> 27)) * 0x94D0_49BB_1331_11EB & _MASK
    return mixed ^ (mixed >> 31)
