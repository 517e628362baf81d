"""The cost of an answer so far."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Stats:
    """Tokens and times (in seconds) of one answer. `slices` is the number of its turns on the engine."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    reasoning_tokens: int = 0
    generations: int = 0
    slices: int = 0
    began: float = field(default_factory=time.monotonic)
    waited_seconds: float = 0.0
    first_token_seconds: float | None = None
