"""Checkpoints of random weights in the exact shapes of a model, for tests and benchmarks."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import TYPE_CHECKING

from gptoss_tui.engine.checkpoint.reader import Checkpoint
from gptoss_tui.engine.checkpoint.tensors import TensorSpec, tensor_table
from gptoss_tui.engine.checkpoint.writer import ReportBytes, write_checkpoint
from gptoss_tui.engine.config import GPT_OSS_20B, GPT_OSS_120B, Layout, ModelConfig
from gptoss_tui.engine.types import RANDOM_PREFIX
from gptoss_tui.errors import CheckpointError

if TYPE_CHECKING:
    import torch

    from gptoss_tui.engine.checkpoint.reader import Raw

RANDOM_SHAPES = {"gpt-oss-20b": GPT_OSS_20B, "gpt-oss-120b": GPT_OSS_120B}

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

    The weights depend only on the seed and the tensor's canonical name, so both layouts hold the same model, and one
    with fewer layers holds the first layers of the other. Magnitudes resemble those of a trained model: activations of
    order 1 through all layers, logits of standard deviation 2.5, a spread router, sinks that matter.
    Raises CheckpointError like `write_checkpoint`.
    """
    table = tensor_table(config)

    def read(name: str) -> torch.Tensor:
        return random_tensor(name, table[name], seed)

    write_checkpoint(directory, config, read, layout, max_shard_bytes=max_shard_bytes, on_progress=on_progress)


class RandomCheckpoint(Checkpoint):
    """A model of random weights without files: each is made when read, on a GPU if there is one. For benchmarks."""

    def __init__(self, name: str, config: ModelConfig, seed: int = 0) -> None:
        super().__init__(Path(RANDOM_PREFIX + name), config, "original", {})
        self._table, self._seed = tensor_table(config), seed

    def read(self, name: str) -> torch.Tensor:
        """The canonical tensor `name`; raises KeyError for an unknown name."""
        import torch

        return random_tensor(name, self._table[name], self._seed, "cuda" if torch.cuda.is_available() else "cpu")

    def raw(self, name: str) -> Raw:
        """Like `read`, but always made on the CPU and returned as a numpy array."""
        import torch

        tensor = random_tensor(name, self._table[name], self._seed)
        found: Raw = (tensor if tensor.dtype == torch.uint8 else tensor.view(torch.uint16)).numpy()
        return found


def random_model(name: str) -> RandomCheckpoint:
    """The model for `random:NAME`, with the shape of the published model NAME. Raises CheckpointError."""
    shape = name.removeprefix(RANDOM_PREFIX)
    if shape not in RANDOM_SHAPES:
        raise CheckpointError(f"There is no shape {shape!r}", hint=f"known shapes: {', '.join(RANDOM_SHAPES)}")
    return RandomCheckpoint(shape, RANDOM_SHAPES[shape])


def random_tensor(name: str, spec: TensorSpec, seed: int, device: str = "cpu") -> torch.Tensor:
    """The random tensor for the canonical name `name`. Different kinds of devices draw different numbers."""
    import torch

    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    generator = torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "little", signed=True))
    if name.endswith(".blocks"):
        words = torch.empty(math.prod(spec.shape) // 8, dtype=torch.int64, device=device)
        return words.random_(-(2**63), None, generator=generator).view(torch.uint8).view(spec.shape)
    if name.endswith(".scales"):
        exponent = round(math.log2(1 / (math.sqrt(32 * spec.shape[-1]) * _NIBBLE_STD)))
        return torch.randint(
            126 + exponent, 129 + exponent, spec.shape, dtype=torch.uint8, generator=generator, device=device
        )
    mean, std = _normal(name, spec)
    return torch.empty(spec.shape, dtype=torch.bfloat16, device=device).normal_(mean, std, generator=generator)


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
