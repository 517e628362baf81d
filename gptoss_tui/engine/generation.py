"""Everything that backends share apart from their maths: loading, chunked prefill, prefix reuse, how an answer ends.

A backend subclasses `SequenceBackend` and implements running tokens (`_run`), choosing tokens (`_tokens`) and scoring
them (`_scored`).
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from gptoss_tui.engine.backend import ReportProgress
from gptoss_tui.engine.cache.kv_cache import KVCache
from gptoss_tui.engine.cache.prefix import prefix_digest
from gptoss_tui.engine.checkpoint import Checkpoint, open_checkpoint
from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.constraint import Walk
from gptoss_tui.engine.grammar.matcher import new_walk
from gptoss_tui.engine.meter import Meter
from gptoss_tui.engine.types import (
    EngineInfo,
    EngineSpec,
    Finished,
    LoadProgress,
    PrefillProgress,
    SamplingParams,
    ScoredPosition,
    Token,
)
from gptoss_tui.errors import ContextOverflowError, EngineError

MIN_CONTEXT = 8
"""Tokens. Engines test a device with nearly as many before they trust it, and an empty chat needs ten times more."""

C = TypeVar("C", bound=KVCache[Any, Any])
S = TypeVar("S")


def never() -> bool:
    """A `cancelled` callback for requests that nobody cancels."""
    return False


def open_model(spec: EngineSpec, report: ReportProgress) -> tuple[Checkpoint, int]:
    """Open the checkpoint of `spec`; returns it and the context to load it with.

    Raises CheckpointError, or EngineError for a context that the model does not support.
    """
    report(LoadProgress("Reading the checkpoint's headers", 0.0))
    checkpoint = open_checkpoint(spec.checkpoint)
    longest = checkpoint.config.max_context
    context = longest if spec.context is None else spec.context
    if not MIN_CONTEXT <= context <= longest:
        raise EngineError(f"The context must be between {MIN_CONTEXT} and {longest} tokens, got {context}")
    return checkpoint, context


def count_reads(report: ReportProgress, total: int, share: float) -> Callable[[int], None]:
    """Return a callback that takes the bytes of each read and reports progress through `total`.

    `share` is the fraction of the loading that these reads make up.
    """
    done = 0

    def on_read(nbytes: int) -> None:
        nonlocal done
        done += nbytes
        report(LoadProgress("Loading weights", share * done / total))

    return on_read


def checked_ids(token_ids: Sequence[int], vocab: int, context: int) -> list[int]:
    """Return the ids as a list.

    Raises EngineError when there are none or one is outside `vocab`, and ContextOverflowError for more than `context`.
    """
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
    """Like `checked_ids`, for a prompt: there must be room for at least one token after it."""
    if len(token_ids) >= context:
        raise ContextOverflowError(
            f"The prompt of {len(token_ids)} tokens leaves no room in the context of {context}",
            hint="start a new conversation, or load the model with a larger context",
        )
    return checked_ids(token_ids, vocab, context)


def check_bias(params: SamplingParams, vocab: int) -> None:
    """Raise EngineError if the request changes the odds of an id outside `vocab`."""
    if unknown := [token for token in params.logit_bias if not 0 <= token < vocab]:
        raise EngineError(f"logit_bias names token {unknown[0]}; the vocabulary has {vocab}")


def chunks(prompt: list[int], start: int, size: int, cut: int) -> Iterator[list[int]]:
    """Split the tokens from `start` on into chunks of at most `size`, none of which crosses `cut`."""
    while start < len(prompt):
        end = min(start + size, len(prompt))
        if start < cut < end:
            end = cut
        yield prompt[start:end]
        start = end


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a backend has loaded, for `EngineInfo`."""

    model: str
    backend: str
    device: str
    dtype: str
    weight_bytes: int


