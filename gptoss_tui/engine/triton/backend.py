"""The Triton engine as a backend: load, chunked prefill with reuse of the cached prefix, decode by graphs, score."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from gptoss_tui.engine.backend import ReportProgress
from gptoss_tui.engine.checkpoint import open_checkpoint
from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.constraint import Walk
from gptoss_tui.engine.generation import Meter, checked_ids, checked_prompt, chunks, score_rows
from gptoss_tui.engine.grammar.matcher import new_walk
from gptoss_tui.engine.prefix import common_prefix, prefix_digest
from gptoss_tui.engine.sampling import new_generator, sample
from gptoss_tui.engine.triton.decode import Decoder
from gptoss_tui.engine.triton.kv_cache import KVCache
from gptoss_tui.engine.triton.memory import PREFILL_CHUNK, SCORE_ROWS
from gptoss_tui.engine.triton.prefill import Prefill
from gptoss_tui.engine.triton.selftest import check_device
from gptoss_tui.engine.triton.steps import Steps
from gptoss_tui.engine.triton.weights import ModelWeights, load_weights
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

DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}


def load_backend(spec: EngineSpec, report: ReportProgress) -> TritonBackend:
    """Load the checkpoint of `spec` on its CUDA device.

    Raises CheckpointError, and EngineError when there is no such device, when it computes something wrong, or for a
    context that the model does not have.
    """
    device = _device(spec.device)
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
        report(LoadProgress("Loading weights", 0.9 * loaded / checkpoint.weight_bytes))

    with torch.inference_mode():
        weights = load_weights(checkpoint.read, config, DTYPES[spec.dtype], device, on_read)
        backend = TritonBackend(config, weights, context, checkpoint.directory.name, drafts=spec.drafts)
    report(LoadProgress("Comparing the kernels with the reference", 0.9))
    backend.check()
    report(LoadProgress("Ready", 1.0, done=True, info=backend.info()))
    return backend


def _device(name: str) -> torch.device:
    """The CUDA device of that name; the CPU only where Triton interprets its kernels, as tests do."""
    if os.environ.get("TRITON_INTERPRET") == "1":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise EngineError(
            "The Triton engine needs an NVIDIA GPU, and torch sees none",
            hint="`--backend torch` runs on the CPU; `gptoss-tui doctor` says what torch sees",
        )
    return torch.device(name if name.startswith("cuda") else "cuda")


class TritonBackend:
    """A `Backend`: one sequence at a time, whose keys and values stay for the next request."""

    def __init__(
        self,
        config: ModelConfig,
        weights: ModelWeights,
        context: int,
        name: str,
        *,
        chunk: int = PREFILL_CHUNK,
        drafts: bool = False,
    ) -> None:
        self.config, self.weights = config, weights
        self._name = name
        self._chunk = min(chunk, context)
        self._cache = KVCache(config, context, self._chunk, weights.dtype, weights.device)
        self._decoder = Decoder(config, weights, self._cache)
        self._prefill = Prefill(self._decoder)
        self._steps = Steps(self._decoder, drafts=drafts)

    def check(self) -> None:
        """Compare a layer of each kind with the reference. Raises EngineError when the device computes wrong."""
        with torch.inference_mode():
            check_device(self._decoder, self._prefill)

    def info(self) -> EngineInfo:
        """What is loaded. `kv_bytes_per_token` is what a further token adds; sliding layers have a fixed size."""
        device = self.weights.device
        return EngineInfo(
            model=self._name,
            backend="triton",
            device=torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
            dtype=str(self.weights.dtype).removeprefix("torch."),
            num_layers=self.config.num_hidden_layers,
            num_experts=self.config.num_experts,
            vocab_size=self.config.vocab_size,
            context=self._cache.context,
            weight_bytes=self.weights.nbytes,
            kv_bytes_per_token=self._cache.bytes_per_token,
            cached_tokens=self._cache.length,
            kept_prefixes=self._cache.kept,
        )

    def generate(
        self, token_ids: Sequence[int], params: SamplingParams, cancelled: Callable[[], bool]
    ) -> Iterator[PrefillProgress | Token | Finished]:
        """See `Backend.generate`. Raises ContextOverflowError and EngineError at once, before anything runs."""
        prompt = checked_prompt(token_ids, self.config.vocab_size, self._cache.context)
        return self._generate(prompt, params, cancelled)

    def score(self, token_ids: Sequence[int], top: int) -> list[ScoredPosition]:
        """See `Backend.score`. Raises ContextOverflowError and EngineError before anything runs."""
        ids = checked_ids(token_ids, self.config.vocab_size, self._cache.context)
        self._cache.rewind(0)
        positions: list[ScoredPosition] = []
        with torch.inference_mode():
            for chunk in chunks(ids, 0, self._chunk, 0):
                for rows in torch.split(self._run(chunk), SCORE_ROWS):
                    following = ids[len(positions) + 1 : len(positions) + 1 + len(rows)]
                    positions += score_rows(self._logits(rows), following, top)
        self._cache.rewind(0)
        return positions

    def close(self) -> None:
        """Free the memory of the weights and the cache. Idempotent; nothing else may be called after it."""
        for name in ("weights", "_cache", "_decoder", "_prefill", "_steps"):
            if hasattr(self, name):
                delattr(self, name)

    def _generate(
        self, prompt: list[int], params: SamplingParams, cancelled: Callable[[], bool]
    ) -> Iterator[PrefillProgress | Token | Finished]:
        started = time.perf_counter()
        cache = self._cache
        with torch.inference_mode():
            # At least one token has to run for there to be logits.
            cache.rewind(min(common_prefix(prompt, cache.tokens), len(prompt) - 1))
            cached = cache.restore(prompt)
            kept = min(params.keep_prefix, len(prompt))
            if prefix_digest(prompt[:kept]) in cache.kept:
                cache.keep(kept)
        meter = Meter(len(prompt), cached, started)
        state: Tensor | None = None
        for chunk in chunks(prompt, cached, self._chunk, kept):
            if cancelled():
                yield meter.finish("cancelled")
                return
            with torch.inference_mode():
                state = self._run(chunk)[-1]
                if cache.length == kept:
                    cache.keep(kept)
            meter.prefilled += len(chunk)
            yield PrefillProgress(len(prompt), cache.length, cached)
        assert state is not None  # the loop ran: cached < len(prompt)
        with torch.inference_mode():
            # Here the next prompts branch off. The last token is run again by them, for its logits.
            cache.mark(len(prompt) - 1)
        meter.prefilled_at = time.perf_counter()
        yield from self._decode(state, params, cancelled, meter)

    def _decode(
        self, state: Tensor, params: SamplingParams, cancelled: Callable[[], bool], meter: Meter
    ) -> Iterator[Token | Finished]:
        """Sample from the residual `state` [H] of the last token and go on until something ends it."""
        room = self._cache.context - meter.prompt
        limit = room if params.max_tokens is None else min(room, params.max_tokens)
        walk = new_walk(params)
        if walk and walk.paused:
            yield meter.finish("paused")
            return
        for token in self._tokens(state, params, limit, cancelled, walk):
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
        else:
            yield meter.finish("cancelled")

    def _tokens(
        self, state: Tensor, params: SamplingParams, limit: int, cancelled: Callable[[], bool], walk: Walk | None
    ) -> Iterator[Token]:
        """Up to `limit` tokens; ends early when cancelled. Each is committed when the next one is asked for."""
        previous: Token | None = None
        for token in self._chosen(state, params, limit, cancelled, walk):
            if previous is not None:
                with torch.inference_mode():
                    self._cache.commit([previous.id])
            if walk:
                walk.advance(token.id)
            yield token
            previous = token

    def _chosen(
        self, state: Tensor, params: SamplingParams, limit: int, cancelled: Callable[[], bool], walk: Walk | None
    ) -> Iterator[Token]:
        """The device chooses alone where it can, and the host from where a grammar begins."""
        count = 0
        last: Token | None = None
        if self._steps.can_draw(params) and not (walk and walk.grammar):
            for last in self._steps.drawn(state, params, limit, cancelled):
                yield last
                count += 1
                if walk and walk.grammar:
                    break
            else:
                return
        yield from self._sampled(state, last, params, limit - count, cancelled, walk)

    def _sampled(
        self,
        state: Tensor,
        token: Token | None,
        params: SamplingParams,
        limit: int,
        cancelled: Callable[[], bool],
        walk: Walk | None,
    ) -> Iterator[Token]:
        """Tokens that filters, alternatives or a grammar make the host look at, one by one.

        They come after `token`, which is not committed yet, or without one after the residual `state`.
        """
        generator = new_generator(params.seed, self.weights.device)
        length = self._cache.length - (token is None)
        for position in range(length, length + limit):
            if cancelled():
                return
            with torch.inference_mode():
                logits = self._steps.first_logits(state) if token is None else self._steps.logits_of(token, position)
                token = sample(logits, params, generator, walk.state if walk else None)
            yield token

    def _run(self, ids: list[int]) -> Tensor:
        """Run `ids` after what is cached and keep their keys and values: residual states [T, H]."""
        self._cache.reserve(len(ids))
        self._decoder.state.position.fill_(self._cache.length)
        states = self._prefill.run(torch.tensor(ids, device=self.weights.device))
        self._cache.commit(ids)
        return states

    def _logits(self, states: Tensor) -> Tensor:
        """float32 [P, V] of residual states [P, H]."""
        normed = self._prefill.norm(states, self.weights.norm)
        return F.linear(normed, self.weights.unembedding).float()
