"""Comparing and naming token histories."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence
from itertools import takewhile


def common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """The number of leading tokens that both have in common."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))


def prefix_digest(tokens: Sequence[int]) -> str:
    """A short name for exactly these tokens."""
    return hashlib.blake2b(array("I", tokens).tobytes(), digest_size=12).hexdigest()
