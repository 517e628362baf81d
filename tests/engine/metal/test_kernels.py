"""The Metal kernels' sources, run as C++ on threads of an emulated GPU, compute what MLX's operations do.

What this shows: the sources compile as C++, indexing, masks, barriers and arithmetic are right, no array is left, and
clang agrees with the address spaces. What it does not: that Apple's compiler takes them, and how fast they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gptoss_tui.engine.checkpoint import open_checkpoint
from gptoss_tui.engine.torch.backend import TorchBackend
from gptoss_tui.engine.types import Dtype, SamplingParams, Token
from gptoss_tui.errors import UsageError
from tests.conformance.runs import float32_model
from tests.engine.metal.conftest import SHAPES

if TYPE_CHECKING:
    from gptoss_tui.engine.metal.kernels.source import Run
    from gptoss_tui.engine.metal.model import Transformer
    from tests.engine.metal.emulator import Emulator

CONTEXT = 64


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Emulator:
    """A GPU that is a C++ compiler."""
    pytest.importorskip("mlx.core", reason="MLX is not installed")
    from tests.engine.metal.emulator import COMPILER, Emulator

    if COMPILER is None:
        pytest.skip("there is no C++ compiler")
    return Emulator(tmp_path_factory.mktemp("kernels"))


@pytest.fixture(scope="module")
def load(checkpoint: Callable[[str], Path]) -> Callable[[Dtype], Transformer]:
    """The small model in a dtype."""

    def make(dtype: Dtype) -> Transformer:
        import mlx.core as mx

        from gptoss_tui.engine.metal.model import Transformer
        from gptoss_tui.engine.metal.weights import load_weights

        opened = open_checkpoint(checkpoint("small"))
        return Transformer(opened.config, load_weights(opened.raw, opened.config, getattr(mx, dtype)), CONTEXT)

    return make


@pytest.fixture(scope="module")
def wide() -> Transformer:
    """A layer with hundreds of rows in each matrix, and a vocabulary of several threadgroups."""
    import mlx.core as mx

    from gptoss_tui.engine.metal.probe import random_model

    shape = replace(SHAPES["small"], num_hidden_layers=1, hidden_size=288, intermediate_size=160, vocab_size=777)
    return random_model(shape, mx.bfloat16)


def test_every_kernel_passes_the_check(load: Callable[[Dtype], Transformer], emulator: Emulator) -> None:
    """The one that it has to pass on a device, in the dtype that people use."""
    from gptoss_tui.engine.metal.kernels import NAMES
    from gptoss_tui.engine.metal.selftest import choose_steps, describe

    decoder = choose_steps(load("bfloat16"), emulator)
    assert decoder.fused == set(NAMES)
    assert describe(decoder) == ""


@pytest.mark.parametrize("backwards", [False, True])
def test_tokens_are_those_of_the_torch_engine(
    backwards: bool,
    checkpoint: Callable[[str], Path],
    load: Callable[[Dtype], Transformer],
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With all kernels, in float32 and beyond the window, whichever threads go first. A layer takes four of them."""
    from gptoss_tui.engine.metal.decode import Decoder
    from gptoss_tui.engine.metal.kernels import NAMES
    from gptoss_tui.engine.metal.sequence import MetalBackend
    from gptoss_tui.engine.metal.steps import Fused

    monkeypatch.setattr(emulator, "backwards", backwards)
    monkeypatch.setattr(emulator, "launched", {})
    model = load("float32")
    decoder = Decoder(model, Fused(model, emulator), frozenset(NAMES))
    backend = MetalBackend(model, decoder, CONTEXT, "small", "emulated")
    prompt, params = [5, 17, 100, 3, 60, 8, 44, 7, 1], SamplingParams(temperature=0.0, max_tokens=2 if backwards else 3)
    reference = TorchBackend(float32_model(checkpoint("small")), CONTEXT, "small")
    ours, theirs = (
        [event for event in engine.generate(prompt, params, lambda: False) if isinstance(event, Token)]
        for engine in (backend, reference)
    )
    assert [token.id for token in ours] == [token.id for token in theirs]
    assert [token.logprob for token in ours] == pytest.approx([token.logprob for token in theirs], abs=1e-3)
    steps, layers = len(ours) - 1, model.config.num_hidden_layers
    assert emulator.launched == {
        **dict.fromkeys(("qkv", "output", "gate_up", "down"), steps * layers),
        **dict.fromkeys(("unembed", "draw"), steps + 1),
    }


MUTATIONS = {
    "qkv": ("b * c + a * s", "b * c - a * s"),
    "output": ("x[row] + total", "x[first] + total"),
    "gate_up": ("(up + 1.0f)", "up"),
    "down": ("hidden + n * I + i", "hidden + i"),
    "unembed": ("allowed[row] ?", "allowed[row / 2] ?"),
}

