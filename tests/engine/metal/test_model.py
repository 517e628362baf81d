"""Logits of the Metal engine, run by MLX on the CPU, against the torch engine: every layout, however they come."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from gptoss_tui.engine.checkpoint import open_checkpoint, random_checkpoint
from gptoss_tui.engine.generation import never
from gptoss_tui.engine.metal.backend import load_backend
from gptoss_tui.engine.metal.memory import METAL_NEEDS
from gptoss_tui.engine.planning.memory import plan
from gptoss_tui.engine.torch.backend import load_backend as load_torch
from gptoss_tui.engine.types import Dtype, EngineSpec, SamplingParams, Token
from tests.conformance.runs import float32_model, run_chunks
from tests.conformance.shapes import SMALL
from tests.engine.metal.conftest import SHAPES
from tests.engine.model_bin import write_model_bin

TOLERANCE = 1e-4
"""On logits with a standard deviation of about 2.5: sums are taken in another order."""

Logits = npt.NDArray[np.float32]
CONTEXT = 512


def load(directory: Path, dtype: Dtype = "float32"):  # type: ignore[no-untyped-def]
    """The checkpoint, with memory in which reading a slot that was not written would show."""
    import mlx.core as mx

    backend = load_backend(EngineSpec(directory, backend="metal", dtype=dtype, context=CONTEXT), lambda step: None)
    cache = backend._cache
    cache.reserve(1)
    cache.layers = [mx.full(layer.shape, mx.nan, dtype=layer.dtype) for layer in cache.layers]
    return backend


def run(backend, tokens: list[int], chunk: int) -> Logits:  # type: ignore[no-untyped-def]
    """Logits [T, V] of `tokens`, run `chunk` at a time after what is cached."""
    parts = (tokens[start : start + chunk] for start in range(0, len(tokens), chunk))
    return np.concatenate([np.array(backend.model.logits(backend._run(part, never))) for part in parts])


def tokens_of(shape: str, count: int) -> list[int]:
    """Random ids."""
    return np.random.default_rng(7).integers(SHAPES[shape].vocab_size, size=count).tolist()


@pytest.mark.parametrize(
    ("shape", "length", "chunks"),
    [("small", 40, (1, 13, 40)), ("uneven", 33, (1, 5, 33)), ("real-heads", 135, (133, 1))],
)
def test_logits_are_those_of_the_reference(
    checkpoint: Callable[[str], Path], shape: str, length: int, chunks: tuple[int, ...]
) -> None:
    """One by one, in chunks beyond the window that do not divide the prompt, and at once."""
    tokens = tokens_of(shape, length)
    expected = run_chunks(float32_model(checkpoint(shape)), tokens).numpy()
    assert expected.std() > 0.5
    backend = load(checkpoint(shape))
    for chunk in chunks:
        backend._cache.clear()
        # One by one, the end of a long prompt is enough.
        last = length if chunk > 1 or length < 100 else 3
        if last < length:
            run(backend, tokens[:-last], length)
        np.testing.assert_allclose(run(backend, tokens[-last:], chunk), expected[-last:], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(("shape", "length", "chunk"), [("uneven", 24, 6), ("small", 24, 1), ("real-heads", 135, 133)])
def test_bfloat16_stays_close(shape: str, length: int, chunk: int, checkpoint: Callable[[str], Path]) -> None:
    """Rounding moves the logits hardly more than it does in the torch engine; beyond the window, too."""
    directory, tokens = checkpoint(shape), tokens_of(shape, length)
    expected = run_chunks(float32_model(directory), tokens).numpy()
    torch_backend = load_torch(EngineSpec(directory, context=CONTEXT), lambda step: None)
    theirs = torch_backend.model.logits(torch_backend._run(tokens, never)).detach().numpy()
    ours = run(load(directory, "bfloat16"), tokens, chunk)
    off, allowed = (np.median(np.abs(logits - expected).max(axis=1)) for logits in (ours, theirs))
    # MLX's kernels for CPUs round the sums of packed weights on the way; those of a GPU do not.
    assert off < 2 * allowed


@pytest.mark.parametrize("layout", ["huggingface", "metal"])
def test_every_layout_is_the_same_model(layout: str, checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    """Read as it is on disk, bit for bit."""
    if layout == "huggingface":
        random_checkpoint(SMALL, tmp_path, "huggingface", seed=1)
    else:
        write_model_bin(open_checkpoint(checkpoint("small")), tmp_path / "model.bin")
    tokens = tokens_of("small", 9)
    np.testing.assert_array_equal(run(load(tmp_path), tokens, 9), run(load(checkpoint("small")), tokens, 9))


@pytest.mark.parametrize(("cut", "chunk"), [(0, 24), (3, 5), (10, 24), (17, 5), (24, 24), (39, 5)])
def test_going_back_and_on_is_as_if_it_had_not_been(
    cut: int, chunk: int, checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To any place, before or behind what the sliding layers still hold; and a beginning that was kept comes back."""
    monkeypatch.setattr("gptoss_tui.engine.cache.kv_cache.SNAPSHOT_INTERVAL", 16)
    tokens = tokens_of("uneven", 40)
    history = tokens[:cut] + [(token + 1) % SHAPES["uneven"].vocab_size for token in tokens[cut:]]
    expected = run_chunks(float32_model(checkpoint("uneven")), history).numpy()
    backend = load(checkpoint("uneven"))
    cache = backend._cache
    run(backend, tokens[:24], 24)
    cache.keep(24)
    run(backend, tokens[24:], chunk)
    resumed = cache.rewind(cut)
    assert cut - 16 < resumed <= cut
    np.testing.assert_allclose(run(backend, history[resumed:], chunk), expected[resumed:], rtol=0, atol=TOLERANCE)
    assert cache.tokens == history
    cache.rewind(0)
    assert cache.begin(tokens) == 24
    wanted = run_chunks(float32_model(checkpoint("uneven")), tokens[:30]).numpy()
    np.testing.assert_allclose(run(backend, tokens[24:30], 6), wanted[24:], rtol=0, atol=TOLERANCE)


