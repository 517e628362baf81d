"""A random number generator's seed for each token of an answer: an answer that is interrupted goes on as it would have.

How many numbers a token takes depends on how it is chosen, so no generator could be put where it was by counting them.
"""

from __future__ import annotations

_MASK = 0xFFFF_FFFF_FFFF_FFFF
STRIDE = 0x1E37_79B9_7F4A_7C15
"""Between the seeds of neighbouring tokens. `triton/kernels/unembed.py` has it, too, and mixes them itself."""


def token_seed(seed: int, place: int) -> int:
    """64 bits for the token at `place` of an answer. The mix is the finaliser of SplitMix64 (Steele et al., 2014)."""
    mixed = (seed + (place + 1) * STRIDE) & _MASK
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58_476D_1CE4_E5B9 & _MASK
    mixed = (mixed ^ (mixed >> 27)) * 0x94D0_49BB_1331_11EB & _MASK
    return mixed ^ (mixed >> 31)