EDGES = {
    "the last query": ("qkv", "T(b * c + a * s)", "T(b * c + a * s + 0.15f * (row + half_dim == Q * D - 1))"),
    "the last value": ("qkv", "T(b * c + a * s)", "T(b * c + a * s + 0.15f * (row + half_dim == (Q + 2 * K) * D - 1))"),
    "the first sum": ("output", "+ total", "+ total + (row ? 0.0f : 0.1f)"),
    "the last sum": ("output", "bias[row]", "bias[min(row, uint(H - 2))]"),
    "the last row's part of the router": ("output", "start + i < H", "start + i < H - 4"),
    "the last expert's part": ("output", "gate + expert", "gate + min(expert, uint(E - 2))"),
    "the last row's square": ("output", "squares[group] = part", "squares[group] = part - square[SIMDS * ROWS - 1]"),
    "the last part": ("gate_up", "g < G; g += SIMDS", "g < G - 1; g += SIMDS"),
    "the last square": ("gate_up", "g < G; g += THREADS", "g < G - 1; g += THREADS"),
    "the last score": ("gate_up", "router_bias[expert]", "router_bias[min(expert, uint(E - 2))]"),
    "the last choice": ("gate_up", "chosen[index] = best[index]", "chosen[index] = best[index] - (index == K - 1)"),
    "the last weight": ("gate_up", "= softmax[index]", "= softmax[min(index, uint(K - 2))]"),
    "the last activation": ("gate_up", "bias[base + 2 * p + 1]", "bias[min(base + 2 * p + 1, last - 1)]"),
    "the last expert's activation": ("gate_up", "min(base + r, last)", "min(base + r, uint(2 * E * I - 2))"),
    "the last row's sum": ("down", "row * (I / 8)", "(row - (row % H == H - 1)) * (I / 8)"),
    "the last logit": ("unembed", "logits[row] = logit;", "logits[row] = logit + (row == V - 1 ? 0.1f : 0.0f);"),
    "the last id": ("unembed", "if (score > best_score) {", "if (score > best_score && row < V - 1) {"),
    "the first id": ("unembed", "allowed[row] ?", "allowed[row] && row ?"),
    "the last group": ("draw", "i < G; i += THREADS", "i < G - 1; i += THREADS"),
}
"""One row of many, at an edge, by little: the norm of a result hardly shows it."""


def refused(name: str, right: str, wrong: str, model: Transformer, emulator: Emulator) -> str | None:
    """Why the step of the kernel `name` is refused with one change of its source."""
    from gptoss_tui.engine.metal.selftest import refusal
    from gptoss_tui.engine.metal.steps import Fused, Twins

    def launch(kernel: Any, how: Any) -> Run:
        assert kernel.source.count(right) > 0 or kernel.name != name
        return emulator(
            replace(kernel, source=kernel.source.replace(right, wrong)) if kernel.name == name else kernel, how
        )

    return refusal("head" if name in ("unembed", "draw") else name, Fused(model, launch), Twins(model), model)


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_kernel_that_is_wrong_is_not_used(
    name: str, load: Callable[[Dtype], Transformer], emulator: Emulator
) -> None:
    """One by one: the check of its step finds it, and MLX's operations take its place."""
    assert refused(name, *MUTATIONS[name], load("float32"), emulator) is not None


@pytest.mark.parametrize("edge", EDGES)
def test_one_wrong_row_is_found(edge: str, wide: Transformer, emulator: Emulator) -> None:
    """In bfloat16, whose roundings are large, by the bound on single values."""
    assert refused(*EDGES[edge], wide, emulator) is not None


