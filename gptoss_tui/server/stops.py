"""Finds stop sequences in streamed text, holding back whatever may be the beginning of one."""

from __future__ import annotations

from collections.abc import Sequence


class StopFilter:
    """Passes text through up to the first stop sequence, which sets `found`."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.found = False

    def feed(self, text: str) -> str:
        """Add text; returns the text that can be shown now."""
        if self.found or not self._stops:
            return "" if self.found else text
        text, self._held = self._held + text, ""
        begins = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if begins:
            self.found = True
            return text[: min(begins)]
        keep = len(text) - max(_overlap(text, stop) for stop in self._stops)
        self._held = text[keep:]
        return text[:keep]

    def finish(self) -> str:
        """End the text; returns what was held back, which was not a stop sequence."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """The length of the longest suffix of `text` that is a proper prefix of `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)
