"""Checkpoints of random weights: the exact shapes of a model, for tests and benchmarks."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import TYPE_CHECKING

from gptoss_tui.engine.checkpoint.tensors import TensorSpec, tensor_table
from gptoss_tui.engine.checkpoint.writer import ReportBytes, write_checkpoint
from gptoss_tui.engine.config import Layout, ModelConfig

if TYPE_CHECKING:
    import torch

# Standard deviation of a uniformly random MXFP4 nibble before its scale: sqrt(68.5 / 8).
_NIBBLE_STD = 2.926


def random_checkpoint(
    config: ModelConfig,
    directory: Path,
    layout: Layout = "original",
    seed: int = 0,
    *,
    max_shard_bytes: int | None = None,
    on_progress: ReportBytes | None = None,
) -> None:
    """Write a checkpoint of `config` with random weights to `directory`, one tensor in memory at a time.

    The weights follow from the seed and the tensor's canonical name alone, so both layouts hold the same model, and
    one with fewer layers holds the first layers of the other. Scales are those of a trained model in kind: activations
    of order 1 through all layers, logits of standard deviation 2.5, a spread router, sinks that matter.
    Raises CheckpointError as `write_checkpoint` does.
    """
    table = tensor_table(config)

    def read(name: str) -> torch.Tensor:
        return random_tensor(name, table[name], seed)

    write_checkpoint(directory, config, read, layout, max_shard_bytes=max_shard_bytes, on_progress=on_progress)


def random_tensor(name: str, spec: TensorSpec, seed: int) -> torch.Tensor:
    """The random tensor of the canonical name `name`, on the CPU."""
    import torch

    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little", signed=True))
    if name.endswith(".blocks"):
        words = torch.empty(math.prod(spec.shape) // 8, dtype=torch.int64)
        return words.random_(-(2**63), None, generator=generator).view(torch.uint8).view(spec.shape)
    if name.endswith(".scales"):
        exponent = round(math.log2(1 / (math.sqrt(32 * spec.shape[-1]) * _NIBBLE_STD)))
        return torch.randint(126 + exponent, 129 + exponent, spec.shape, dtype=torch.uint8, generator=generator)
    mean, std = _normal(name, spec)
    return torch.empty(spec.shape, dtype=torch.bfloat16).normal_(mean, std, generator=generator)


def _normal(name: str, spec: TensorSpec) -> tuple[float, float]:
    """Mean and standard deviation of the BF16 tensor `name`."""
    if name == "embedding.weight":
        return 0.0, 1.0
    if name.endswith("norm.scale"):
        return 1.0, 0.1
    if name.endswith("bias"):
        return 0.0, 0.1
    if name.endswith("sinks"):
        return 0.0, 1.0
    gain = {"unembedding.weight": 2.5, "gate.weight": 2.0}
    return 0.0, next((value for key, value in gain.items() if name.endswith(key)), 1.0) / math.sqrt(spec.shape[-1])
