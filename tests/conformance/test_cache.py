"""However the tokens come - at once, in chunks, one by one, after going back - the logits are the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gptoss_tui.engine.config import Layout
from gptoss_tui.engine.torch.model import Transformer
from tests.conformance.runs import float32_model, new_cache, run_chunks
from tests.conformance.shapes import SHAPES

pytestmark = pytest.mark.slow

TOLERANCE = 1e-4
"""Sums are taken in another order; nothing else may differ."""

INTERVAL = 16
"""Tokens between snapshots in these tests: some fall before and some after the window."""


@pytest.fixture
def model(checkpoint: Callable[[str, Layout], Path], shape: str) -> Transformer:
    """The shape's model in float32."""
    return float32_model(checkpoint(shape, "original"))


def test_prefill_equals_decode(model: Transformer, tokens: list[int]) -> None:
    """One chunk against one token at a time."""
    _assert_close(run_chunks(model, tokens, chunk=1), run_chunks(model, tokens))


@pytest.mark.parametrize("chunk", [2, 7, 33, 128])
def test_chunk_sizes_do_not_matter(model: Transformer, tokens: list[int], chunk: int) -> None:
    """Chunks shorter and longer than the window, and ones that do not divide the prompt."""
    _assert_close(run_chunks(model, tokens, chunk), run_chunks(model, tokens))


@pytest.mark.parametrize("tile", [1, 1000])
def test_tiles_of_queries_do_not_matter(
    model: Transformer, tokens: list[int], tile: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attention over a few queries at a time, as with very long contexts."""
    whole = run_chunks(model, tokens)
    monkeypatch.setattr("gptoss_tui.engine.torch.model.SCORE_TILE", tile)
    _assert_close(run_chunks(model, tokens), whole)


@pytest.mark.parametrize("cut_windows", [0.0, 0.5, 1.0, 1.5, 2.2])
@pytest.mark.parametrize("chunk", [5, 24])
def test_rewind_and_continue_equals_fresh(
    model: Transformer, shape: str, tokens: list[int], cut_windows: float, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Back to a cut before or after the window's length, on with other tokens: as if the first ones never were."""
    monkeypatch.setattr("gptoss_tui.engine.cache.kv_cache.SNAPSHOT_INTERVAL", INTERVAL)
    cut = int(cut_windows * SHAPES[shape].sliding_window)
    other = [(token + 1) % model.config.vocab_size for token in tokens[cut:]]
    history = tokens[:cut] + other
    cache = new_cache(model, chunk)
    run_chunks(model, tokens, chunk, cache)
    resumed = cache.rewind(cut)
    assert cut - INTERVAL < resumed <= cut
    got = run_chunks(model, history[resumed:], chunk, cache)
    assert cache.tokens == history
    _assert_close(got, run_chunks(model, history)[resumed:])


def _assert_close(got: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(got, expected, rtol=0, atol=TOLERANCE)
