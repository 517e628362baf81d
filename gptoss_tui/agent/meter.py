"""Measures the usage of a generation, for when it is cut short before the engine reports it."""

from __future__ import annotations

import time

from gptoss_tui.engine.types import PrefillProgress, Usage


class StepMeter:
    """Counts the tokens and time of one generation. Times are measured here and include the way to the engine."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._first_token: float | None = None
        self._prompt = 0
        self._cached = 0
        self._generated = 0

    def read(self, progress: PrefillProgress) -> None:
        """Note how much of the prompt has been prefilled."""
        self._prompt, self._cached = progress.done, progress.cached

    def sampled(self, tokens: int) -> None:
        """Count `tokens` more sampled tokens."""
        if self._first_token is None:
            self._first_token = time.monotonic()
        self._generated += tokens

    def usage(self) -> Usage:
        """The usage so far. Only the part of the prompt that has been prefilled counts."""
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
