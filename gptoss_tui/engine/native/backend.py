"""The CPU engine's backend: loads, runs, samples and scores, without torch."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

from gptoss_tui.engine.backend import ReportProgress
from gptoss_tui.engine.constraint import Walk
from gptoss_tui.engine.generation import Loaded, SequenceBackend, open_model
from gptoss_tui.engine.native.kv_cache import KVCache
from gptoss_tui.engine.native.library import chosen_set, load_library
from gptoss_tui.engine.native.memory import PREFILL_CHUNK
from gptoss_tui.engine.native.model import Model
from gptoss_tui.engine.native.sampling import bias_of, score_row, set_seed
from gptoss_tui.engine.native.weights import load_weights
from gptoss_tui.engine.planning.machine import usable_processors
from gptoss_tui.engine.types import EngineSpec, LoadProgress, SamplingParams, ScoredPosition, Token


def load_backend(spec: EngineSpec, report: ReportProgress) -> NativeBackend:
    """Load the checkpoint of `spec`.

    Raises CheckpointError, and EngineError if the kernels were not built or the model does not have such a context.
    """
    load_library()
    checkpoint, context = open_model(spec, report)
    threads = spec.threads or usable_processors()
    exact = spec.dtype == "float32" or spec.dense == "exact"
    weights = load_weights(
        checkpoint,
        "exact" if exact else "int8",
        threads,
        lambda fraction: report(LoadProgress("Preparing the weights for this processor", 0.99 * fraction)),
    )
    if weights.not_kept:
        report(LoadProgress(f"The prepared weights are not kept for the next start: {weights.not_kept}", 0.99))
    model = Model(
        checkpoint.config,
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


class NativeBackend(SequenceBackend[KVCache, int]):
    """A `Backend` on the CPU kernels. The model keeps the results of the last run; `_run` returns its token count."""

    def __init__(self, model: Model, context: int, name: str) -> None:
        self.model = model
        cache = KVCache(model.config, context, model.chunk, wide=model.wide)
        dtype = "float32" if model.wide else "bfloat16"
        super().__init__(model.config, cache, model.chunk, Loaded(name, "native", "cpu", dtype, model.weights.nbytes))

    def close(self) -> None:
        """Stop the threads, and free the memory of the weights and the cache. Idempotent."""
        if "model" in vars(self):
            self.model.close()
        super().close()

    def _run(self, ids: list[int], cancelled: Callable[[], bool]) -> int | None:
        return len(ids) if self.model.run(self._cache, ids, cancelled) else None

    def _tokens(
        self, after: int, params: SamplingParams, limit: int, cancelled: Callable[[], bool], walk: Walk | None
    ) -> Iterator[Token]:
        model, generator = self.model, random.Random()
        bias = bias_of(params)
        token: Token | None = None
        for count in range(limit):
            if cancelled():
                return  # the last token is not run: whoever continues after it has to run it for its logits anyway
            if token is not None:
                model.run(self._cache, [token.id])
                after = 1
            set_seed(generator, params, count)
            state = walk.state if walk else None
            token = model.sampler.sample(model.handle, after - 1, params, generator, state, bias)
            yield token

    def _scored(self, tokens: int, following: Sequence[int], top: int) -> Iterator[ScoredPosition]:
        for index in range(tokens):
            logits = self.model.all_logits(index)
            then = following[index] if index < len(following) else None
            yield score_row(logits, self.model.log_total(), then, top)
