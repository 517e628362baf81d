"""Counts the cost of one generation while it runs."""

from __future__ import annotations

import time
from dataclasses import dataclass

from gptoss_tui.engine.types import Finished, FinishReason, Usage


@dataclass(slots=True)
class Meter:
    """Token counts, and times from `time.perf_counter`. `prefilled_at` is None until the whole prompt was read."""

    prompt: int
    started: float
    cached: int = 0
    prefilled: int = 0
    prefilled_at: float | None = None
    generated: int = 0

    def finish(self, reason: FinishReason) -> Finished:
        """The event that ends the generation now, with its usage."""
        now = time.perf_counter()
        prefilled_at = now if self.prefilled_at is None else self.prefilled_at
        usage = Usage(
            prompt_tokens=self.prompt,
            cached_tokens=self.cached,
            prefilled_tokens=self.prefilled,
            generated_tokens=self.generated,
            prefill_seconds=prefilled_at - self.started,
            decode_seconds=now - prefilled_at,
        )
        return Finished(reason, usage)
