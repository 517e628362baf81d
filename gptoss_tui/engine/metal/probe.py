"""Tries kernels, as lines of JSON on stdout: `python -m gptoss_tui.engine.metal.probe --config JSON [--speed] NAME...`.

Without a checkpoint: a layer of random weights in the shapes of a model. It runs in a process of its own
(`verdicts.py`), which a kernel may end: what was found is said at once. After the first refusal nothing more is tried
here, as it may have left the device in disorder.
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
"""As many rows as make each thread of `draw` go round twice, and no full threadgroup at the end of `unembed`."""

SPEED_LAYERS = 3
"""So many that no cache of a chip holds them."""


def verdicts(
    launch: Launcher, config: ModelConfig, dtype: mx.Dtype, names: Sequence[str] = NAMES
) -> Iterator[tuple[str, str | None]]:
    """For steps of decode, why their kernels are refused: None where they compute what MLX does."""
    from gptoss_tui.engine.metal.selftest import refusal
    from gptoss_tui.engine.metal.steps import Fused, Twins

    model = random_model(small(config), dtype)
    fused, twins = Fused(model, launch), Twins(model)
    for name in names:
        yield name, refusal(name, fused, twins, model)


def small(config: ModelConfig, layers: int = 1) -> ModelConfig:
    """The shape with a few layers, and as much of the vocabulary as shows whether all threadgroups agree."""
    return replace(config, num_hidden_layers=layers, vocab_size=min(VOCABULARY, config.vocab_size))


def random_model(config: ModelConfig, dtype: mx.Dtype, context: int = 64) -> Transformer:
    """A model of random weights, with activations of order 1."""
    from gptoss_tui.engine.metal.model import Transformer
    from gptoss_tui.engine.metal.weights import load_weights

    return Transformer(config, load_weights(_random_weights(config), config, dtype), context)


def _random_weights(config: ModelConfig) -> Callable[[str], Raw]:
    table, generator = tensor_table(config), np.random.default_rng(0)
    # A prime number of values, over and over from different places: no two rows are the same.
    noise = generator.standard_normal(1_000_003, dtype=np.float32)

    def read(name: str) -> Raw:
        spec = table[name]
        if name.endswith(".blocks"):
            return generator.integers(0, 256, size=spec.shape, dtype=np.uint8)
        if name.endswith(".scales"):
            return generator.integers(118, 121, size=spec.shape, dtype=np.uint8)
        # Biases of order 1 show when one of them is left out.
        factor = 1.0 if name.endswith("bias") else spec.shape[-1] ** -0.5
        values = np.roll(noise, int(generator.integers(len(noise)))) * np.float32(factor)
        values += np.float32(name.endswith("norm.scale"))
        # bfloat16 is the upper half of float32.
        return np.resize((values.view(np.uint32) >> 16).astype(np.uint16), spec.shape)

    return read


def main() -> None:
    """Print the findings, and what is wrong with this machine on stderr."""
    parser = argparse.ArgumentParser(prog="python -m gptoss_tui.engine.metal.probe")
    parser.add_argument("--config", type=json.loads, default=None, help="fields of a model's shape")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--speed", action="store_true", help="measure the kernels named instead of trying them")
    parser.add_argument("names", nargs="*", help="steps")
    args = parser.parse_args()
    # Whoever started this may be gone when it hangs.
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
