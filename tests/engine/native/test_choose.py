"""Choosing from the coarse unembedding gives what the whole one gives, and reads little of it."""

from __future__ import annotations

import ctypes
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from gptoss_tui.engine.native.backend import NativeBackend, load_backend
from gptoss_tui.engine.native.library import GROUP, ISA_VARIABLE, OUTSIDE, Draw, available, load_library
from gptoss_tui.engine.types import EngineSpec, SamplingParams, Token
from tests.engine.native.conftest import NO_BIAS, SETS

pytestmark = pytest.mark.skipif(not available(), reason="the kernels are not built")

TOKENS = 24
GREEDY = SamplingParams(temperature=0.0)


def load(directory: Path, threads: int) -> NativeBackend:
    """With 8-bit layers and some tokens run."""
    backend = load_backend(
        EngineSpec(directory, "native", dense="int8", context=64, threads=threads), lambda step: None
    )
    backend.model.run(backend._cache, np.random.default_rng(3).integers(5003, size=TOKENS).tolist())
    return backend


@pytest.fixture(params=SETS)
def backend(
    request: pytest.FixtureRequest, checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[NativeBackend]:
    """A model of many words on each instruction set."""
    monkeypatch.setenv(ISA_VARIABLE, request.param)
    loaded = load(checkpoint("many-words"), 1)
    yield loaded
    loaded.close()


def chosen(backend: NativeBackend, index: int, params: SamplingParams, seed: int = 0) -> Token:
    """What follows token `index`."""
    return backend.model.sampler.sample(backend.model.handle, index, params, random.Random(seed), None, NO_BIAS)


def test_the_likeliest_is_that_of_the_whole_unembedding(backend: NativeBackend) -> None:
    """At every position; its logprob is that of all rows but for the rounding of what hardly counts."""
    for index in range(TOKENS):
        logits = backend.model.all_logits(index)
        logprobs = logits - backend.model.log_total()
        token = chosen(backend, index, GREEDY)
        assert token.id == int(logits.argmax())
        assert token.logprob == pytest.approx(float(logprobs[token.id]), abs=0.03)


def test_rows_that_cannot_matter_are_not_read(backend: NativeBackend) -> None:
    """They may be anything, such as no numbers."""
    model = backend.model
    logits = model.logits(0).copy()
    expected, whole = chosen(backend, 0, GREEDY), model.weights.dense["unembedding"].copy()
    far = np.flatnonzero(logits.reshape(-1, GROUP).max(axis=1) < model.log_total() - 7.0 - 0.5 * logits.std())
    assert len(far) > len(logits) / GROUP / 3
    groups = model.weights.dense["unembedding"].reshape(len(logits) // GROUP, -1)
    groups[far] = 0xFF
    assert np.isnan(model.logits(0)).any()
    assert chosen(backend, 0, GREEDY) == expected
    model.weights.dense["unembedding"][:] = whole


def test_hardly_any_temperature_reads_all(backend: NativeBackend) -> None:
    """Rounding would decide otherwise."""
    for temperature in (0.01, 1e-12):
        token = chosen(backend, 2, SamplingParams(temperature=temperature))
        assert token.id == int(backend.model.all_logits(2).argmax())


def test_forbidden_rows_are_not_chosen(backend: NativeBackend) -> None:
    """The next best is, and afterwards the best is again; rows that are not there are refused."""
    order = np.argsort(-backend.model.logits(3)[:5003])
    handle = backend.model.handle
    for count in (0, 1, 3, 0):
        rows = order[:count].astype(np.int32)
        draw = Draw(forbidden=rows.ctypes.data, forbidden_count=len(rows))
        assert load_library().gt_choose(handle, 3, ctypes.byref(draw)) == 0
        assert draw.row == order[count]
    wrong = np.array([6000], dtype=np.int32)
    draw = Draw(forbidden=wrong.ctypes.data, forbidden_count=1)
    assert load_library().gt_choose(handle, 3, ctypes.byref(draw)) == OUTSIDE
    assert load_library().gt_choose(handle, 64, ctypes.byref(Draw())) == OUTSIDE


@pytest.mark.parametrize("ahead", [60, 70, 78, 86, 99, 110])
def test_a_forbidden_row_far_ahead_leaves_the_others_their_weights(backend: NativeBackend, ahead: float) -> None:
    """By so many temperatures: what is drawn is likely among those that are allowed."""
    logits = backend.model.logits(3)[:5003].astype(np.float64)
    order = np.argsort(-logits)
    temperature = float(logits[order[0]] - logits[order[1]]) / ahead
    weights = np.exp((logits - logits[order[1]]) / temperature)
    rows = order[:1].astype(np.int32)
    for uniform in np.random.default_rng(5).random(20):
        draw = Draw(temperature=temperature, uniform=uniform, forbidden=rows.ctypes.data, forbidden_count=1)
        assert load_library().gt_choose(backend.model.handle, 3, ctypes.byref(draw)) == 0
        assert draw.row != order[0]
        assert weights[draw.row] > 1e-5


def test_threads_do_not_matter(checkpoint: Callable[[str], Path]) -> None:
    """The same tokens and logprobs with one thread and with three."""
    results = []
    for threads in (1, 3):
        backend = load(checkpoint("many-words"), threads)
        results.append([chosen(backend, 2, SamplingParams(temperature=1.0), seed) for seed in range(50)])
        backend.close()
    assert results[0] == results[1]
