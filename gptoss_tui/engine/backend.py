"""The interface between a backend and the worker that hosts it: synchronous, one request at a time, token ids only."""

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
        """Return what is loaded, including how many tokens currently have cached keys and values."""
        ...

    def generate(
        self, token_ids: Sequence[int], params: SamplingParams, cancelled: Callable[[], bool]
    ) -> Iterator[PrefillProgress | Token | Finished]:
        """Continue `token_ids`; polls `cancelled` between steps and prefill chunks. Ends with `Finished`.

        Reuses the keys and values of the longest known prefix of `token_ids`: from the cached sequence, from a prefix
        that an earlier request asked to keep (`SamplingParams.keep_prefix`), or from a parked conversation. Raises
        ContextOverflowError.
        """
        ...

    def park_up_to(self, nbytes: int, host_nbytes: int = 0) -> None:
        """Set how many bytes parked conversations may take: in the engine's memory, and in the host's.

        `host_nbytes` is for devices with memory of their own. No conversation is parked before this is called.
        """
        ...

    def score(
        self, token_ids: Sequence[int], top: int, cancelled: Callable[[], bool] = ..., start: int = 0
    ) -> Iterator[ScoredPosition]:
        """Yield the log-softmax of the raw logits at every position from `start` on, in order.

        Ends early when `cancelled`, which is polled between and during chunks, returns True; the tokens run so far stay
        cached, for a later call that continues there. After a complete scoring nothing is cached, and the sequence that
        was there before is treated like any other conversation. Raises ContextOverflowError.
        """
        ...

    def close(self) -> None:
        """Free the device's memory."""
        ...


ReportProgress = Callable[[LoadProgress], None]