def test_memory_stays_where_it_is(checkpoint: Callable[[str], Path]) -> None:
    """Prompts and steps write into the arrays of the cache: nothing of the size of a layer is allocated for them."""
    import mlx.core as mx

    backend = load(checkpoint("small"))
    cache = backend._cache
    cache._room = 40_000
    cache.layers = [mx.full((2, 2, 40_000, 64), 0.0) + 1 for _ in cache.layers]
    mx.eval(cache.layers)
    layer, before = cache.layers[0].nbytes, mx.get_active_memory()
    mx.reset_peak_memory()
    generation = backend.generate(tokens_of("small", 5), SamplingParams(temperature=0.0, max_tokens=5), never)
    assert sum(isinstance(event, Token) for event in generation) == 5
    assert mx.get_peak_memory() - before < layer


@pytest.mark.parametrize("tokens", [4, 5, 7, 8, 9])
@pytest.mark.parametrize("window", [True, False])
def test_attention_goes_in_parts_that_are_kernels(
    tokens: int, window: bool, checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 8 heads to a key, MLX has one for up to 4 queries and one for more than 8. The parts are the whole."""
    import mlx.core as mx

    model = load(checkpoint("real-heads")).model
    query, pair = mx.random.normal((1, 64, tokens, 64)), mx.random.normal((2, 8, tokens + 20, 64))
    mask = mx.tri(tokens, tokens + 20, 20) > mx.random.uniform(0.0, 1.5, (tokens, tokens + 20)) if window else "causal"
    attention, seen = mx.fast.scaled_dot_product_attention, list[int]()

    def noted(q: mx.array, *given: mx.array, **named: object) -> mx.array:
        seen.append(q.shape[2])
        return attention(q, *given, **named)

    monkeypatch.setattr(mx.fast, "scaled_dot_product_attention", noted)
    got = model.attend(query, (pair[:1], pair[1:]), 0, mask)
    assert sum(seen) == tokens
    assert all(part <= 4 or part > 8 for part in seen)
    whole = attention(query, pair[:1], pair[1:], scale=0.125, mask=mask, sinks=model._sinks[0])
    assert mx.allclose(got, whole.swapaxes(1, 2).reshape(tokens, -1), atol=1e-5)


def test_full_layers_grow(checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """By steps, keeping what they hold, and never beyond the context."""
    monkeypatch.setattr("gptoss_tui.engine.metal.kv_cache.GROWTH", 16)
    tokens = tokens_of("small", 40)
    backend = load_backend(EngineSpec(checkpoint("small"), dtype="float32", context=45), lambda step: None)
    rooms = []
    got = []
    for start in range(0, 40, 10):
        got.append(run(backend, tokens[start : start + 10], 10))
        rooms.append(backend._cache.layers[1].shape[2])
    assert rooms == [16, 32, 32, 45]
    expected = run_chunks(float32_model(checkpoint("small")), tokens).numpy()
    np.testing.assert_allclose(np.concatenate(got), expected, rtol=0, atol=TOLERANCE)


def test_what_waits_are_the_arrays_themselves(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """But where most of them is not in use. They are nobody else's, and come back."""
    monkeypatch.setattr("gptoss_tui.engine.metal.kv_cache.GROWTH", 16)
    first, second = tokens_of("small", 26), tokens_of("small", 26)[::-1][:5]
    expected = [run_chunks(float32_model(checkpoint("small")), tokens).numpy() for tokens in (first, second)]
    backend = load_backend(EngineSpec(checkpoint("small"), dtype="float32", context=64), lambda step: None)
    cache = backend._cache
    cache.parking.limit(10**9, 0)
    run(backend, first[:24], 24)
    arrays = [cache.layers[1], cache.layers[3]]
    assert cache.begin(second) == 0
    (entry,) = cache.parking.entries
    assert [id(array) for array in entry.memory.arrays] == [id(array) for array in arrays]
    assert [cache.layers[layer].nbytes for layer in (1, 3)] == [0, 0]
    np.testing.assert_allclose(run(backend, second[:4], 4), expected[1][:4], rtol=0, atol=TOLERANCE)
    assert cache.begin(first) == 24
    assert [entry.memory.arrays[0].shape[2] for entry in cache.parking.entries] == [4]
    np.testing.assert_allclose(run(backend, first[24:], 2), expected[0][24:], rtol=0, atol=TOLERANCE)
    assert cache.begin(second) == 4
    np.testing.assert_allclose(run(backend, second[4:], 1), expected[1][4:], rtol=0, atol=TOLERANCE)
    token_bytes = 2 * 2 * SMALL.kv_width * 4  # key and value in two full layers, in float32
    assert cache.parking.nbytes() == 32 * token_bytes + cache.parking.entries[0].window.nbytes


@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="MLX compiles with a C++ compiler")
def test_what_gpus_run_compiled_is_the_same() -> None:
    """For one token, a chunk, and one token again."""
    import mlx.core as mx

    from gptoss_tui.engine.metal.model import compiled, gated, rotated

    gates, turns = compiled(gated), compiled(rotated)
    for tokens in (1, 5, 1):
        rows = mx.random.normal((tokens, 4, 64)).astype(mx.bfloat16)
        halves = rows[..., 0::2], rows[..., 1::2]
        assert mx.allclose(gates(*halves, 7.0), gated(*halves, 7.0), rtol=2e-2)
        tables = mx.random.normal((tokens, 1, 32)), mx.random.normal((tokens, 1, 32))
        assert mx.allclose(turns(rows, *tables), rotated(rows, *tables), rtol=2e-2)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_the_plan_covers_what_is_allocated(dtype: Dtype, checkpoint: Callable[[str], Path]) -> None:
    """Weights as they are held, and a full cache with snapshots, marks and kept prefixes."""
    directory = checkpoint("small")
    backend = load_backend(EngineSpec(directory, dtype=dtype, context=CONTEXT), lambda step: None)
    planned = plan(SMALL, open_checkpoint(directory).weight_bytes, CONTEXT, dtype, available=1, needs=METAL_NEEDS)
    assert backend.info().weight_bytes <= planned.weights + planned.scratch // 100
    cache = backend._cache
    for position in range(0, CONTEXT, 64):
        cache.reserve(64)
        cache.commit([1] * 64)
        cache.keep(position + 64)
        cache.mark(position + 50)
    assert 0.5 * planned.kv_cache < cache.nbytes <= planned.kv_cache
