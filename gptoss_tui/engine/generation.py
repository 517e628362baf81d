"""What every backend's generation shares: checked ids, chunks of a prompt, the cost of a request, scored positions."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gptoss_tui.engine.types import Finished, FinishReason, ScoredPosition, Usage
from gptoss_tui.errors import ContextOverflowError, EngineError

if TYPE_CHECKING:
    from torch import Tensor


def checked_ids(token_ids: Sequence[int], vocab: int, context: int) -> list[int]:
    """The ids as a list. Raises EngineError for none or one outside `vocab`, ContextOverflowError beyond `context`."""
    ids = list(token_ids)
    if not ids:
        raise EngineError("There must be at least one token to continue")
    if not 0 <= min(ids) <= max(ids) < vocab:
        wrong = next(token for token in ids if not 0 <= token < vocab)
        raise EngineError(f"Token id {wrong} is outside the vocabulary of {vocab}")
    if len(ids) > context:
        raise ContextOverflowError(f"{len(ids)} tokens do not fit the context of {context}")
    return ids


def checked_prompt(token_ids: Sequence[int], vocab: int, context: int) -> list[int]:
    """As `checked_ids`, for a prompt: there must be room for a token after it."""
    if len(token_ids) >= context:
        raise ContextOverflowError(
            f"The prompt of {len(token_ids)} tokens leaves no room in the context of {context}",
            hint="start a new conversation, or load the model with a larger context",
        )
    return checked_ids(token_ids, vocab, context)


def chunks(prompt: list[int], start: int, size: int, cut: int) -> Iterator[list[int]]:
    """The tokens from `start` on, at most `size` at once, none of them across `cut`."""
    while start < len(prompt):
        end = min(start + size, len(prompt))
        if start < cut < end:
            end = cut
        yield prompt[start:end]
        start = end


@dataclass(slots=True)
class Meter:
    """What one generation cost so far. Times are of `time.perf_counter`."""

    prompt: int
    cached: int
    started: float
    prefilled: int = 0
    prefilled_at: float | None = None
    generated: int = 0

    def finish(self, reason: FinishReason) -> Finished:
        """The event that ends the generation now."""
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


def score_rows(logits: Tensor, following: Sequence[int], top: int) -> list[ScoredPosition]:
    """Scored positions of logits [P, V]; `following` are the ids after them, one fewer at the end of the input."""
    import torch

    from gptoss_tui.engine.sampling import top_alternatives

    logprobs = torch.log_softmax(logits, dim=-1)
    scored = []
    for row, logprob in enumerate(logprobs):
        after = following[row] if row < len(following) else None
        value = None if after is None else float(logprob[after])
        scored.append(ScoredPosition(after, value, top_alternatives(logprob, top)))
    return scored
