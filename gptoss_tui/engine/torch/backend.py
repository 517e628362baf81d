"""The torch model as a backend: load, run, sample, score."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from gptoss_tui.engine.backend import ReportProgress
from gptoss_tui.engine.constraint import Walk
from gptoss_tui.engine.generation import Loaded, SequenceBackend, count_reads, never, open_model
from gptoss_tui.engine.torch.kv_cache import KVCache
from gptoss_tui.engine.torch.memory import PREFILL_CHUNK, SCORE_ROWS
from gptoss_tui.engine.torch.model import Transformer
from gptoss_tui.engine.torch.sampling import new_generator, sample, score_states, set_seed
from gptoss_tui.engine.torch.weights import load_weights
from gptoss_tui.engine.types import EngineSpec, LoadProgress, SamplingParams, ScoredPosition, Token

DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}


def load_backend(spec: EngineSpec, report: ReportProgress) -> TorchBackend:
    """Load the checkpoint of `spec`. Raises CheckpointError, or EngineError for an unsupported context."""
    if spec.threads is not None:
        torch.set_num_threads(spec.threads)
    checkpoint, context = open_model(spec, report)
    on_read = count_reads(report, checkpoint.weight_bytes, 0.99)
    with torch.inference_mode():
        device = torch.device(spec.device)
        weights = load_weights(checkpoint.read, checkpoint.config, DTYPES[spec.dtype], device, on_read)
    backend = TorchBackend(Transformer(checkpoint.config, weights, context), context, checkpoint.directory.name)
    report(LoadProgress("Ready", 1.0, done=True, info=backend.info()))
    return backend


class TorchBackend(SequenceBackend[KVCache, Tensor]):
    """A `Backend`. A run leaves the states [T, H] of its tokens.

    `chunk` is the number of prompt tokens that are run at once. `model` may be shared between backends.
    """

    def __init__(self, model: Transformer, context: int, name: str, chunk: int = PREFILL_CHUNK) -> None:
        self.model = model
        weights = model.weights
        super().__init__(
            model.config,
            KVCache(model.config, context, chunk, weights.dtype, weights.device),
            chunk,
            Loaded(name, "torch", str(weights.device), str(weights.dtype).removeprefix("torch."), weights.nbytes),
        )

    def _computing(self) -> AbstractContextManager[object]:
        return torch.inference_mode()

    def _run(self, ids: list[int], cancelled: Callable[[], bool]) -> Tensor | None:
        if cancelled():
            return None
        self._cache.reserve(len(ids))
        states = self.model.hidden(torch.tensor(ids, device=self.model.weights.device), self._cache)
        self._cache.commit(ids)
        return states

    def _tokens(
        self, after: Tensor, params: SamplingParams, limit: int, cancelled: Callable[[], bool], walk: Walk | None
    ) -> Iterator[Token]:
        generator = new_generator(params.seed, after.device)
        token: Token | None = None
        for count in range(limit):
            if cancelled():
                return  # the last token is not run: the next prompt runs it anyway, for its logits
            set_seed(generator, params, count)
            with torch.inference_mode():
                state = after[-1:] if token is None else self._run([token.id], never)
                assert state is not None
                token = sample(self.model.logits(state)[0], params, generator, walk.state if walk else None)
            yield token

    def _scored(self, after: Tensor, following: Sequence[int], top: int) -> Iterator[ScoredPosition]:
        return score_states(after, self.model.logits, following, top, SCORE_ROWS)
