"""Tries kernels and reports as JSON lines: `python -m gptoss_tui.engine.metal.probe --config JSON [--speed] NAME...`.

It needs no checkpoint, but uses a layer of random weights in the shapes of a model. It runs in a separate process
(`verdicts.py`) because a kernel may crash it, so each result is printed at once. After the first refusal no more
kernels are tried in this process, since that one may have left the device in a bad state.
"""

from __future__ import annotations

import argparse
import json
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gptoss_tui.engine.checkpoint.tensors import tensor_table
from gptoss_tui.engine.config import GPT_OSS_20B, ModelConfig
from gptoss_tui.engine.metal.kernels import NAMES
from gptoss_tui.engine.metal.verdicts import SECONDS
from gptoss_tui.errors import EngineError

if TYPE_CHECKING:
    import mlx.core as mx

    from gptoss_tui.engine.checkpoint.reader import Raw
    from gptoss_tui.engine.metal.kernels.source import Launcher
    from gptoss_tui.engine.metal.model import Transformer

VOCABULARY = 70_001
"""Enough rows for each thread of `draw` to loop twice, and not a multiple of what a threadgroup of `unembed` takes."""

SPEED_LAYERS = 3
"""Enough that no chip's cache holds them all."""


def verdicts(
    launch: Launcher, config: ModelConfig, dtype: mx.Dtype, names: Sequence[str] = NAMES
) -> Iterator[tuple[str, str | None]]:
    """For each step in `names`, yield why its kernels are refused, or None if they compute the same as MLX."""
    from gptoss_tui.engine.metal.selftest import refusal
    from gptoss_tui.engine.metal.steps import Fused, Twins

    model = random_model(small(config), dtype)
    fused, twins = Fused(model, launch), Twins(model)
    for name in names:
        yield name, refusal(name, fused, twins, model)


def small(config: ModelConfig, layers: int = 1) -> ModelConfig:
    """The same shape with fewer layers, and just enough of the vocabulary to test how threadgroups combine."""
    return replace(config, num_hidden_layers=layers, vocab_size=min(VOCABULARY, config.vocab_size))


def random_model(config: ModelConfig, dtype: mx.Dtype, context: int = 64) -> Transformer:
    """A model with random weights, whose activations are of order 1."""
    from gptoss_tui.engine.metal.model import Transformer
    from gptoss_tui.engine.metal.weights import load_weights

    return Transformer(config, load_weights(_random_weights(config), config, dtype), context)


def _random_weights(config: ModelConfig) -> Callable[[str], Raw]:
    table, generator = tensor_table(config), np.random.default_rng(0)
    # A prime number of values, repeated from different places, so that no two rows are the same.
    noise = generator.standard_normal(1_000_003, dtype=np.float32)

    def read(name: str) -> Raw:
        spec = table[name]
        if name.endswith(".blocks"):
            return generator.integers(0, 256, size=spec.shape, dtype=np.uint8)
        if name.endswith(".scales"):
            return generator.integers(118, 121, size=spec.shape, dtype=np.uint8)
        # Biases of order 1 make it show if one is left out.
        factor = 1.0 if name.endswith("bias") else spec.shape[-1] ** -0.5
        values = np.roll(noise, int(generator.integers(len(noise)))) * np.float32(factor)
        values += np.float32(name.endswith("norm.scale"))
        # bfloat16 is the upper half of float32.
        return np.resize((values.view(np.uint32) >> 16).astype(np.uint16), spec.shape)

    return read


def main() -> None:
    """Print the findings; if this machine cannot run the engine, say why on stderr."""
    parser = argparse.ArgumentParser(prog="python -m gptoss_tui.engine.metal.probe")
    parser.add_argument("--config", type=json.loads, default=None, help="fields of a model's shape")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--speed", action="store_true", help="measure the kernels named instead of trying them")
    parser.add_argument("names", nargs="*", help="steps")
    args = parser.parse_args()
    # The parent process may be gone when this one hangs.
    signal.alarm((len(args.names) + 1) * SECONDS)
    config = GPT_OSS_20B if args.config is None else ModelConfig(**args.config)
    from gptoss_tui.engine.metal.device import prepare

    try:
        _say({"ready": prepare()})
    except EngineError as error:
        raise SystemExit(error.message) from None
    import mlx.core as mx

    dtype = {"bfloat16": mx.bfloat16, "float32": mx.float32}[args.dtype]
    if args.speed:
        from gptoss_tui.engine.metal.timing import speed

        _say({"speed": speed(random_model(small(config, SPEED_LAYERS), dtype), frozenset(args.names))})
        return
    from gptoss_tui.engine.metal.kernels.source import launch_metal

    for name, reason in verdicts(launch_metal, config, dtype, args.names or NAMES):
        _say({"step": name, "refused": reason})
        if reason is not None:
            return


def _say(finding: dict[str, Any]) -> None:
    print(json.dumps(finding), flush=True)


if __name__ == "__main__":
    main()
