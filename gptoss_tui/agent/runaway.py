"""Notices a generation that goes round in circles: the same tokens again and again, which no text ends by itself."""

from __future__ import annotations

from collections.abc import Sequence

MIN_COPIES = 5
"""What repeats stands there at least so often, the first time included: lists and tables repeat themselves, too."""

_EVERY = 16
"""Looking back costs little, but not nothing: it is done once in so many tokens."""


class LoopDetector:
    """Reads the tokens of one generation. `tokens` is how many of them in a row must be a repetition (0: never)."""

    def __init__(self, tokens: int) -> None:
        self._window = tokens
        self._ids: list[int] = []
        self._next_look = tokens

    def feed(self, token_ids: Sequence[int]) -> int:
        """The length of the loop that the generation ends in, in tokens; 0 when there is none."""
        self._ids += token_ids
        if not self._window or len(self._ids) < self._next_look:
            return 0
        del self._ids[: -2 * self._window]
        self._next_look = len(self._ids) + _EVERY
        return self._period()

    def _period(self) -> int:
        """The smallest distance at which the last tokens equal those before them."""
        ids, window = self._ids, self._window
        last, tail = ids[-1], ids[-window:]
        for period in range(1, min(window // (MIN_COPIES - 1), len(ids) - window) + 1):
            if ids[-1 - period] == last and ids[-window - period : -period] == tail:
                return period
        return 0
