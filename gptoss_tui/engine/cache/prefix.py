"""Comparing and naming token sequences."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence
from itertools import takewhile

_BLOCK = 1024
"""Number of tokens compared at once."""


def common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """The number of leading tokens that both sequences share."""
    start, end = 0, min(len(first), len(second))
    # Comparing lists avoids a Python step per token.
    while start < end and list(first[start : start + _BLOCK]) == list(second[start : start + _BLOCK]):
        start += _BLOCK
    if start >= end:
        return end
    pairs = zip(first[start : start + _BLOCK], second[start : start + _BLOCK], strict=False)
    return start + sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def prefix_digest(tokens: Sequence[int]) -> str:
    """A short name for exactly these tokens."""
    return hashlib.blake2b(array("I", tokens).tobytes(), digest_size=12).hexdigest()
