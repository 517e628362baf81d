"""The torch model as a backend: load, chunked prefill with reuse of the cached prefix, decode, score."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gptoss_tui.engine.backend import ReportProgress
from gptoss_tui.engine.checkpoint import open_checkpoint
from gptoss_tui.engine.prefix import common_prefix, prefix_digest
from gptoss_tui.engine.sampling import new_generator, sample, top_alternatives
from gptoss_tui.engine.torch.kv_cache import KVCache
from gptoss_tui.engine.torch.model import Transformer
from gptoss_tui.engine.torch.weights import load_weights
from gptoss_tui.engine.types import (
    EngineInfo,
    EngineSpec,
    Finished,
    FinishReason,
    LoadProgress,
    PrefillProgress,
    SamplingParams,
    ScoredPosition,
    Token,
    Usage,
)
from gptoss_tui.errors import ContextOverflowError, EngineError

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
        prompt = self._checked(token_ids)
        if len(prompt) >= self._cache.context:
            raise ContextOverflowError(
                f"The prompt of {len(prompt)} tokens leaves no room in the context of {self._cache.context}",
                hint="start a new conversation, or load the model with a larger context",
            )
        return self._generate(prompt, params, cancelled)

    def score(self, token_ids: Sequence[int], top: int) -> list[ScoredPosition]:
        """See `Backend.score`. Raises ContextOverflowError and EngineError before anything runs."""
        ids = self._checked(token_ids)
        if len(ids) > self._cache.context:
            raise ContextOverflowError(f"{len(ids)} tokens do not fit the context of {self._cache.context}")
        self._cache.rewind(0)
        positions: list[ScoredPosition] = []
        with torch.inference_mode():
            for start in range(0, len(ids), self._chunk):
                states = self._run(ids[start : start + self._chunk])
                for rows in torch.split(states, SCORE_ROWS):
                    following = ids[len(positions) + 1 : len(positions) + 1 + len(rows)]
                    positions += _score_rows(self.model.logits(rows), following, top)
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
        meter = _Meter(len(prompt), cached, started)
        states: Tensor | None = None
        for chunk in _chunks(prompt, cached, self._chunk, kept):
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
        self, state: Tensor, params: SamplingParams, cancelled: Callable[[], bool], meter: _Meter
    ) -> Iterator[Token | Finished]:
        """Sample from `state` [1, H] and go on until something ends it."""
        room = self._cache.context - meter.prompt
        limit = room if params.max_tokens is None else min(room, params.max_tokens)
        generator = new_generator(params.seed, state.device)
        while True:
            if cancelled():
                yield meter.finish("cancelled")
                return
            with torch.inference_mode():
                token = sample(self.model.logits(state)[0], params, generator)
            meter.generated += 1
            yield token
            if token.id in params.stop_token_ids:
                yield meter.finish("stop")
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

    def _checked(self, token_ids: Sequence[int]) -> list[int]:
        ids = list(token_ids)
        if not ids:
            raise EngineError("There must be at least one token to continue")
        vocab = self.model.config.vocab_size
        if not 0 <= min(ids) <= max(ids) < vocab:
            wrong = next(token for token in ids if not 0 <= token < vocab)
            raise EngineError(f"Token id {wrong} is outside the vocabulary of {vocab}")
        return ids


def _chunks(prompt: list[int], start: int, size: int, cut: int) -> Iterator[list[int]]:
    """The tokens from `start` on, at most `size` at once, none of them across `cut`."""
    while start < len(prompt):
        end = min(start + size, len(prompt))
        if start < cut < end:
            end = cut
        yield prompt[start:end]
        start = end


@dataclass(slots=True)
class _Meter:
    """What one generation cost so far. Times are of `time.perf_counter`."""

    prompt: int
    cached: int
    started: float
    prefilled: int = 0
    prefilled_at: float | None = None
    generated: int = 0

    def finish(self, reason: FinishReason) -> Finished:
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


def _score_rows(logits: Tensor, following: Sequence[int], top: int) -> list[ScoredPosition]:
    """Scored positions of logits [P, V]; `following` are the ids after them, one fewer at the end of the input."""
    logprobs = torch.log_softmax(logits, dim=-1)
    scored = []
    for row, logprob in enumerate(logprobs):
        after = following[row] if row < len(following) else None
        value = None if after is None else float(logprob[after])
        scored.append(ScoredPosition(after, value, top_alternatives(logprob, top)))
    return scored
