"""Speed of the Metal engine's kernels on a Mac, step by step, beside MLX's own operations.

    python benchmarks/metal.py [--layers 8] [--experts 32] [--runs 10]

The weights are random, in the shapes of gpt-oss-20b: no checkpoint is needed, but 0.5 GB of memory a layer and 2.3 GB
for the vocabulary. Steps go from layer to layer, so that no cache holds the weights; the best of the runs counts.
`--experts 128` has the shapes of gpt-oss-120b (1.8 GB a layer).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from gptoss_tui.engine.config import GPT_OSS_20B, ModelConfig
from gptoss_tui.engine.metal.apple import read_chip
from gptoss_tui.engine.metal.device import mlx_version, prepare
from gptoss_tui.engine.metal.probe import random_model

CONTEXT = 64


def main() -> None:
    """Parse, make a model, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--experts", type=int, default=GPT_OSS_20B.num_experts)
    parser.add_argument("--runs", type=int, default=10, help="of each measurement; the best counts")
    parser.add_argument(
        "--tiny", action="store_true", help="a model so small that it says nothing, to try this program"
    )
    args = parser.parse_args()
    device = prepare()
    chip = read_chip()
    print(f"{chip.describe() if chip else device}, MLX {mlx_version()}")
    config = replace(GPT_OSS_20B, num_hidden_layers=args.layers, num_experts=args.experts)
    if args.tiny:
        config = replace(config, hidden_size=64, intermediate_size=64, vocab_size=1000)
    measure(config, args.runs)


def measure(config: ModelConfig, runs: int) -> None:
    """Print a line for each step, and one for whole tokens."""
    import mlx.core as mx

    from gptoss_tui.engine.metal.kernels.source import launch_metal
    from gptoss_tui.engine.metal.steps import NAMES, Fused, Twins

    model = random_model(config, mx.bfloat16)
    twins, fused = Twins(model), Fused(model, launch_metal) if mx.metal.is_available() else None
    print(f"{'step':>8} {'MB':>8} {'MLX':>12} {'GB/s':>8} {'ours':>12} {'GB/s':>8}")
    for name in NAMES:
        nbytes = read_bytes(name, config)
        columns = []
        for steps in (twins, fused):
            seconds = None if steps is None else best_seconds(calls(name, steps, model), runs)
            columns.append(_timed(seconds, nbytes))
        print(f"{name:>8} {nbytes / 1e6:>8.1f} {' '.join(columns)}")
    nbytes = sum(read_bytes(name, config) * (1 if name == "head" else config.num_hidden_layers) for name in NAMES)
    columns = [_timed(None if steps is None else token_seconds(steps, model, runs), nbytes) for steps in (twins, fused)]
    print(f"{'token':>8} {nbytes / 1e6:>8.1f} {' '.join(columns)}")


def token_seconds(steps: Any, model: Any, runs: int) -> float:
    """Of one token through all layers and the head, with what is between the steps."""
    import mlx.core as mx

    from gptoss_tui.engine.metal.decode import Decoder
    from gptoss_tui.engine.metal.kv_cache import KVCache
    from gptoss_tui.engine.metal.steps import NAMES, Fused

    decoder = Decoder(model, steps, frozenset(NAMES)) if isinstance(steps, Fused) else Decoder(model)
    cache = KVCache(model.config, CONTEXT, 1, mx.bfloat16)
    cache.reserve(1)
    id, key, greedy = mx.array([5]), mx.random.key(0), mx.array([0.0])
    everything = mx.ones((model.config.vocab_size,), dtype=mx.bool_)
    return best_seconds(lambda: [decoder.head(decoder.hidden(id, cache), everything, key, greedy)[1]], runs)


def calls(name: str, steps: Any, model: Any) -> Callable[[], Sequence[Any]]:
    """A function that runs a step once in each layer (the head once); the result is to be divided by that."""
    import mlx.core as mx

    config, layers = model.config, model.weights.layers
    x, scores = mx.random.normal((config.hidden_size,)), mx.random.normal((config.num_experts,))
    t, mixed = x.astype(mx.bfloat16), mx.random.normal((config.query_width,)).astype(mx.bfloat16)
    hidden = mx.random.normal((config.experts_per_token, config.intermediate_size)).astype(mx.bfloat16)
    everything, key, greedy = mx.ones((config.vocab_size,), dtype=mx.bool_), mx.random.key(0), mx.array([0.0])
    mx.eval(x, scores, t, mixed, hidden, everything, key, greedy)
    one: dict[str, Callable[[Any], Any]] = {
        "qkv": lambda layer: steps.qkv(x, layer, 7),
        "output": lambda layer: steps.output(mixed, layer, x),
        "router": lambda layer: steps.router(x, layer),
        "gate_up": lambda layer: steps.gate_up(t, scores, layer),
        "down": lambda layer: steps.down(hidden, scores, layer, x),
        "head": lambda layer: steps.head(x, everything, key, greedy),
    }
    return lambda: [one[name](layer) for layer in (layers if name != "head" else layers[:1])]


def best_seconds(run: Callable[[], Sequence[Any]], runs: int) -> float:
    """Of one of the calls that `run` makes."""
    import mlx.core as mx

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
        "output": 2 * config.query_width * hidden,
        "router": 4 * config.num_experts * hidden,
        "gate_up": experts * 2 * inter * hidden * 17 // 32,
        "down": experts * inter * hidden * 17 // 32,
        "head": 2 * config.vocab_size * hidden,
    }[name]


def _timed(seconds: float | None, nbytes: int) -> str:
    if seconds is None:
        return f"{'-':>12} {'-':>8}"
    return f"{seconds * 1e6:>9.0f} us {nbytes / seconds / 1e9:>8.1f}"


if __name__ == "__main__":
    main()
