"""The weights on the device: dense tensors in the model's dtype or 8 bits, experts as MXFP4 tiles, repacked at load."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.triton.dense import Matrix, to_eight_bits
from gptoss_tui.engine.triton.kernels.mxfp4 import Tiles, to_tiles

ReadTensor = Callable[[str], Tensor]
"""Gives the tensor of a canonical name, as `Checkpoint.read` does."""


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """One layer. Norm scales are float32, the rest is in the model's dtype."""

    attn_norm: Tensor  # [H]
    qkv_weight: Matrix  # [(Q + 2 K) * D, H]
    qkv_bias: Tensor
    sinks: Tensor  # [Q]
    out_weight: Matrix  # [H, Q * D]
    out_bias: Tensor
    mlp_norm: Tensor  # [H]
    gate_weight: Tensor  # [E, H]
    gate_bias: Tensor
    mlp1: Tiles  # H to 2 I, gate and linear rows alternating
    mlp2: Tiles  # I to H

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(getattr(self, field.name).nbytes for field in fields(self))


@dataclass(frozen=True, slots=True)
class ModelWeights:
    """All weights, on one device."""

    embedding: Tensor  # [V, H]
    layers: tuple[LayerWeights, ...]
    norm: Tensor  # [H]
    unembedding: Matrix  # [V, H]

    @property
    def dtype(self) -> torch.dtype:
        """Of the activations, the dense weights and the cache."""
        return self.embedding.dtype

    @property
    def device(self) -> torch.device:
        """Where all of them live."""
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
    """Read every tensor to `device`; `on_read` gets the stored bytes of each once it is there.

    `eight_bit` is for attention's projections and the unembedding. Raises CheckpointError as `to_tiles` does, and
    EngineError as `to_eight_bits` does.
    """

    def load(name: str, to: torch.dtype | None) -> Tensor:
        stored = read(name)
        tensor = stored.to(device=device, dtype=to)
        on_read(stored.nbytes)
        return tensor

    def matrix(name: str) -> Matrix:
        return to_eight_bits(load(name, dtype)) if eight_bit else load(name, dtype)

    def experts(name: str) -> Tiles:
        blocks, scales = (load(f"{name}_weight.{part}", None) for part in ("blocks", "scales"))
        return to_tiles(blocks, scales, load(f"{name}_bias", dtype))

    def layer(index: int) -> LayerWeights:
        attn, mlp = f"block.{index}.attn", f"block.{index}.mlp"
        return LayerWeights(
            attn_norm=load(f"{attn}.norm.scale", torch.float32),
            qkv_weight=matrix(f"{attn}.qkv.weight"),
            qkv_bias=load(f"{attn}.qkv.bias", dtype),
            sinks=load(f"{attn}.sinks", dtype),
            out_weight=matrix(f"{attn}.out.weight"),
            out_bias=load(f"{attn}.out.bias", dtype),
            mlp_norm=load(f"{mlp}.norm.scale", torch.float32),
            gate_weight=load(f"{mlp}.gate.weight", dtype),
            gate_bias=load(f"{mlp}.gate.bias", dtype),
            mlp1=experts(f"{mlp}.mlp1"),
            mlp2=experts(f"{mlp}.mlp2"),
        )

    return ModelWeights(
        embedding=load("embedding.weight", dtype),
        layers=tuple(layer(index) for index in range(config.num_hidden_layers)),
        norm=load("norm.scale", torch.float32),
        unembedding=matrix("unembedding.weight"),
    )
