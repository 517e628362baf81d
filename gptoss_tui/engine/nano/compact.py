"""nano's compact form: a small file that expands to a standard checkpoint.

A vocabulary of 201,088 rows is too large for a repository, so rows are not stored but computed:
`row = CODE_SCALE * code(stem) + flag_rows[flags] + delta`. The code is a fixed vector of signs derived from the number
of the token's stem (its text without leading space and letter case), the flags say what was removed from the text, and
the delta is a learned int8 row that only common tokens have.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

CODE_SCALE = 1.0
NUM_FLAGS = 16

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _splitmix64(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finaliser of SplitMix64: the same 64 bits for the same number on every platform."""
    x = (x + _GOLDEN).astype(np.uint64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def code_rows(stem: npt.NDArray[np.int32], hidden_size: int) -> npt.NDArray[np.int8]:
    """The signs of each stem. stem [N] -> [N, hidden_size] of -1 and 1; hidden_size must be a multiple of 64."""
    words = np.arange(hidden_size // 64, dtype=np.uint64)
    with np.errstate(over="ignore"):
        counter = stem.astype(np.uint64)[:, None] * np.uint64(len(words)) + words
        octets = _splitmix64(counter.astype(np.uint64)).astype("<u8").view(np.uint8)
    bits = np.unpackbits(octets.reshape(len(stem), -1), axis=1, bitorder="little").astype(np.int8)
    return (bits * 2 - 1).astype(np.int8)
