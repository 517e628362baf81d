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


def test_every_kernel_passes_the_check(load: Callable[[Dtype], Transformer], emulator: Emulator) -> None:
    """The one that it has to pass on a device, in the dtype that people use."""
    from gptoss_tui.engine.metal.selftest import choose_steps, describe
    from gptoss_tui.engine.metal.steps import NAMES

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
    """With all kernels, in float32 and beyond the window, whichever threads go first. A layer takes five of them."""
    from gptoss_tui.engine.metal.decode import Decoder
    from gptoss_tui.engine.metal.sequence import MetalBackend
    from gptoss_tui.engine.metal.steps import NAMES, Fused

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
        **dict.fromkeys(("qkv", "output", "router", "gate_up", "down"), steps * layers),
        **dict.fromkeys(("unembed", "draw"), steps + 1),
    }


MUTATIONS = {
    "qkv": ("b * c + a * s", "b * c - a * s"),
    "output": ("x[first + r] + total", "x[first] + total"),
    "router": ("bias[expert]", "bias[0]"),
    "gate_up": ("(up + 1.0f)", "up"),
    "down": ("hidden + n * I + i", "hidden + i"),
    "unembed": ("allowed[row] ?", "allowed[row / 2] ?"),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_kernel_that_is_wrong_is_not_used(
    name: str, load: Callable[[Dtype], Transformer], emulator: Emulator
) -> None:
    """One by one: the check of its step finds it, and MLX's operations take its place."""
    from gptoss_tui.engine.metal.selftest import is_right
    from gptoss_tui.engine.metal.steps import Fused, Twins

    right, wrong = MUTATIONS[name]

    def launch(kernel: Any, how: Any) -> Run:
        assert right in kernel.source or kernel.name != name
        return emulator(replace(kernel, source=kernel.source.replace(right, wrong)), how)

    model = load("float32")
    step = "head" if name == "unembed" else name
    assert not is_right(step, Fused(model, launch), Twins(model), model)


def test_kernels_that_the_device_refuses_are_not_used(
    load: Callable[[Dtype], Transformer], emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of its compiler is no error of the engine; and the environment may leave some out, by their names."""
    from gptoss_tui.engine.metal.selftest import KERNELS_VARIABLE, choose_steps, describe

    def refused(inputs: list[Any]) -> list[Any]:
        raise RuntimeError("[metal::Device] Unable to build metal library from source")

    def launch(kernel: Any, how: Any) -> Run:
        return emulator(kernel, how) if kernel.name == "output" else refused

    model = load("float32")
    monkeypatch.setenv(KERNELS_VARIABLE, "output,head")
    decoder = choose_steps(model, launch)
    assert decoder.fused == {"output"}
    assert describe(decoder) == "MLX's own qkv, router, gate_up, down, head"
    monkeypatch.setenv(KERNELS_VARIABLE, "off")
    assert describe(choose_steps(model, emulator)) == "MLX's operations only"
    monkeypatch.setenv(KERNELS_VARIABLE, "qkv,warp")
    with pytest.raises(UsageError, match="warp"):
        choose_steps(model, launch)


def test_the_probe_tries_them_without_a_checkpoint(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """On random weights; as `doctor` does on a Mac."""
    from gptoss_tui.engine.metal.probe import kernels
    from gptoss_tui.engine.metal.steps import NAMES

    monkeypatch.setattr("gptoss_tui.engine.metal.selftest._draws_right", lambda *given: True)
    assert kernels(emulator, SHAPES["small"]) == dict.fromkeys(NAMES, True)


def test_a_missing_barrier_is_found(load: Callable[[Dtype], Transformer], emulator: Emulator) -> None:
    """By what the others had not written yet; and so is one that some threads never come to."""
    from gptoss_tui.engine.metal.selftest import is_right
    from gptoss_tui.engine.metal.steps import Fused, Twins

    barrier = "threadgroup_barrier(mem_flags::mem_threadgroup);"

    def launch_with(other: str) -> Any:
        return lambda kernel, how: emulator(replace(kernel, header=kernel.header.replace(barrier, other)), how)

    model = load("float32")
    assert not is_right("router", Fused(model, launch_with("")), Twins(model), model)
    assert is_right("router", Fused(model, emulator), Twins(model), model)
    with pytest.raises(AssertionError, match="wait for each other"):
        is_right("router", Fused(model, launch_with(f"if (lane == 0) {{ {barrier} }}")), Twins(model), model)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_address_spaces_are_right(dtype: Dtype, load: Callable[[Dtype], Transformer]) -> None:
    """As clang sees them in OpenCL's C++, which has the same ones; and it does see one that is wrong."""
    mx = pytest.importorskip("mlx.core", reason="MLX is not installed")
    pytest.importorskip("clang.cindex", reason="libclang is not installed")
    from gptoss_tui.engine.metal.selftest import _results
    from gptoss_tui.engine.metal.steps import NAMES, Fused
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
        list(_results(name, Fused(model, launch), model))
    assert found == {name: [] for name in (*NAMES[:-1], "unembed", "draw")}
