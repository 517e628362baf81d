"""The torch model as a backend: load, chunked prefill with reuse of the cached prefix, decode, score."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from gptoss_tui.engine.backend import ReportProgress
from gptoss_tui.engine.checkpoint import open_checkpoint
from gptoss_tui.engine.generation import Meter, checked_ids, checked_prompt, chunks, score_rows
from gptoss_tui.engine.grammar.matcher import new_walk
from gptoss_tui.engine.prefix import common_prefix, prefix_digest
from gptoss_tui.engine.sampling import new_generator, sample
from gptoss_tui.engine.torch.kv_cache import KVCache
from gptoss_tui.engine.torch.model import Transformer
from gptoss_tui.engine.torch.weights import load_weights
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

PREFILL_CHUNK = 512
"""Tokens. Each chunk unpacks every expert it uses once, and a cancel waits for its end."""

SCORE_ROWS = 64
"""Positions whose logits are in memory at once while scoring: 51 MB in float32."""

DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}


def load_backend(spec: EngineSpec, report: ReportProgress) -> TorchBackend:
    """Load the checkpoint of `spec`. Raises CheckpointError, or EngineError for a context the model does not have."""
    if spec.threads is not None:
        torch.set_num_threads(spec.threads)
    report(LoadProgress("Reading the checkpoint's headers", 0.0))
    checkpoint = open_checkpoint(spec.checkpoint)
    config = checkpoint.config
    context = spec.context if spec.context is not None else config.max_context
    if not 1 < context <= config.max_context:
        raise EngineError(f"The context must be between 2 and {config.max_context} tokens, got {context}")
    loaded = 0

    def on_read(nbytes: int) -> None:
        nonlocal loaded
        loaded += nbytes
        report(LoadProgress("Loading weights", 0.99 * loaded / checkpoint.weight_bytes))

    with torch.inference_mode():
        weights = load_weights(checkpoint.read, config, DTYPES[spec.dtype], torch.device(spec.device), on_read)
    backend = TorchBackend(Transformer(config, weights, context), context, checkpoint.directory.name)
    report(LoadProgress("Ready", 1.0, done=True, info=backend.info()))
    return backend


class TorchBackend:
    """A `Backend`: one sequence at a time, whose keys and values stay for the next request.

    `chunk` is the number of tokens that prefill runs at once. `model` may be shared between backends.
    """

    def __init__(self, model: Transformer, context: int, name: str, chunk: int = PREFILL_CHUNK) -> None:
        self.model = model
        self._name = name
        self._chunk = chunk
        weights = model.weights
        self._cache = KVCache(model.config, context, chunk, weights.dtype, weights.device)

    def info(self) -> EngineInfo:
        """What is loaded. `kv_bytes_per_token` is what a further token adds; sliding layers have a fixed size."""
        config, weights = self.model.config, self.model.weights
        return EngineInfo(
            model=self._name,
            backend="torch",
            device=str(weights.device),
            dtype=str(weights.dtype).removeprefix("torch."),
            num_layers=config.num_hidden_layers,
            num_experts=config.num_experts,
            vocab_size=config.vocab_size,
            context=self._cache.context,
            weight_bytes=weights.nbytes,
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
        with torch.inference_mode():
            for start in range(0, len(ids), self._chunk):
                states = self._run(ids[start : start + self._chunk])
                for rows in torch.split(states, SCORE_ROWS):
                    following = ids[len(positions) + 1 : len(positions) + 1 + len(rows)]
                    positions += score_rows(self.model.logits(rows), following, top)
        self._cache.rewind(0)
        return positions

    def close(self) -> None:
        """Free the memory of the weights and the cache. Idempotent; nothing else may be called after it."""
        for name in ("model", "_cache"):
            if hasattr(self, name):
                delattr(self, name)

    def _generate(
        self, prompt: list[int], params: SamplingParams, cancelled: Callable[[], bool]
    ) -> Iterator[PrefillProgress | Token | Finished]:
        started = time.perf_counter()
        # At least one token has to run for there to be logits.
        self._cache.rewind(min(common_prefix(prompt, self._cache.tokens), len(prompt) - 1))
        cached = self._cache.restore(prompt)
        kept = min(params.keep_prefix, len(prompt))
        if prefix_digest(prompt[:kept]) in self._cache.kept:
            self._cache.keep(kept)
        meter = Meter(len(prompt), cached, started)
        states: Tensor | None = None
        for chunk in chunks(prompt, cached, self._chunk, kept):
            if cancelled():
                yield meter.finish("cancelled")
                return
            states = self._run(chunk)
            meter.prefilled += len(chunk)
            if self._cache.length == kept:
                self._cache.keep(kept)
            yield PrefillProgress(len(prompt), self._cache.length, cached)
        assert states is not None  # the loop ran: cached < len(prompt)
        # Here the next prompts branch off. The last token is run again by them, for its logits.
        self._cache.mark(len(prompt) - 1)
        meter.prefilled_at = time.perf_counter()
        yield from self._decode(states[-1:], params, cancelled, meter)

    def _decode(
        self, state: Tensor, params: SamplingParams, cancelled: Callable[[], bool], meter: Meter
    ) -> Iterator[Token | Finished]:
        """Sample from `state` [1, H] and go on until something ends it."""
        room = self._cache.context - meter.prompt
        limit = room if params.max_tokens is None else min(room, params.max_tokens)
        generator = new_generator(params.seed, state.device)
        walk = new_walk(params)
        if walk and walk.paused:
            yield meter.finish("paused")
            return
        while True:
            if cancelled():
                yield meter.finish("cancelled")
                return
            with torch.inference_mode():
                token = sample(self.model.logits(state)[0], params, generator, walk.state if walk else None)
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
            state = self._run([token.id])

    def _run(self, ids: list[int]) -> Tensor:
        """Run `ids` after what is cached and keep their keys and values: states [T, H]."""
        with torch.inference_mode():
            self._cache.reserve(len(ids))
            states = self.model.hidden(torch.tensor(ids, device=self.model.weights.device), self._cache)
            self._cache.commit(ids)
        return states