class SequenceBackend(ABC, Generic[C, S]):
    """A `Backend` that runs one sequence at a time and keeps keys and values, also of other sequences, for later.

    C is the type of the cache. S is what a run of tokens leaves behind to choose the next token from, such as hidden
    states.
    """

    def __init__(self, config: ModelConfig, cache: C, chunk: int, loaded: Loaded) -> None:
        self.config = config
        self._cache = cache
        self._chunk = chunk
        self._loaded = loaded

    @abstractmethod
    def _run(self, ids: list[int], cancelled: Callable[[], bool]) -> S | None:
        """Run at most `chunk` tokens after the cached ones, and commit them.

        Polls `cancelled` first, and on the way if possible. Returns None if that said so: then none of `ids` counts.
        """

    @abstractmethod
    def _tokens(
        self, after: S, params: SamplingParams, limit: int, cancelled: Callable[[], bool], walk: Walk | None
    ) -> Iterator[Token]:
        """Choose up to `limit` tokens that follow `after`. Ends early when `cancelled`, polled for each, says so.

        A token is run and committed only when the next one is requested; by then `walk` has advanced over it.
        """

    @abstractmethod
    def _scored(self, after: S, following: Sequence[int], top: int) -> Iterator[ScoredPosition]:
        """Yield the score of every token of a run, computed lazily because it may take longer than the run itself.

        `following` are the ids after these tokens; at the end of the input there is one fewer.
        """

    def _computing(self) -> AbstractContextManager[object]:
        """Return the context in which the cache is used and chunks are run."""
        return nullcontext()

    def _settle(self) -> None:
        """Wait until the device is done, so that timings are right. Does nothing where runs are synchronous."""

    def info(self) -> EngineInfo:
        """Return what is loaded."""
        config, cache, loaded = self.config, self._cache, self._loaded
        lot = cache.parking
        return EngineInfo(
            model=loaded.model,
            backend=loaded.backend,
            device=loaded.device,
            dtype=loaded.dtype,
            num_layers=config.num_hidden_layers,
            num_experts=config.num_experts,
            vocab_size=config.vocab_size,
            context=cache.context,
            weight_bytes=loaded.weight_bytes,
            cached_tokens=cache.length,
            kept_prefixes=cache.kept,
            parked=len(lot.entries),
            parked_bytes=lot.nbytes() + lot.nbytes(on_host=True),
            parked_limit=lot.room + lot.host_room,
        )

    def park_up_to(self, nbytes: int, host_nbytes: int = 0) -> None:
        """See `Backend.park_up_to`."""
        with self._computing():
            self._cache.parking.limit(nbytes, host_nbytes)

    def generate(
        self, token_ids: Sequence[int], params: SamplingParams, cancelled: Callable[[], bool]
    ) -> Iterator[PrefillProgress | Token | Finished]:
        """See `Backend.generate`. Raises ContextOverflowError and EngineError immediately, before anything runs."""
        prompt = checked_prompt(token_ids, self.config.vocab_size, self._cache.context)
        check_bias(params, self.config.vocab_size)
        return self._generate(prompt, params, cancelled)

    def score(
        self, token_ids: Sequence[int], top: int, cancelled: Callable[[], bool] = never, start: int = 0
    ) -> Iterator[ScoredPosition]:
        """See `Backend.score`. Raises ContextOverflowError and EngineError immediately, before anything runs."""
        ids = checked_ids(token_ids, self.config.vocab_size, self._cache.context)
        if not 0 <= start < len(ids):
            raise EngineError(f"Scores cannot start at position {start} of {len(ids)}")
        return self._score(ids, top, cancelled, start)

    def close(self) -> None:
        """Free the memory of the weights and the cache. Idempotent; call nothing else afterwards."""
        vars(self).clear()

    def _score(self, ids: list[int], top: int, cancelled: Callable[[], bool], start: int) -> Iterator[ScoredPosition]:
        if cancelled():
            return
        cache = self._cache
        with self._computing():
            if start == 0:
                cache.put_aside()
            cached = cache.begin(ids[: start + 1])
        for chunk in chunks(ids, cached, self._chunk, start):
            with self._computing():
                after = self._run(chunk, cancelled)
            if after is None:
                return
            position, end = cache.length - len(chunk), cache.length
            if end <= start:
                continue  # only run again: an earlier call has already yielded these scores
            for scored in self._each(self._scored(after, ids[position + 1 : end + 1], top)):
                if cancelled():
                    with self._computing():
                        self._go_back(position)
                    return
                position += 1
                yield scored
        with self._computing():
            cache.rewind(0)

    def _each(self, scored: Iterator[ScoredPosition]) -> Iterator[ScoredPosition]:
        """Compute each score separately: one takes long enough that another request may need the engine in between."""
        while True:
            with self._computing():
                position = next(scored, None)
            if position is None:
                return
            yield position

    def _go_back(self, position: int) -> None:
        """Rewind the run committed last to `position`, with a mark there so that a later call need not run it again."""
        if position:
            self._cache.mark(position)
        self._cache.rewind(position)

    def _generate(
        self, prompt: list[int], params: SamplingParams, cancelled: Callable[[], bool]
    ) -> Iterator[PrefillProgress | Token | Finished]:
        started = time.perf_counter()
        cache = self._cache
        kept = min(params.keep_prefix, len(prompt))
        meter = Meter(len(prompt), started, cached=self._reuse(prompt, kept))
        after: S | None = None
        for chunk in chunks(prompt, meter.cached, self._chunk, kept):
            with self._computing():
                after = self._run(chunk, cancelled)
                if after is not None and cache.length == kept:
                    cache.keep(kept)
            if after is None:
                yield meter.finish("cancelled")
                return
            meter.prefilled += len(chunk)
            yield PrefillProgress(len(prompt), cache.length, meter.cached)
        assert after is not None  # the loop ran: at least one prompt token is never cached
        with self._computing():
            # The next prompts branch off here; they run the last token again to get its logits. Nothing branches off
            # inside an interrupted answer, and marks for its slices would push out the mark at its beginning.
            if not params.drawn:
                cache.mark(len(prompt) - 1, opens=len(prompt) > max(1, kept))
        self._settle()
        meter.prefilled_at = time.perf_counter()
        yield from self._answer(after, params, cancelled, meter)

    def _reuse(self, prompt: list[int], kept: int) -> int:
        """Turn the sequence into the longest known prefix of `prompt`, and return its length.

        If the first `kept` tokens are a kept prefix, it becomes the most recently used one.
        """
        cache = self._cache
        with self._computing():
            cached = cache.begin(prompt)  # leaves at least one token to run, to get logits
            if prefix_digest(prompt[:kept]) in cache.kept:
                cache.keep(kept)
        return cached

    def _answer(
        self, after: S, params: SamplingParams, cancelled: Callable[[], bool], meter: Meter
    ) -> Iterator[Token | Finished]:
        """Yield the tokens that follow `after`, until something ends the answer."""
        room = self._cache.context - meter.prompt
        limit = room if params.max_tokens is None else min(room, params.max_tokens)
        walk = new_walk(params)
        if walk and walk.paused:
            yield meter.finish("paused")
            return
        for token in self._tokens(after, params, limit, cancelled, walk):
            if walk:
                walk.advance(token.id)
            meter.generated += 1
            yield token
            if token.id in params.stop_token_ids:
                yield meter.finish("stop")
                return
            if walk and walk.paused:
                yield meter.finish("paused")
                return
            if meter.generated == limit:
                yield meter.finish("length" if limit == params.max_tokens else "context")
                return
        yield meter.finish("cancelled")
