"""Detects a generation that is stuck in a loop and repeats the same tokens, which it would never end by itself."""

from __future__ import annotations

from collections.abc import Sequence

MIN_COPIES = 5
"""The minimum number of copies, including the first, that count as a loop: lists and tables also repeat themselves."""

_EVERY = 16
"""How often to check, in tokens: a check is cheap, but not free."""


class LoopDetector:
    """Detects a loop in one generation. `tokens` is how many tokens in a row must be a repetition (0: never)."""

    def __init__(self, tokens: int) -> None:
        self._window = tokens
        self._ids: list[int] = []
        self._next_look = tokens

    def feed(self, token_ids: Sequence[int]) -> int:
        """Add tokens. Returns the length in tokens of the loop at the end of the generation, or 0 without one."""
        self._ids += token_ids
        if not self._window or len(self._ids) < self._next_look:
            return 0
        del self._ids[: -2 * self._window]
        self._next_look = len(self._ids) + _EVERY
        return self._period()

    def _period(self) -> int:
        """The smallest shift by which the last tokens equal the tokens before them, or 0."""
        ids, window = self._ids, self._window
        last, tail = ids[-1], ids[-window:]
        for period in range(1, min(window // (MIN_COPIES - 1), len(ids) - window) + 1):
            if ids[-1 - period] == last and ids[-window - period : -period] == tail:
                return period
        return 0
