"""The Triton engine's backend: loads the model, runs chunks, decodes by graphs, and scores."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

import torch
from torch import Tensor

from gptoss_tui.engine.backend import ReportProgress
from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.constraint import Walk
from gptoss_tui.engine.generation import Loaded, SequenceBackend, count_reads, open_model
from gptoss_tui.engine.torch.sampling import new_generator, sample, score_states, set_seed
from gptoss_tui.engine.triton.captured import CapturedChunks
from gptoss_tui.engine.triton.decode import MAX_TOKENS, Decoder
from gptoss_tui.engine.triton.dense import EightBit, linear
from gptoss_tui.engine.triton.kv_cache import KVCache
from gptoss_tui.engine.triton.memory import PREFILL_CHUNK, SCORE_ROWS, prefill_chunk
from gptoss_tui.engine.triton.prefill import Prefill
from gptoss_tui.engine.triton.selftest import TOGETHER, check_device, same_bits
from gptoss_tui.engine.triton.steps import Steps
from gptoss_tui.engine.triton.weights import ModelWeights, load_weights
from gptoss_tui.engine.types import EngineSpec, LoadProgress, SamplingParams, ScoredPosition, Token
from gptoss_tui.errors import EngineError

WARM_UP = (1, 100, 300, 1500)
"""Prompt lengths for which the prefill kernels use different sizes (see `group_sizes` in prefill.py)."""

LONGEST_CHUNK = 0.5
"""Seconds that a cancel may have to wait: if a large chunk takes longer, prompts are run in smaller ones."""

DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}


def load_backend(spec: EngineSpec, report: ReportProgress) -> TritonBackend:
    """Load the checkpoint of `spec` on its CUDA device.

    Raises CheckpointError, WrongResultsError if the device computes wrong results, and EngineError if there is no such
    device, if the model does not have such a context, or for 8-bit dense layers in a dtype other than bfloat16.
    """
    device = _device(spec.device)
    if spec.dtype != "bfloat16" and spec.dense == "int8":
        raise EngineError("`--dense int8` needs `--dtype bfloat16`", hint="set both, or neither")
    checkpoint, context = open_model(spec, report)
    on_read = count_reads(report, checkpoint.weight_bytes, 0.9)
    with torch.inference_mode():
        weights = load_weights(
            checkpoint.read, checkpoint.config, DTYPES[spec.dtype], device, on_read, eight_bit=spec.dense == "int8"
        )
        backend = TritonBackend(
            checkpoint.config,
            weights,
            context,
            checkpoint.directory.name,
            chunk=prefill_chunk(checkpoint.config, context, spec.dtype, _spare_bytes(device, spec.parked_bytes or 0)),
            drafts=spec.drafts,
        )
    report(LoadProgress("Comparing the kernels with the reference", 0.9))
    if backend.check():
        report(LoadProgress("Without drafts: steps of several tokens differ from single ones here", 0.9))
    report(LoadProgress("Warming up", 0.95))
    if not backend.warm_up():
        report(LoadProgress("Short prompts take longer: they could not be captured here", 0.95))
    report(LoadProgress("Ready", 1.0, done=True, info=backend.info()))
    return backend


def _spare_bytes(device: torch.device, parked: int) -> int:
    """Bytes that the device has left after setting aside `parked` for waiting conversations."""
    if device.type != "cuda":
        return 0
    torch.cuda.empty_cache()  # torch does not give back by itself what repacking took
    return torch.cuda.mem_get_info(device)[0] - parked


def _device(name: str) -> torch.device:
    """The CUDA device called `name`; the CPU only where Triton interprets its kernels, as in tests."""
    if os.environ.get("TRITON_INTERPRET") == "1":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise EngineError(
            "The Triton engine needs an NVIDIA GPU, and torch sees none",
            hint="`--backend torch` runs on the CPU; `gptoss-tui doctor` says what torch sees",
        )
    return torch.device(name if name.startswith("cuda") else "cuda")


class TritonBackend(SequenceBackend[KVCache, Tensor]):
    """A `Backend` on Triton kernels. A run returns the residual states [T, H] of its tokens."""

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
        device, chunk = weights.device, min(chunk, context)
        card = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
        dtype = str(weights.dtype).removeprefix("torch.")
        dtype += ", dense int8" if isinstance(weights.unembedding, EightBit) else ""
        super().__init__(
            config,
            KVCache(config, context, chunk, weights.dtype, device),
            chunk,
            Loaded(name, "triton", card, dtype, weights.nbytes),
        )
        self.weights = weights
        self._decoder = Decoder(config, weights, self._cache)
        self._prefill = Prefill(self._decoder)
        self._chunks = CapturedChunks(self._prefill)
        self._steps = Steps(self._decoder, drafts=drafts and context > MAX_TOKENS)

    def check(self) -> bool:
        """Compare a layer of each kind with the reference. Raises WrongResultsError if the device is wrong.

        Returns whether drafts were turned off, because they would change the generated text on this device.
        """
        drafts = self._steps.drafts
        with torch.inference_mode():
            check_device(self._decoder, self._prefill, TOGETHER if drafts else 1)
            self._steps.drafts = drafts and same_bits(self._decoder)
        return drafts and not self._steps.drafts

    def warm_up(self) -> bool:
        """Run prompts of each kind and capture steps and short chunks, so that the first request need not compile.

        Returns False if short chunks could not be captured.
        """
        if self.weights.device.type != "cuda":
            return True
        with torch.inference_mode():
            self._cache.clear()
            self._cache.reserve(self._chunk)
            for length in (*WARM_UP, self._chunk):
                self._decoder.state.position.zero_()
                ids = torch.zeros(min(length, self._chunk), dtype=torch.int64, device=self.weights.device)
                self._logits(self._prefill.run(ids)[-1:])
            self._settle()
            started = time.perf_counter()
            self._prefill.run(ids)
            self._settle()
            if time.perf_counter() - started > LONGEST_CHUNK:
                self._chunk = min(self._chunk, PREFILL_CHUNK)
            self._steps.capture_all()
            self._decoder.state.position.zero_()
            captured = self._chunks.capture(self._chunk)
            self._cache.clear()
        return captured

    def _computing(self) -> AbstractContextManager[object]:
        return torch.inference_mode()

    def _settle(self) -> None:
        if self.weights.device.type == "cuda":
            torch.cuda.synchronize(self.weights.device)

    def _run(self, ids: list[int], cancelled: Callable[[], bool]) -> Tensor | None:
        if cancelled():
            return None
        self._cache.reserve(self._chunks.room(len(ids)))
        self._decoder.state.position.fill_(self._cache.length)
        states = self._chunks.run(torch.tensor(ids, device=self.weights.device))
        self._cache.commit(ids)
        return states

    def _tokens(
        self, after: Tensor, params: SamplingParams, limit: int, cancelled: Callable[[], bool], walk: Walk | None
    ) -> Iterator[Token]:
        previous: Token | None = None
        for token in self._chosen(after[-1], params, limit, cancelled, walk):
            if previous is not None:
                with torch.inference_mode():
                    self._cache.commit([previous.id])
            yield token
            previous = token

    def _chosen(
        self, state: Tensor, params: SamplingParams, limit: int, cancelled: Callable[[], bool], walk: Walk | None
    ) -> Iterator[Token]:
        """Let the device choose tokens where it can, and the host from the point where a grammar begins."""
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
        rest = replace(params, drawn=params.drawn + count)
        yield from self._sampled(state, last, rest, limit - count, cancelled, walk)

    def _sampled(
        self,
        state: Tensor,
        token: Token | None,
        params: SamplingParams,
        limit: int,
        cancelled: Callable[[], bool],
        walk: Walk | None,
    ) -> Iterator[Token]:
        """Let the host choose tokens one by one, as filters, alternatives or a grammar require.

        They follow `token`, which is not committed yet, or, if it is None, the residual `state`.
        """
        generator = new_generator(params.seed, self.weights.device)
        length = self._cache.length - (token is None)
        for position in range(length, length + limit):
            if cancelled():
                return
            set_seed(generator, params, position - length)
            with torch.inference_mode():
                logits = self._steps.first_logits(state) if token is None else self._steps.logits_of(token, position)
                token = sample(logits, params, generator, walk.state if walk else None)
            yield token

    def _scored(self, after: Tensor, following: Sequence[int], top: int) -> Iterator[ScoredPosition]:
        return score_states(after, self._logits, following, top, SCORE_ROWS)

    def _logits(self, states: Tensor) -> Tensor:
        """Logits float32 [P, V] of residual states [P, H]."""
        normed = self._prefill.norm(states, self.weights.norm)
        return linear(normed, self.weights.unembedding).float()
