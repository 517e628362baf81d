"""What a backend offers to the worker that hosts it: synchronous, one request at a time, token ids only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from gptoss_tui.engine.types import (
    EngineInfo,
    Finished,
    LoadProgress,
    PrefillProgress,
    SamplingParams,
    ScoredPosition,
    Token,
)


class Backend(Protocol):
    """A loaded model on a device. One thread owns it."""

    def info(self) -> EngineInfo:
        """What is loaded, with the number of tokens whose keys and values are cached now."""
        ...

    def generate(
        self, token_ids: Sequence[int], params: SamplingParams, cancelled: Callable[[], bool]
    ) -> Iterator[PrefillProgress | Token | Finished]:
        """Continue `token_ids`; polls `cancelled` between steps and prefill chunks. Ends with `Finished`.

        Keys and values of the longest common prefix with what is cached are used again; so are those of a prefix that
        an earlier request asked to keep (`SamplingParams.keep_prefix`), or of another conversation that is kept. Raises
        ContextOverflowError.
        """
        ...

    def park_up_to(self, nbytes: int, host_nbytes: int = 0) -> None:
        """Keep other conversations in so many bytes of the engine's memory, and of the machine's where it is another.

        Nothing is kept of them before this is called.
        """
        ...

    def score(
        self, token_ids: Sequence[int], top: int, cancelled: Callable[[], bool] = ..., start: int = 0
    ) -> Iterator[ScoredPosition]:
        """Log-softmax of the raw logits at every position from `start` on, in order.

        Ends early where `cancelled`, polled between chunks and on the way, says so; what was run stays cached for the
        call that goes on from there. At its end nothing is cached; what was before, is as another's. Raises
        ContextOverflowError.
        """
        ...

    def close(self) -> None:
        """Free the device's memory."""
        ...


ReportProgress = Callable[[LoadProgress], None]
