"""The weights on the device: dense tensors in the model's dtype or 8 bits, experts repacked into tiles of MXFP4."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gptoss_tui.engine.checkpoint import layers
from gptoss_tui.engine.checkpoint.reader import ReadTensor
from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.torch.weights import TensorReader
from gptoss_tui.engine.triton.dense import Matrix, to_eight_bits
from gptoss_tui.engine.triton.kernels.mxfp4 import Tiles, to_tiles

LayerWeights = layers.LayerWeights[Tensor, Matrix, Tiles]
"""One layer (shapes: checkpoint/layers.py). Norm scales are float32, the rest has the model's dtype or 8 bits."""


@dataclass(frozen=True, slots=True)
class ModelWeights:
    """All weights, on one device."""

    embedding: Tensor  # [V, H]
    layers: tuple[LayerWeights, ...]
    norm: Tensor  # [H]
    unembedding: Matrix  # [V, H]

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the activations, the dense weights and the cache."""
        return self.embedding.dtype

    @property
    def device(self) -> torch.device:
        """The device of all weights."""
        return self.embedding.device

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return self.embedding.nbytes + self.norm.nbytes + self.unembedding.nbytes + sum(x.nbytes for x in self.layers)


def load_weights(
    read: ReadTensor,
    config: ModelConfig,
    dtype: torch.dtype,
    device: torch.device,
    on_read: Callable[[int], None] = lambda nbytes: None,
    *,
    eight_bit: bool = False,
) -> ModelWeights:
    """Read every tensor to `device`; after each, `on_read` is called with its size in the checkpoint, in bytes.

    `eight_bit` quantizes attention's projections and the unembedding. Raises CheckpointError as `to_tiles` does, and
    EngineError as `to_eight_bits` does.
    """
    reader = _Reader(read, dtype, device, on_read, eight_bit)
    return ModelWeights(
        embedding=reader.dense("embedding.weight"),
        layers=tuple(reader.layer(index) for index in range(config.num_hidden_layers)),
        norm=reader.precise("norm.scale"),
        unembedding=reader.matrix("unembedding.weight"),
    )


@dataclass(frozen=True, slots=True)
class _Reader(TensorReader[Matrix, Tiles]):
    """Converts what it reads to the form that the kernels expect."""

    eight_bit: bool

    def matrix(self, name: str) -> Matrix:
        return to_eight_bits(self.dense(name)) if self.eight_bit else self.dense(name)

    def experts(self, name: str) -> Tiles:
        blocks, scales = (self.stored(f"{name}_weight.{part}") for part in ("blocks", "scales"))
        return to_tiles(blocks, scales, self.dense(f"{name}_bias"))
