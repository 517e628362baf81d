"""A model in the native library: created from packed weights, run by tokens or chunks, and queried for logits."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence

from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.failures import out_of_memory
from gptoss_tui.engine.native.kv_cache import KVCache
from gptoss_tui.engine.native.library import INSTRUCTION_SETS, OUTSIDE, Cancelled, Config, Top, load_library
from gptoss_tui.engine.native.sampling import Logits, Sampler, read_logits
from gptoss_tui.engine.native.weights import Weights
from gptoss_tui.engine.rope import rope_frequencies
from gptoss_tui.errors import EngineError


class Model:
    """A loaded model with the threads that run it. Not thread-safe; `close` frees it."""

    def __init__(
        self,
        config: ModelConfig,
        weights: Weights,
        *,
        exact: bool,
        wide: bool,
        chunk: int,
        threads: int,
        instruction_set: str,
    ) -> None:
        self.config, self.weights, self.wide, self.chunk = config, weights, wide, chunk
        self.sampler = Sampler(weights.rows)
        self._frequency, concentration = rope_frequencies(config)
        # The library keeps these addresses: the memory behind them must live as long as the model.
        top = Top(
            weights.shared.address("embedding"),
            weights.shared.address("norm"),
            self._frequency.ctypes.data,
            concentration,
            weights.unembedding,
            weights.coarse,
            weights.doubt,
            self.sampler.counts.ctypes.data,
            self.sampler.used.ctypes.data,
        )
        described = _described(config)
        described.exact, described.wide, described.chunk = exact, wide, chunk
        described.threads, described.pin = threads, threads > 1
        described.isa = INSTRUCTION_SETS.index(instruction_set)
        self._library = load_library()
        self.handle = self._library.gt_new(ctypes.byref(described), ctypes.byref(top), weights.layers)
        if not self.handle:
            hint = "there may be too little memory for it, or too many `--threads`"
            raise EngineError("The CPU kernels cannot run this model", hint=hint)

    def share_steps(self) -> None:
        """Let all threads share the steps, even if the model is so small that a single thread would run them."""
        self._library.gt_share_steps(self.handle)

    def kernels(self) -> tuple[str, str]:
        """Names of the kernels used for decode and for prefill."""
        names = (self._library.gt_kernels(self.handle, prefill) for prefill in (0, 1))
        decode, prefill = (name.decode() for name in names)
        return decode, prefill

    def run(self, cache: KVCache, ids: Sequence[int], cancelled: Callable[[], bool] | None = None) -> bool:
        """Run `ids`, at most `chunk` of them, after the cached tokens, and add their keys and values to the cache.

        Returns False if `cancelled` returned true between two layers; the run then has no effect. Raises ValueError for
        tokens that the model does not have or that do not fit into the cache, and EngineError when memory runs out.
        """
        cache.reserve(len(ids))
        tokens = (ctypes.c_int32 * len(ids))(*ids)
        asked = Cancelled() if cancelled is None else Cancelled(cancelled)
        result = self._library.gt_run(self.handle, ctypes.byref(cache.memory), tokens, len(ids), cache.length, asked)
        if result == OUTSIDE:
            raise ValueError(f"{len(ids)} tokens cannot run at {cache.length} of {cache.context}, {self.chunk} at once")
        if result < 0:
            raise out_of_memory()
        if result == 0:
            cache.commit(ids)
        return bool(result == 0)

    def logits(self, index: int = 0) -> Logits:
        """Logits of the unembedding's distinct rows for token `index` of the last run, valid until the next call."""
        return read_logits(self.handle, index, self.weights.unembedding.rows)

    def all_logits(self, index: int = 0) -> Logits:
        """Logits of all ids for token `index` of the last run."""
        return self.logits(index)[self.sampler.rows]

    def log_total(self) -> float:
        """The log-sum-exp of the last logits over all ids."""
        return float(self._library.gt_log_total(self.handle))

    def close(self) -> None:
        """Stop the threads and free the memory. Idempotent."""
        if self.handle:
            self._library.gt_free(self.handle)
            self.handle = None


def _described(config: ModelConfig) -> Config:
    """The shape of the model for the library, without how it is to be run."""
    return Config(
        layers=config.num_hidden_layers,
        experts=config.num_experts,
        experts_per_token=config.experts_per_token,
        vocabulary=config.vocab_size,
        hidden=config.hidden_size,
        intermediate=config.intermediate_size,
        head_dim=config.head_dim,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        window=config.sliding_window,
        swiglu_limit=config.swiglu_limit,
    )