def test_kernels_that_the_device_refuses_are_not_used(
    load: Callable[[Dtype], Transformer], emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of its compiler is no error of the engine; and the environment may leave some out, by their names."""
    from gptoss_tui.engine.metal.selftest import KERNELS_VARIABLE, choose_steps, describe

    def fail(inputs: list[Any]) -> list[Any]:
        raise RuntimeError("[metal::Device] Unable to build metal library from source")

    def launch(kernel: Any, how: Any) -> Run:
        return emulator(kernel, how) if kernel.name == "output" else fail

    model = load("float32")
    monkeypatch.setenv(KERNELS_VARIABLE, "output,head")
    decoder = choose_steps(model, launch)
    assert decoder.fused == {"output"}
    assert describe(decoder) == "MLX's own qkv, gate_up, down, head"
    monkeypatch.setenv(KERNELS_VARIABLE, "off")
    assert describe(choose_steps(model, emulator)) == "MLX's operations only"
    monkeypatch.setenv(KERNELS_VARIABLE, "qkv,warp")
    with pytest.raises(UsageError, match="warp"):
        choose_steps(model, launch)


@pytest.mark.parametrize("name", ["output", "gate_up", "down"])
def test_each_works_beside_the_operations_of_the_others(
    name: str, load: Callable[[Dtype], Transformer], emulator: Emulator
) -> None:
    """Where a device takes only one of them, what it leaves to the next step is what MLX's operations leave."""
    import mlx.core as mx

    from gptoss_tui.engine.metal.decode import Decoder
    from gptoss_tui.engine.metal.kv_cache import KVCache
    from gptoss_tui.engine.metal.steps import Fused

    model = load("float32")

    def state(fused: frozenset[str]) -> mx.array:
        cache = KVCache(model.config, CONTEXT, 1, mx.float32)
        cache.reserve(1)
        return Decoder(model, Fused(model, emulator), fused).hidden(mx.array([5]), cache)

    assert mx.allclose(state(frozenset({name})), state(frozenset()), atol=1e-4)


def test_the_probe_tries_them_without_a_checkpoint(emulator: Emulator) -> None:
    """On random weights, as doctor and the first load on a machine do."""
    import mlx.core as mx

    from gptoss_tui.engine.metal.probe import verdicts

    names = ("gate_up", "down")
    assert dict(verdicts(emulator, SHAPES["small"], mx.bfloat16, names)) == dict.fromkeys(names)


def test_the_best_of_many_groups_is_drawn(emulator: Emulator) -> None:
    """More of them than there are threads, as with the vocabulary of gpt-oss; the best one in each round."""
    import mlx.core as mx

    from gptoss_tui.engine.metal.probe import random_model
    from gptoss_tui.engine.metal.steps import LOOPS, ROWS, Fused, groups

    shape = replace(SHAPES["uneven"], num_hidden_layers=1, vocab_size=70_001)
    draw, count = Fused(random_model(shape, mx.bfloat16), emulator)._draw, groups(70_001, ROWS * LOOPS)
    assert count > 256
    logits = mx.random.normal((70_001,))
    mass, top = mx.exp(logits).sum() / count, mx.zeros((count,))
    for best in (0, 255, 256, count - 1):
        ids = mx.arange(count, dtype=mx.uint32) * 256
        id, logprob = draw([mx.arange(count) == best, ids, top, mx.full((count,), mass), logits])
        assert id.item() == 256 * best
        assert abs(logprob.item() - (logits[id] - mx.logsumexp(logits)).item()) < 1e-3


def test_a_missing_barrier_is_found(load: Callable[[Dtype], Transformer], emulator: Emulator) -> None:
    """By what the others had not written yet; and so is one that some threads never come to."""
    from gptoss_tui.engine.metal.selftest import refusal
    from gptoss_tui.engine.metal.steps import Fused, Twins

    barrier, model = "threadgroup_barrier(mem_flags::mem_threadgroup);", load("float32")

    def reason(other: str) -> str | None:
        def launch(kernel: Any, how: Any) -> Run:
            return emulator(replace(kernel, header=kernel.header.replace(barrier, other)), how)

        return refusal("qkv", Fused(model, launch), Twins(model), model)

    assert reason(barrier) is None
    assert "instead of" in str(reason(""))
    assert "wait for each other" in str(reason(f"if (lane == 0) {{ {barrier} }}"))


@pytest.mark.parametrize(("name", "number"), [("output", 0), ("gate_up", 0), ("gate_up", 1)])
def test_every_barrier_is_needed(name: str, number: int, emulator: Emulator) -> None:
    """Between what a threadgroup sums and what it makes of it, one by one; with parts for more than one simdgroup."""
    import mlx.core as mx

    from gptoss_tui.engine.metal.kernels.source import kernel
    from gptoss_tui.engine.metal.probe import random_model

    shape = replace(SHAPES["small"], num_hidden_layers=1, hidden_size=33 * 32, intermediate_size=32)
    model, barrier = random_model(shape, mx.float32), "threadgroup_barrier(mem_flags::mem_threadgroup);\n"
    parts = kernel(name, (), (), 7.0).source.split(barrier)
    right = barrier.join(parts)
    wrong = barrier.join(parts[: number + 1]) + barrier.join(parts[number + 1 :])
    assert refused(name, right, right, model, emulator) is None
    assert "instead of" in str(refused(name, right, wrong, model, emulator))


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_address_spaces_are_right(dtype: Dtype, load: Callable[[Dtype], Transformer]) -> None:
    """As clang sees them in OpenCL's C++, which has the same ones; and it does see one that is wrong."""
    mx = pytest.importorskip("mlx.core", reason="MLX is not installed")
    pytest.importorskip("clang.cindex", reason="libclang is not installed")
    from gptoss_tui.engine.metal.kernels import NAMES
    from gptoss_tui.engine.metal.selftest import results
    from gptoss_tui.engine.metal.steps import Fused
    from tests.engine.metal.emulator import complaints

    found: dict[str, list[str]] = {}

    def check(kernel: Any, how: Any, inputs: list[Any]) -> list[Any]:
        found[kernel.name] = complaints(kernel, inputs, how)
        wrong = replace(kernel, source=kernel.source.replace("uint lane =", "device uint* lane = &"))
        if wrong.source != kernel.source:
            assert complaints(wrong, inputs, how)
        return [mx.zeros(shape, dtype=kind) for shape, kind in zip(how.shapes, how.dtypes, strict=True)]

    def launch(kernel: Any, how: Any) -> Run:
        return partial(check, kernel, how)

    model = load(dtype)
    for name in NAMES:
        list(results(name, Fused(model, launch), model))
    assert found == {name: [] for name in (*NAMES[:-1], "unembed", "draw")}
