"""Before the first request: which of our kernels compute on this device what MLX computes?

Each runs once on random numbers and weights of the model. One that cannot be compiled, or computes something else, is
not used: MLX's operations take its place, and the device's description says so.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import mlx.core as mx

from gptoss_tui.engine.metal.decode import Decoder
from gptoss_tui.engine.metal.kernels.source import Launcher, launch_metal
from gptoss_tui.engine.metal.model import Transformer
from gptoss_tui.engine.metal.sampling import gumbel
from gptoss_tui.engine.metal.steps import NAMES, Fused, Steps, Twins, can_fuse
from gptoss_tui.errors import UsageError

KERNELS_VARIABLE = "GPTOSS_TUI_METAL_KERNELS"
"""Which kernels may be used: names with commas between them, or `off`. By default all."""

TOLERANCE = {mx.bfloat16: 2e-2, mx.float32: 1e-4}
"""Relative to the norm. Both round each product once; sums are taken in another order."""


def choose_steps(model: Transformer, launch: Launcher | None = None) -> Decoder:
    """A decoder with all kernels that are wanted and right. By default the GPU runs them, where there is one.

    Raises UsageError for a name in the environment that there is not.
    """
    wanted = wanted_kernels()
    if launch is None:
        launch = launch_metal if mx.metal.is_available() else None
    if launch is None or not wanted or not can_fuse(model.config):
        return Decoder(model)
    kernels, twins = Fused(model, launch), Twins(model)
    return Decoder(model, kernels, frozenset(name for name in wanted if is_right(name, kernels, twins, model)))


def describe(decoder: Decoder) -> str:
    """Which steps are MLX's own operations, in a few words; nothing where none is."""
    others = [name for name in NAMES if name not in decoder.fused]
    if len(others) == len(NAMES):
        return "MLX's operations only"
    return f"MLX's own {', '.join(others)}" if others else ""


def wanted_kernels() -> list[str]:
    """What the environment allows. Raises UsageError for a name that there is not."""
    named = os.environ.get(KERNELS_VARIABLE)
    if named is None:
        return list(NAMES)
    names = [] if named == "off" else named.split(",")
    for name in names:
        if name not in NAMES:
            raise UsageError(
                f"{KERNELS_VARIABLE} names a kernel {name!r}", hint=f"there are: {', '.join(NAMES)}; or off"
            )
    return names


def is_right(name: str, kernels: Fused, twins: Twins, model: Transformer) -> bool:
    """Whether the kernels of a step compute what its twin does."""
    try:
        ours, theirs = (list(_results(name, steps, model)) for steps in (kernels, twins))
        tolerance = TOLERANCE[model.weights.dtype]
        close = all(_error(got, wanted) < tolerance for got, wanted in zip(ours, theirs, strict=True))
        return close and (name != "head" or _draws_right(kernels, model))
    except (RuntimeError, ValueError):  # MLX's words for what the compiler, or the device, did not take
        return False


def _results(name: str, steps: Steps, model: Transformer) -> Iterator[mx.array]:
    """What a step makes of random numbers. Of sums with the residual stream, what was added."""
    config, layer = model.config, model.weights.layers[0]
    x, scores = _random(config.hidden_size, 1), _random(config.num_experts, 2)
    dtype = model.weights.dtype
    match name:
        case "qkv":
            yield from steps.qkv(x, layer, 7)
        case "output":
            yield steps.output(_random(config.query_width, 3).astype(dtype), layer, x) - x
        case "router":
            yield from steps.router(x, layer)
        case "gate_up":
            yield steps.gate_up(x.astype(dtype), scores, layer)
        case "down":
            shape = (config.experts_per_token, config.intermediate_size)
            hidden = _random(shape[0] * shape[1], 4).reshape(shape).astype(dtype)
            yield steps.down(hidden, scores, layer, x) - x
        case "head":
            logits, _, _ = steps.head(x, mx.ones((config.vocab_size,), dtype=mx.bool_), _key(5), mx.zeros((1,)))
            yield logits


def _draws_right(kernels: Steps, model: Transformer) -> bool:
    """Whether what is drawn is the best of the kernel's own logits, with noise and without, among what is allowed."""
    ids = mx.arange(model.config.vocab_size, dtype=mx.uint32)
    for number, coldness in enumerate((0.0, 1.0, 0.5)):
        x, key, allowed = _random(model.config.hidden_size, 10 + number), _key(20 + number), ids % 3 != 0
        logits, drawn, logprob = kernels.head(x, allowed, key, mx.array([coldness]))
        scores = mx.where(allowed, logits, -mx.inf)
        scores = scores * coldness + gumbel(ids, key) if coldness else scores
        wanted = logits[drawn] - mx.logsumexp(logits)
        if not mx.allclose(scores[drawn], scores.max(), atol=1e-4) or not mx.allclose(logprob, wanted, atol=1e-3):
            return False
    return True


def _error(got: mx.array, wanted: mx.array) -> float:
    """The norm of the difference, of the norm of what is wanted. Not a number where `got` has one that is not."""
    difference = (got.astype(mx.float32) - wanted.astype(mx.float32)).flatten()
    return float((mx.linalg.norm(difference) / mx.linalg.norm(wanted.astype(mx.float32).flatten())).item())


def _random(size: int, seed: int) -> mx.array:
    return mx.random.normal((size,), key=mx.random.key(seed))


def _key(seed: int) -> mx.array:
    return mx.random.key(seed)
