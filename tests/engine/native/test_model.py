"""Logits of the CPU engine against the torch engine in float32, on every instruction set, however the tokens come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from gptoss_tui.engine.native.backend import NativeBackend, load_backend
from gptoss_tui.engine.native.library import ISA_VARIABLE, available
from gptoss_tui.engine.rope import rope_frequencies
from gptoss_tui.engine.torch import model as torch_model
from gptoss_tui.engine.types import Dense, Dtype, EngineSpec
from tests.conformance.runs import float32_model, run_chunks
from tests.engine.native.conftest import SETS, SHAPES

pytestmark = pytest.mark.skipif(not available(), reason="the kernels are not built")

TOLERANCE = 5e-4
"""On logits with a standard deviation of about 2.5. Prefill by pairs of bf16 values has the largest part of it."""

Logits = npt.NDArray[np.float32]
CONTEXT = 512


@contextmanager
def loaded(
    directory: Path, isa: str, *, dtype: Dtype = "float32", dense: Dense = "exact", threads: int = 1
) -> Iterator[NativeBackend]:
    """The checkpoint on an instruction set."""
    patch = pytest.MonkeyPatch()
    patch.setenv(ISA_VARIABLE, isa)
    spec = EngineSpec(directory, backend="native", dtype=dtype, dense=dense, context=CONTEXT, threads=threads)
    backend = load_backend(spec, lambda step: None)
    patch.undo()
    # Reading a slot that was not written would show.
    for buffer in backend._cache.buffers:
        buffer.view(np.uint16)[:] = 0x7FC0
    yield backend
    backend.close()


def run(backend: NativeBackend, tokens: list[int], chunk: int) -> Logits:
    """Logits [T, V] of `tokens`, run `chunk` at a time after what is cached."""
    rows = []
    for start in range(0, len(tokens), chunk):
        ids = tokens[start : start + chunk]
        assert backend.model.run(backend._cache, ids)
        rows += [backend.model.all_logits(index) for index in range(len(ids))]
    return np.array(rows)


def tokens_of(shape: str, count: int) -> list[int]:
    """Random ids."""
    return np.random.default_rng(7).integers(SHAPES[shape].vocab_size, size=count).tolist()


@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("shape", SHAPES)
def test_logits_are_those_of_the_reference(checkpoint: Callable[[str], Path], shape: str, isa: str) -> None:
    """One by one, in chunks beyond the window that do not divide the prompt, and at once."""
    tokens = tokens_of(shape, 150 if shape == "real-heads" else 40)
    expected = run_chunks(float32_model(checkpoint(shape)), tokens).numpy()
    assert expected.std() > 0.5
    with loaded(checkpoint(shape), isa) as backend:
        for chunk in (1, 13, len(tokens)):
            backend._cache.clear()
            np.testing.assert_allclose(run(backend, tokens, chunk), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("dense", ["exact", "int8"])
def test_threads_do_not_matter(checkpoint: Callable[[str], Path], dense: Dense) -> None:
    """Bit for bit the same logits with one thread and with three, in chunks, in steps that they share, and in those
    that they share or not, whichever is faster."""
    tokens = tokens_of("real-heads", 50)
    results = []
    for threads, share in ((1, False), (3, True), (3, False)):
        with loaded(checkpoint("real-heads"), SETS[-1], dtype="bfloat16", dense=dense, threads=threads) as backend:
            if share:
                backend.model.share_steps()
            results.append(np.concatenate((run(backend, tokens[:10], 10), run(backend, tokens[10:], 1))))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("dense", ["exact", "int8"])
def test_rounded_keys_and_layers_stay_close(checkpoint: Callable[[str], Path], isa: str, dense: Dense) -> None:
    """One sliding layer deep, before rounding can send a token to another expert: a few hundredths of the spread."""
    tokens = tokens_of("uneven", 12)
    expected = run_chunks(float32_model(checkpoint("uneven")), tokens).numpy()
    with loaded(checkpoint("uneven"), isa, dtype="bfloat16", dense=dense) as backend:
        got = run(backend, tokens, 1)
    off = np.sort(np.abs(got - expected).max(axis=1) / expected.std())
    assert off[len(off) // 2] < (0.05 if dense == "exact" else 0.5)


def test_rotary_frequencies_are_the_reference_s() -> None:
    """Of the published shape."""
    config = SHAPES["real-heads"]
    ours, factor = rope_frequencies(config)
    theirs, theirs_factor = torch_model.rope_frequencies(config)
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-6)
    assert factor == theirs_factor


def test_what_is_not_a_number_shows(checkpoint: Callable[[str], Path]) -> None:
    """Rounding to int8 does not hide it."""
    with loaded(checkpoint("small"), SETS[-1], dtype="bfloat16", dense="int8") as backend:
        run(backend, [1, 2, 3], 3)
        backend._cache.buffers[0].view(np.uint16)[:] = 0x7FC0
        assert np.isnan(run(backend, [4], 1)).any()
