"""The weights as MLX arrays: dense ones in the model's dtype, experts as the packed bytes of the checkpoint.

MLX's MXFP4 format is the checkpoint's: the lowest four bits of a 32-bit word are its first element; scales are E8M0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from gptoss_tui.engine.checkpoint import layers
from gptoss_tui.engine.checkpoint.reader import ReadRaw
from gptoss_tui.engine.config import ModelConfig


@dataclass(frozen=True, slots=True)
class Experts:
    """One projection of all experts in a layer, in MXFP4."""

    words: mx.array  # uint32 [E, out, in / 8]
    scales: mx.array  # uint8 [E, out, in / 32]
    bias: mx.array  # [E, out] in the model's dtype

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return int(self.words.nbytes + self.scales.nbytes + self.bias.nbytes)


LayerWeights = layers.LayerWeights[mx.array, mx.array, Experts]
"""One layer (shapes: checkpoint/layers.py). Norms, sinks and router are float32, the rest has the model's dtype."""


@dataclass(frozen=True, slots=True)
class ModelWeights:
    """All weights. The embedding stays as stored (bfloat16): only looked-up rows are converted."""

    embedding: mx.array  # [V, H]
    layers: tuple[LayerWeights, ...]
    norm: mx.array  # float32 [H]
    unembedding: mx.array  # [V, H]

    @property
    def dtype(self) -> mx.Dtype:
        """The dtype of activations, dense weights and the cache."""
        return self.unembedding.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        top = (self.embedding, self.norm, self.unembedding)
        return sum(int(tensor.nbytes) for tensor in top) + sum(layer.nbytes for layer in self.layers)


def load_weights(
    read: ReadRaw, config: ModelConfig, dtype: mx.Dtype, on_read: Callable[[int], None] = lambda nbytes: None
) -> ModelWeights:
    """Copy every tensor to memory shared with the GPU; after each, `on_read` gets its size in the checkpoint."""
    reader = _Reader(read, dtype, on_read)
    return ModelWeights(
        embedding=reader.tensor("embedding.weight", mx.bfloat16),
        layers=tuple(reader.layer(index) for index in range(config.num_hidden_layers)),
        norm=reader.precise("norm.scale"),
        unembedding=reader.matrix("unembedding.weight"),
    )


@dataclass(frozen=True, slots=True)
class _Reader(layers.LayerReader[mx.array, mx.array, Experts]):
    """Copies the tensors of a checkpoint. Each is evaluated at once: nothing is left for the thread that answers."""

    read: ReadRaw
    dtype: mx.Dtype
    on_read: Callable[[int], None]

    def precise(self, name: str) -> mx.array:
        return self.tensor(name, mx.float32)

    def dense(self, name: str) -> mx.array:
        return self.tensor(name, self.dtype)

    def matrix(self, name: str) -> mx.array:
        return self.dense(name)

    def scoring(self, name: str) -> mx.array:
        return self.precise(name)

    def experts(self, name: str) -> Experts:
        blocks = self.tensor(f"{name}_weight.blocks", mx.uint8)
        words = blocks.reshape(*blocks.shape[:2], -1).view(mx.uint32)
        mx.eval(words)
        return Experts(words, self.tensor(f"{name}_weight.scales", mx.uint8), self.dense(f"{name}_bias"))

    def tensor(self, name: str, dtype: mx.Dtype) -> mx.array:
        """Bytes as they are stored (uint8), or bfloat16 converted to `dtype`."""
        raw = self.read(name)
        stored = mx.array(np.asarray(raw))
        tensor = stored if dtype == mx.uint8 else stored.view(mx.bfloat16).astype(dtype)
        mx.eval(tensor)
        self.on_read(raw.nbytes)
        return tensor
