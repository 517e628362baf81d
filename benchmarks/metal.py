"""Measure the Metal engine's kernels on a Mac, step by step, against MLX's own operations.

    python benchmarks/metal.py [--layers 8] [--experts 32] [--runs 10]

The weights are random, with the shapes of gpt-oss-20b: no checkpoint is needed, but 0.5 GB of memory per layer and 2.3
GB for the vocabulary. Steps go from layer to layer, so that no cache holds the weights; the best of the runs counts.
`--experts 128` gives the shapes of gpt-oss-120b (1.8 GB per layer).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace

import mlx.core as mx

from gptoss_tui.engine.config import GPT_OSS_20B, ModelConfig
from gptoss_tui.engine.metal.decode import Decoder
from gptoss_tui.engine.metal.device import measured_chip, mlx_version, on_gpu, prepare
from gptoss_tui.engine.metal.kernels import NAMES
from gptoss_tui.engine.metal.kernels.source import launch_metal
from gptoss_tui.engine.metal.model import Transformer
from gptoss_tui.engine.metal.probe import random_model
from gptoss_tui.engine.metal.steps import Fused, Steps, Twins
from gptoss_tui.engine.metal.timing import best_seconds, calls, read_bytes, tokens


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
    chip = measured_chip()
    print(f"{chip.describe() if chip else device}, MLX {mlx_version()}")
    config = replace(GPT_OSS_20B, num_hidden_layers=args.layers, num_experts=args.experts)
    if args.tiny:
        config = replace(config, hidden_size=64, intermediate_size=64, vocab_size=1000)
    measure(config, args.runs)


def measure(config: ModelConfig, runs: int) -> None:
    """Print a line for each step, and one for whole tokens."""
    model = random_model(config, mx.bfloat16)
    decoders = [Decoder(model)]
    if on_gpu():
        decoders.append(Decoder(model, Fused(model, launch_metal), frozenset(NAMES)))
    print(f"{'step':>8} {'MB':>8} {'MLX':>12} {'GB/s':>8} {'ours':>12} {'GB/s':>8}")
    for name in NAMES:
        steps: list[Steps] = [Twins(model), *(Fused(model, launch_metal) for _ in decoders[1:])]
        seconds = [best_seconds(calls(name, each, model), runs) for each in steps]
        _row(name, read_bytes(name, config), seconds)
    nbytes = sum(read_bytes(name, config) for name in NAMES if name != "head") * config.num_hidden_layers
    _row("layers", nbytes, [best_seconds(tokens(decoder, model), runs) for decoder in decoders])
    # While the GPU runs one token, the host prepares the next one, which must take it less time than that.
    print(f"{'host':>8} {'-':>8} " + " ".join(_timed(host_seconds(decoder, model, runs), 0) for decoder in decoders))


def host_seconds(decoder: Decoder, model: Transformer, runs: int) -> float:
    """Return the seconds that the CPU takes to build the graph of one token through all layers."""
    make, seconds = tokens(decoder, model), []
    for _ in range(runs):
        started = time.perf_counter()
        made = make()
        seconds.append((time.perf_counter() - started) / len(made))
        mx.eval(made)
    return min(seconds)


def _row(name: str, nbytes: int, seconds: Sequence[float]) -> None:
    print(f"{name:>8} {nbytes / 1e6:>8.1f} " + " ".join(_timed(each, nbytes) for each in seconds))


def _timed(seconds: float, nbytes: int) -> str:
    rate = f"{nbytes / seconds / 1e9:>8.1f}" if nbytes else f"{'-':>8}"
    return f"{seconds * 1e6:>9.0f} us {rate}"


if __name__ == "__main__":
    main()
