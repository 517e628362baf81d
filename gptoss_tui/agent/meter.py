"""What a generation has cost so far, for one that is cut short before the engine can say."""

from __future__ import annotations

import time

from gptoss_tui.engine.types import PrefillProgress, Usage


class StepMeter:
    """Counts along with one generation. Seconds are as seen from here, the way to the engine included."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._first_token: float | None = None
        self._prompt = 0
        self._cached = 0
        self._generated = 0

    def read(self, progress: PrefillProgress) -> None:
        """The prompt was read up to here."""
        self._prompt, self._cached = progress.done, progress.cached

    def sampled(self, tokens: int) -> None:
        """So many more tokens were sampled."""
        if self._first_token is None:
            self._first_token = time.monotonic()
        self._generated += tokens

    def usage(self) -> Usage:
        """The cost by now; the prompt counts as far as it was read."""
        now = time.monotonic()
        first = now if self._first_token is None else self._first_token
        return Usage(
            prompt_tokens=self._prompt,
            cached_tokens=self._cached,
            prefilled_tokens=self._prompt - self._cached,
            generated_tokens=self._generated,
            prefill_seconds=first - self._began,
            decode_seconds=now - first,
        )
