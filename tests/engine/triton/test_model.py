"""Logits of the kernels against the torch engine, in float32: prefill, decode, and one after the other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gptoss_tui.engine.triton import captured
from gptoss_tui.engine.triton.captured import CapturedChunks
from gptoss_tui.engine.triton.decode import Decoder
from gptoss_tui.engine.triton.kv_cache import KVCache
from gptoss_tui.engine.triton.prefill import Prefill, sorted_choices
from tests.conformance.runs import float32_model, run_chunks
from tests.engine.triton.conftest import BLOCKS, DEVICE, SHAPES, triton_weights

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the interpreter is numpy: exp(-inf - -inf) and such

TOLERANCE = 1e-4
LENGTH, PROMPT = 14, 12
"""Tokens, and those of them that come at once; both go over the windows."""


class Machine:
    """A model in the kernels' hands. Memory that nothing wrote is NaN: reading it would show."""

    def __init__(self, directory: Path, context: int = 64) -> None:
        self.config, self.weights = triton_weights(directory)
        self.cache = KVCache(self.config, context, PROMPT, torch.float32, DEVICE)
        for buffer in (self.cache._sliding, *self.cache._full):
            buffer.fill_(torch.nan)
        self.decoder = Decoder(self.config, self.weights, self.cache, BLOCKS)
        self.prefill: Prefill | CapturedChunks = Prefill(self.decoder)

    def logits(self, residual: Tensor) -> Tensor:
        self.decoder.state.x.copy_(residual)
        self.decoder.scale(len(self.weights.layers))
        self.decoder.logits()
        return self.decoder.state.logits.cpu().clone()

    def run(self, ids: list[int]) -> list[Tensor]:
        """Logits after each of `ids`, which come at once."""
        self.cache.reserve(self.prefill.room(len(ids)) if isinstance(self.prefill, CapturedChunks) else len(ids))
        self.decoder.state.position.fill_(self.cache.length)
        states = self.prefill.run(torch.tensor(ids, device=DEVICE))
        self.cache.commit(ids)
        return [self.logits(state) for state in states]

    def step(self, token: int, splits: int) -> Tensor:
        """Logits after one token."""
        state = self.decoder.state
        self.cache.reserve(1)
        state.position.fill_(self.cache.length)
        state.x.copy_(self.weights.embedding[token])
        self.decoder.layers(splits)
        self.cache.commit([token])
        return self.logits(state.x)

    def verify(self, ids: list[int], splits: int, real: int) -> list[Tensor]:
        """Logits after each of the first `real` of `ids`, which go through a decode step together."""
        state = self.decoder.state
        self.cache.reserve(len(ids))
        state.position.fill_(self.cache.length)
        state.xs[: len(ids)].copy_(self.weights.embedding[torch.tensor(ids, device=DEVICE)])
        state.count.fill_(real)
        self.decoder.layers(splits, len(ids))
        self.decoder.logits(len(ids))
        self.cache.commit(ids[:real])
        return list(state.all_logits[:real].cpu().clone())


def random_ids(shape: str) -> list[int]:
    """Random tokens of a shape's vocabulary."""
    generator = torch.Generator().manual_seed(7)
    return torch.randint(SHAPES[shape].vocab_size, (LENGTH,), generator=generator).tolist()


def test_prefill_then_decode(checkpoint: Callable[[str], Path], shape: str) -> None:
    """A chunk, then tokens one by one with the keys in one part and in four, of which some are empty."""
    directory, ids = checkpoint(shape), random_ids(shape)
    expected = run_chunks(float32_model(directory), ids)
    machine = Machine(directory)
    got = machine.run(ids[:PROMPT])
    got += [machine.step(ids[PROMPT], splits=1), machine.step(ids[PROMPT + 1], splits=4)]
    torch.testing.assert_close(torch.stack(got), expected, rtol=0, atol=TOLERANCE)


def test_chunks_do_not_matter(checkpoint: Callable[[str], Path]) -> None:
    """A second chunk sees the first one through the cache."""
    directory, ids = checkpoint("tiny"), random_ids("tiny")
    expected = run_chunks(float32_model(directory), ids)
    machine = Machine(directory)
    got = machine.run(ids[:5]) + machine.run(ids[5:])
    torch.testing.assert_close(torch.stack(got), expected, rtol=0, atol=TOLERANCE)


def test_a_chunk_that_is_filled_up_is_the_chunk(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind another, with tokens after it, and unfilled where the context ends. There is room for what fills it."""
    monkeypatch.setattr(captured, "SIZES", (2, 6, 8))
    directory, ids = checkpoint("tiny"), random_ids("tiny")
    expected = run_chunks(float32_model(directory), ids)
    machine = Machine(directory, context=LENGTH)
    chunks = CapturedChunks(Prefill(machine.decoder))
    machine.cache.reserve(PROMPT)
    assert chunks.capture(6)
    assert [chunks.room(tokens) for tokens in (1, 2, 3, 6, 7)] == [2, 2, 6, 6, 7]
    machine.prefill = chunks
    got = machine.run(ids[:5]) + machine.run(ids[5:9])
    assert chunks.room(4) == 4
    got += [*machine.run(ids[9:13]), machine.step(ids[13], splits=1)]
    torch.testing.assert_close(torch.stack(got), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(("splits", "real"), [(1, 4), (4, 3)])
def test_a_step_of_several_tokens_is_as_many_steps(
    checkpoint: Callable[[str], Path], shape: str, splits: int, real: int
) -> None:
    """Over a window's edge, with keys in parts, and with inputs that are not real: theirs count for nothing."""
    directory, ids = checkpoint(shape), random_ids(shape)
    expected = run_chunks(float32_model(directory), ids)
    machine = Machine(directory)
    got = machine.run(ids[:9])
    got += machine.verify(ids[9:13], splits, real)
    got.append(machine.step(ids[9 + real], splits))
    torch.testing.assert_close(torch.stack(got), expected[: 9 + real + 1], rtol=0, atol=TOLERANCE)


def test_what_is_not_a_number_reaches_the_logits(checkpoint: Callable[[str], Path]) -> None:
    """Also when it is the router that meets it first: a token without experts would leave the last layer's numbers."""
    machine = Machine(checkpoint("tiny"))
    machine.run([1, 2, 3])
    machine.weights.layers[-1].out_bias[5] = torch.nan
    (logits,) = machine.verify([4], splits=1, real=1)
    assert torch.isnan(logits).all()


@pytest.mark.parametrize(("tokens", "experts", "top"), [(1, 5, 2), (70, 5, 3), (33, 32, 4)])
def test_choices_are_sorted_by_expert(tokens: int, experts: int, top: int) -> None:
    """In more than one block, and with experts that nobody chose, against torch's own sort."""
    scores = torch.randn((tokens, experts), generator=torch.Generator().manual_seed(tokens)).to(DEVICE)
    scores[:, 1] = -9.0
    order, ends, weights = sorted_choices(scores, top)
    best, chosen = scores.topk(top)
    torch.testing.assert_close(weights, best.softmax(-1).flatten())
    torch.testing.assert_close(order.long(), chosen.flatten().argsort(stable=True))
    torch.testing.assert_close(ends.long(), torch.bincount(chosen.flatten(), minlength=experts).cumsum(0))
