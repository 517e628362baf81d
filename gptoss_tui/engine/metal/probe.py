"""Which kernels compute right on this Mac, as one JSON object on stdout: `python -m gptoss_tui.engine.metal.probe`.

Without a checkpoint: a layer of random weights in the shapes of gpt-oss-20b. A front runs it in a process of its own
(`run_probe`): a compiler of kernels may crash.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gptoss_tui.engine.checkpoint.tensors import tensor_table
from gptoss_tui.engine.config import GPT_OSS_20B, ModelConfig
from gptoss_tui.errors import EngineError

if TYPE_CHECKING:
    import mlx.core as mx

    from gptoss_tui.engine.checkpoint.reader import Raw
    from gptoss_tui.engine.metal.kernels.source import Launcher
    from gptoss_tui.engine.metal.model import Transformer

SHAPE = replace(GPT_OSS_20B, num_hidden_layers=1, vocab_size=20_000)
"""One layer, and as much of the vocabulary as shows whether all threadgroups agree."""

_SECONDS = 120


def run_probe() -> dict[str, bool] | str:
    """What `kernels` says, from another process; a line of text when it fails."""
    command = [sys.executable, "-P", "-m", "gptoss_tui.engine.metal.probe"]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        return lines[-1] if lines else f"exit code {done.returncode}"
    found: dict[str, bool] = json.loads(done.stdout.splitlines()[-1])
    return found


def kernels(launch: Launcher, config: ModelConfig = SHAPE) -> dict[str, bool]:
    """For each step of decode, whether its kernels compute what MLX does, in both dtypes."""
    import mlx.core as mx

    from gptoss_tui.engine.metal.selftest import is_right
    from gptoss_tui.engine.metal.steps import NAMES, Fused, Twins

    right = dict.fromkeys(NAMES, True)
    for dtype in (mx.bfloat16, mx.float32):
        model = random_model(config, dtype)
        fused, twins = Fused(model, launch), Twins(model)
        right = {name: so_far and is_right(name, fused, twins, model) for name, so_far in right.items()}
    return right


def random_model(config: ModelConfig, dtype: mx.Dtype) -> Transformer:
    """A model of random weights, with activations of order 1."""
    from gptoss_tui.engine.metal.model import Transformer
    from gptoss_tui.engine.metal.weights import load_weights

    return Transformer(config, load_weights(_random_weights(config), config, dtype), context=64)


def _random_weights(config: ModelConfig) -> Callable[[str], Raw]:
    table, generator = tensor_table(config), np.random.default_rng(0)

    def read(name: str) -> Raw:
        spec = table[name]
        if name.endswith(".blocks"):
            return generator.integers(0, 256, size=spec.shape, dtype=np.uint8)
        if name.endswith(".scales"):
            return generator.integers(118, 121, size=spec.shape, dtype=np.uint8)
        values = generator.standard_normal(spec.shape, dtype=np.float32) * np.float32(spec.shape[-1] ** -0.5)
        values += np.float32(name.endswith("norm.scale"))
        # bfloat16 is the upper half of float32.
        return (values.view(np.uint32) >> 16).astype(np.uint16)

    return read


def main() -> None:
    """Print the findings. Where there is no GPU, what is missing is on stderr."""
    from gptoss_tui.engine.metal.device import prepare

    try:
        prepare()
    except EngineError as error:
        raise SystemExit(error.message) from None
    from gptoss_tui.engine.metal.kernels.source import launch_metal

    print(json.dumps(kernels(launch_metal)))


if __name__ == "__main__":
    main()
