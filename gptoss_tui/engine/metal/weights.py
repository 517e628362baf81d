"""The weights as MLX arrays: dense ones in the model's dtype, experts as the packed bytes of the checkpoint.

MLX's MXFP4 format is the checkpoint's: the lowest four bits of a 32-bit word are its first element; scales are E8M0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import mlx.core as mx
import numpy as np

from gptoss_tui.engine.config import ModelConfig

if TYPE_CHECKING:
    from gptoss_tui.engine.checkpoint.reader import Raw

ReadRaw = Callable[[str], "Raw"]
"""Returns the raw bits of the tensor with a canonical name, as `Checkpoint.raw` does."""


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


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """The weights of one layer. Norm scales, sinks and the router are float32, the rest has the model's dtype."""

    attn_norm: mx.array  # [H]
    qkv_weight: mx.array  # [(Q + 2 K) * D, H]
    qkv_bias: mx.array
    sinks: mx.array  # [Q]
    out_weight: mx.array  # [H, Q * D]
    out_bias: mx.array
    mlp_norm: mx.array  # [H]
    gate_weight: mx.array  # [E, H]
    gate_bias: mx.array
    mlp1: Experts  # H to 2 I, gate and linear rows alternating
    mlp2: Experts  # I to H

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(int(getattr(self, field.name).nbytes) for field in fields(self))


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

    def load(name: str, to: mx.Dtype) -> mx.array:
        raw = read(name)
        stored = mx.array(np.asarray(raw))
        tensor = stored if to == mx.uint8 else stored.view(mx.bfloat16).astype(to)
        mx.eval(tensor)
        on_read(raw.nbytes)
        return tensor

    def experts(name: str) -> Experts:
        blocks = load(f"{name}_weight.blocks", mx.uint8)
        words = blocks.reshape(*blocks.shape[:2], -1).view(mx.uint32)
        mx.eval(words)  # a view of the same bytes; evaluated now, so that nothing is left for the thread that answers
        return Experts(words, load(f"{name}_weight.scales", mx.uint8), load(f"{name}_bias", dtype))

    def layer(index: int) -> LayerWeights:
        attn, mlp = f"block.{index}.attn", f"block.{index}.mlp"
        return LayerWeights(
            attn_norm=load(f"{attn}.norm.scale", mx.float32),
            qkv_weight=load(f"{attn}.qkv.weight", dtype),
            qkv_bias=load(f"{attn}.qkv.bias", dtype),
            sinks=load(f"{attn}.sinks", mx.float32),
            out_weight=load(f"{attn}.out.weight", dtype),
            out_bias=load(f"{attn}.out.bias", dtype),
            mlp_norm=load(f"{mlp}.norm.scale", mx.float32),
            gate_weight=load(f"{mlp}.gate.weight", mx.float32),
            gate_bias=load(f"{mlp}.gate.bias", mx.float32),
            mlp1=experts(f"{mlp}.mlp1"),
            mlp2=experts(f"{mlp}.mlp2"),
        )

    return ModelWeights(
        embedding=load("embedding.weight", mx.bfloat16),
        layers=tuple(layer(index) for index in range(config.num_hidden_layers)),
        norm=load("norm.scale", mx.float32),
        unembedding=load("unembedding.weight", dtype),
    )
