"""Measures decode steps on a model of random weights, for `gptoss-tui doctor` and benchmarks/metal.py."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import mlx.core as mx

from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.metal.decode import Decoder
from gptoss_tui.engine.metal.device import on_gpu
from gptoss_tui.engine.metal.kernels import NAMES
from gptoss_tui.engine.metal.kernels.source import launch_metal
from gptoss_tui.engine.metal.kv_cache import KVCache
from gptoss_tui.engine.metal.model import Transformer
from gptoss_tui.engine.metal.steps import Fused, Twins, routed
from gptoss_tui.engine.metal.weights import LayerWeights
from gptoss_tui.engine.planning.probe import measure_bandwidth

CONTEXT = 64
AT_ONCE = 8
"""Tokens between two waits for the GPU: enough that waiting does not affect the result."""


def speed(model: Transformer, fused: frozenset[str], runs: int = 5) -> dict[str, float]:
    """The bytes per second that the GPU can read, and what fraction of that a token's layers and its logits reach.

    The steps in `fused` use our own kernels.
    """
    decoder = Decoder(model, Fused(model, launch_metal) if on_gpu() else None, fused if on_gpu() else frozenset())
    config, bandwidth = model.config, measure_bandwidth("metal")
    layers = sum(read_bytes(name, config) for name in NAMES if name != "head") * config.num_hidden_layers
    run = calls("head", decoder, model)
    return {
        "bandwidth": bandwidth,
        "layers": layers / best_seconds(tokens(decoder, model), runs) / bandwidth,
        "head": read_bytes("head", config) / best_seconds(lambda: [run()[0] for _ in range(AT_ONCE)], runs) / bandwidth,
    }


def tokens(decoder: Decoder, model: Transformer) -> Callable[[], Sequence[mx.array]]:
    """A function that runs `AT_ONCE` tokens through all layers, one after the other."""
    cache = KVCache(model.config, CONTEXT, 1, model.weights.dtype)
    cache.reserve(1)

    def run() -> Sequence[mx.array]:
        id, made = mx.array([5]), list[mx.array]()
        for _ in range(AT_ONCE):
            made.append(decoder.hidden(id, cache))
            # Tokens that did not depend on each other would find the weights in the chip's cache.
            (id,) = mx.depends([id], [made[-1]])
        return made

    return run


def calls(name: str, steps: Any, model: Transformer) -> Callable[[], list[Any]]:
    """A function that runs a step of `steps` once in each layer; the head, which a `Decoder` has too, only once."""
    config, layers, dtype = model.config, model.weights.layers, model.weights.dtype
    x, mixed = mx.random.normal((config.hidden_size,)), mx.random.normal((config.query_width,)).astype(dtype)
    given = routed(x, layers[0], dtype)
    active = Twins(model).gate_up(given, layers[0])
    everything, key, greedy = mx.ones((config.vocab_size,), dtype=mx.bool_), mx.random.key(0), mx.array([0.0])
    mx.eval(mixed, given.x, given.t, given.parts, given.squares, active.hidden, active.chosen, active.shares)
    mx.eval(everything, key, greedy)

    def gate_up(layer: LayerWeights) -> tuple[mx.array, ...]:
        made = steps.gate_up(given, layer)
        return made.hidden, made.chosen, made.shares

    runs: dict[str, Callable[[LayerWeights], Any]] = {
        "qkv": lambda layer: steps.qkv(x, layer, 7),
        # The other results are by-products of the kernel that MLX's operations do not need.
        "output": lambda layer: steps.output(mixed, layer, x).x,
        "gate_up": gate_up,
        "down": lambda layer: steps.down(active, layer, x),
        "head": lambda layer: steps.head(x, everything, key, greedy),
    }
    return lambda: [runs[name](layer) for layer in (layers if name != "head" else layers[:1])]


def best_seconds(run: Callable[[], Sequence[Any]], runs: int) -> float:
    """The best time per call of those that `run` makes, in seconds."""
    mx.eval(run())
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        made = run()
        mx.eval(made)
        seconds.append((time.perf_counter() - started) / len(made))
    return min(seconds)


def read_bytes(name: str, config: ModelConfig) -> int:
    """Bytes of weights that a step reads."""
    hidden, inter, experts = config.hidden_size, config.intermediate_size, config.experts_per_token
    return {
        "qkv": 2 * config.qkv_width * hidden,
        "output": 2 * config.query_width * hidden + 4 * config.num_experts * hidden,
        "gate_up": experts * 2 * inter * hidden * 17 // 32,
        "down": experts * inter * hidden * 17 // 32,
        "head": 2 * config.vocab_size * hidden,
    }[name]
