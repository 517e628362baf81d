"""The CPU engine as a backend: load, chunked prefill with reuse of the cached prefix, decode, score. Without torch."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence

from gptoss_tui.engine.backend import ReportProgress
from gptoss_tui.engine.checkpoint import open_checkpoint
from gptoss_tui.engine.generation import Meter, checked_ids, checked_prompt, chunks
from gptoss_tui.engine.grammar.matcher import new_walk
from gptoss_tui.engine.native.kv_cache import KVCache
from gptoss_tui.engine.native.library import chosen_set, load_library
from gptoss_tui.engine.native.memory import PREFILL_CHUNK
from gptoss_tui.engine.native.model import Model
from gptoss_tui.engine.native.sampling import new_generator, score_row
from gptoss_tui.engine.native.weights import load_weights
from gptoss_tui.engine.prefix import common_prefix, prefix_digest
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
from gptoss_tui.errors import EngineError


def load_backend(spec: EngineSpec, report: ReportProgress) -> NativeBackend:
    """Load the checkpoint of `spec`.

    Raises CheckpointError, and EngineError when the kernels were not built or for a context the model does not have.
    """
    load_library()
    report(LoadProgress("Reading the checkpoint's headers", 0.0))
    checkpoint = open_checkpoint(spec.checkpoint)
    config = checkpoint.config
    context = spec.context if spec.context is not None else config.max_context
    if not 1 < context <= config.max_context:
        raise EngineError(f"The context must be between 2 and {config.max_context} tokens, got {context}")
    threads = spec.threads or default_threads()
    exact = spec.dtype == "float32" or spec.dense == "exact"
    weights = load_weights(
        checkpoint,
        "exact" if exact else "int8",
        threads,
        lambda fraction: report(LoadProgress("Preparing the weights for this processor", 0.99 * fraction)),
    )
    model = Model(
        config,
        weights,
        exact=exact,
        wide=spec.dtype == "float32",
        chunk=min(PREFILL_CHUNK, context),
        threads=threads,
        instruction_set=chosen_set(),
    )
    backend = NativeBackend(model, context, checkpoint.directory.name)
    report(LoadProgress("Ready", 1.0, done=True, info=backend.info()))
    return backend


def default_threads() -> int:
    """As many as this process may use processors."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class NativeBackend:
    """A `Backend`: one sequence at a time, whose keys and values stay for the next request."""

    def __init__(self, model: Model, context: int, name: str) -> None:
        self.model = model
        self._name = name
        self._cache = KVCache(model.config, context, model.chunk, wide=model.wide)

    def info(self) -> EngineInfo:
        """What is loaded. `kv_bytes_per_token` is what a further token adds; sliding layers have a fixed size."""
        config = self.model.config
        return EngineInfo(
            model=self._name,
            backend="native",
            device="cpu",
            dtype="float32" if self.model.wide else "bfloat16",
            num_layers=config.num_hidden_layers,
            num_experts=config.num_experts,
            vocab_size=config.vocab_size,
            context=self._cache.context,
            weight_bytes=self.model.weights.nbytes,
            kv_bytes_per_token=self._cache.bytes_per_token,
            cached_tokens=self._cache.length,
            kept_prefixes=self._cache.kept,
        )

    def generate(
        self, token_ids: Sequence[int], params: SamplingParams, cancelled: Callable[[], bool]
    ) -> Iterator[PrefillProgress | Token | Finished]:
        """See `Backend.generate`. Raises ContextOverflowError and EngineError at once, before anything runs."""
        prompt = checked_prompt(token_ids, self.model.config.vocab_size, self._cache.context)
        return self._generate(prompt, params, cancelled)

    def score(self, token_ids: Sequence[int], top: int) -> list[ScoredPosition]:
        """See `Backend.score`. Raises ContextOverflowError and EngineError before anything runs."""
        ids = checked_ids(token_ids, self.model.config.vocab_size, self._cache.context)
        self._cache.rewind(0)
        positions: list[ScoredPosition] = []
        for chunk in chunks(ids, 0, self.model.chunk, 0):
            self.model.run(self._cache, chunk)
            for index in range(len(chunk)):
                following = ids[len(positions) + 1] if len(positions) + 1 < len(ids) else None
                logits = self.model.all_logits(index)
                positions.append(score_row(logits, self.model.log_total(), following, top))
        self._cache.rewind(0)
        return positions

    def close(self) -> None:
        """Free the memory of the weights and the cache. Idempotent; nothing else may be called after it."""
        self.model.close()
        for name in ("model", "_cache"):
            if hasattr(self, name):
                delattr(self, name)

    def _generate(
        self, prompt: list[int], params: SamplingParams, cancelled: Callable[[], bool]
    ) -> Iterator[PrefillProgress | Token | Finished]:
        started = time.perf_counter()
        cache = self._cache
        # At least one token has to run for there to be logits.
        cache.rewind(min(common_prefix(prompt, cache.tokens), len(prompt) - 1))
        cached = cache.restore(prompt)
        kept = min(params.keep_prefix, len(prompt))
        if prefix_digest(prompt[:kept]) in cache.kept:
            cache.keep(kept)
        meter = Meter(len(prompt), cached, started)
        last = 0
        for chunk in chunks(prompt, cached, self.model.chunk, kept):
            if not self.model.run(cache, chunk, cancelled):
                yield meter.finish("cancelled")
                return
            last = len(chunk) - 1
            meter.prefilled += len(chunk)
            if cache.length == kept:
                cache.keep(kept)
            yield PrefillProgress(len(prompt), cache.length, cached)
        # Here the next prompts branch off. The last token is run again by them, for its logits.
        cache.mark(len(prompt) - 1)
        meter.prefilled_at = time.perf_counter()
        yield from self._decode(last, params, cancelled, meter)

    def _decode(
        self, last: int, params: SamplingParams, cancelled: Callable[[], bool], meter: Meter
    ) -> Iterator[Token | Finished]:
        """Sample after token `last` of the chunk run last, and go on until something ends it."""
        model, cache = self.model, self._cache
        room = cache.context - meter.prompt
        limit = room if params.max_tokens is None else min(room, params.max_tokens)
        generator = new_generator(params.seed)
        walk = new_walk(params)
        if walk and walk.paused:
            yield meter.finish("paused")
            return
        while True:
            if cancelled():
                yield meter.finish("cancelled")
                return
            logits = model.logits(last)
            token = model.sampler.sample(model.handle, logits, params, generator, walk.state if walk else None)
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
            model.run(cache, [token.id])
            last = 0
