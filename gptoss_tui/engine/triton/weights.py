"""The weights on the device: dense tensors in the model's dtype or 8 bits, experts repacked into tiles of MXFP4."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.triton.dense import Matrix, to_eight_bits
from gptoss_tui.engine.triton.kernels.mxfp4 import Tiles, to_tiles

ReadTensor = Callable[[str], Tensor]
"""Returns the tensor with a canonical name, as `Checkpoint.read` does."""


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """The weights of one layer. Norm scales are float32, other dense tensors have the model's dtype or 8 bits."""

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
        norm=reader.tensor("norm.scale", torch.float32),
        unembedding=reader.matrix("unembedding.weight"),
    )


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads the tensors of a checkpoint and converts them to the form that the kernels expect."""

    read: ReadTensor
    dtype: torch.dtype
    device: torch.device
    on_read: Callable[[int], None]
    eight_bit: bool

    def layer(self, index: int) -> LayerWeights:
        attn, mlp = f"block.{index}.attn", f"block.{index}.mlp"
        return LayerWeights(
            attn_norm=self.tensor(f"{attn}.norm.scale", torch.float32),
            qkv_weight=self.matrix(f"{attn}.qkv.weight"),
            qkv_bias=self.dense(f"{attn}.qkv.bias"),
            sinks=self.dense(f"{attn}.sinks"),
            out_weight=self.matrix(f"{attn}.out.weight"),
            out_bias=self.dense(f"{attn}.out.bias"),
            mlp_norm=self.tensor(f"{mlp}.norm.scale", torch.float32),
            gate_weight=self.dense(f"{mlp}.gate.weight"),
            gate_bias=self.dense(f"{mlp}.gate.bias"),
            mlp1=self.experts(f"{mlp}.mlp1"),
            mlp2=self.experts(f"{mlp}.mlp2"),
        )

    def matrix(self, name: str) -> Matrix:
        return to_eight_bits(self.dense(name)) if self.eight_bit else self.dense(name)

    def experts(self, name: str) -> Tiles:
        blocks, scales = (self.tensor(f"{name}_weight.{part}", None) for part in ("blocks", "scales"))
        return to_tiles(blocks, scales, self.dense(f"{name}_bias"))

    def dense(self, name: str) -> Tensor:
        return self.tensor(name, self.dtype)

    def tensor(self, name: str, dtype: torch.dtype | None) -> Tensor:
        stored = self.read(name)
        tensor = stored.to(device=self.device, dtype=dtype)
        self.on_read(stored.nbytes)
        return tensor
