"""The weights of the torch model: dense tensors in the model's dtype, experts as packed bytes from the checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.mxfp4 import dequantize

ReadTensor = Callable[[str], Tensor]
"""Returns the tensor with a canonical name, like `Checkpoint.read`."""

_PAGE = 4096
"""Bytes: the smallest memory page of the systems we run on."""

_WORTHWHILE_REPEATS = 8
"""Distinct rows are copied out only if at least 1 / 8 of the rows repeat the last one."""

_ROWS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class PackedExperts:
    """One projection of all experts of a layer, in MXFP4.

    blocks: uint8 [E, out, in / 32, 16]; scales: uint8 [E, out, in / 32]; bias: [E, out] in the model's dtype.
    """

    blocks: Tensor
    scales: Tensor
    bias: Tensor

    def weight(self, expert: int, dtype: torch.dtype) -> Tensor:
        """The weight of one expert, newly unpacked: [out, in]."""
        return dequantize(self.blocks[expert], self.scales[expert], dtype)

    @property
    def nbytes(self) -> int:
        """Bytes of all three tensors."""
        return self.blocks.nbytes + self.scales.nbytes + self.bias.nbytes


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """One layer. Norm scales are float32, the rest is in the model's dtype."""

    attn_norm: Tensor  # [H]
    qkv_weight: Tensor  # [(Q + 2 K) * D, H]
    qkv_bias: Tensor
    sinks: Tensor  # [Q]
    out_weight: Tensor  # [H, Q * D]
    out_bias: Tensor
    mlp_norm: Tensor  # [H]
    gate_weight: Tensor  # [E, H]
    gate_bias: Tensor
    mlp1: PackedExperts  # H to 2 I, gate and linear rows alternating
    mlp2: PackedExperts  # I to H

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(getattr(self, field.name).nbytes for field in fields(self))


@dataclass(frozen=True, slots=True)
class ModelWeights:
    """All weights. The embedding stays as stored (bfloat16): only the rows looked up are converted.

    V is the size of the vocabulary, U the number of different rows in the unembedding (see `distinct_rows`).
    """

    embedding: Tensor  # [V, H]
    layers: tuple[LayerWeights, ...]
    norm: Tensor  # [H]
    unembedding: Tensor  # [U, H]: [V, H], or only its different rows
    unembedding_row: Tensor | None = None  # int32 [V]: the row of each id; None: U = V, every id has its own

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the activations, the dense weights and the cache."""
        return self.unembedding.dtype

    @property
    def device(self) -> torch.device:
        """The device of all weights."""
        return self.unembedding.device

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        top = self.embedding.nbytes + self.norm.nbytes + self.unembedding.nbytes
        if self.unembedding_row is not None:
            top += self.unembedding_row.nbytes
        return top + sum(layer.nbytes for layer in self.layers)


def load_weights(
    read: ReadTensor,
    config: ModelConfig,
    dtype: torch.dtype,
    device: torch.device,
    on_read: Callable[[int], None] = lambda nbytes: None,
) -> ModelWeights:
    """Read every tensor to `device`; `on_read` is called with the stored bytes of each tensor after it was read.

    Tensors that need no conversion stay mapped from the file. Their pages are touched here, so that reading them from
    disk slows down loading and not the first token.
    """
    reader = _Reader(read, dtype, device, on_read)
    unembedding = reader.dense("unembedding.weight")
    unembedding, row = distinct_rows(unembedding) or (unembedding, None)
    return ModelWeights(
        embedding=reader.tensor("embedding.weight", None),
        layers=tuple(reader.layer(index) for index in range(config.num_hidden_layers)),
        norm=reader.tensor("norm.scale", torch.float32),
        unembedding=unembedding,
        unembedding_row=row,
    )


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads the tensors of a checkpoint in the form the model needs."""

    read: ReadTensor
    dtype: torch.dtype
    device: torch.device
    on_read: Callable[[int], None]

    def layer(self, index: int) -> LayerWeights:
        attn, mlp = f"block.{index}.attn", f"block.{index}.mlp"
        return LayerWeights(
            attn_norm=self.tensor(f"{attn}.norm.scale", torch.float32),
            qkv_weight=self.dense(f"{attn}.qkv.weight"),
            qkv_bias=self.dense(f"{attn}.qkv.bias"),
            sinks=self.dense(f"{attn}.sinks"),
            out_weight=self.dense(f"{attn}.out.weight"),
            out_bias=self.dense(f"{attn}.out.bias"),
            mlp_norm=self.tensor(f"{mlp}.norm.scale", torch.float32),
            gate_weight=self.dense(f"{mlp}.gate.weight"),
            gate_bias=self.dense(f"{mlp}.gate.bias"),
            mlp1=self.experts(f"{mlp}.mlp1"),
            mlp2=self.experts(f"{mlp}.mlp2"),
        )

    def experts(self, name: str) -> PackedExperts:
        blocks, scales = (self.tensor(f"{name}_weight.{part}", None) for part in ("blocks", "scales"))
        return PackedExperts(blocks, scales, self.dense(f"{name}_bias"))

    def dense(self, name: str) -> Tensor:
        return self.tensor(name, self.dtype)

    def tensor(self, name: str, dtype: torch.dtype | None) -> Tensor:
        stored = self.read(name)
        tensor = stored.to(device=self.device, dtype=dtype)
        if tensor is stored:
            stored.flatten().view(torch.uint8)[::_PAGE].sum()
        self.on_read(stored.nbytes)
        return tensor


def distinct_rows(matrix: Tensor) -> tuple[Tensor, Tensor] | None:
    """Remove repetitions of the last row of `matrix` [V, H] (bit for bit), and map each id to its remaining row.

    Returns [U, H] and int32 [V], or None when too few rows are equal for the copy to pay off. The last id of the
    vocabulary is a reserved one: in a model that never saw part of its vocabulary, all of that part has the same row,
    and reading that row only once makes the unembedding cheaper in proportion.
    """
    words = matrix.view(torch.int64)  # H is a multiple of 32
    alike = (words[:, 0] == words[-1, 0]).nonzero()[:, 0]
    if len(alike) * _WORTHWHILE_REPEATS < len(words):
        return None
    differs = [
        (words[some] != words[-1]).view(torch.uint8).amax(1).bool() for some in torch.split(alike, _ROWS_AT_ONCE)
    ]
    repeats = alike[~torch.cat(differs)]
    if len(repeats) * _WORTHWHILE_REPEATS < len(words):
        return None
    kept = torch.ones(len(words), dtype=torch.bool, device=matrix.device)
    kept[repeats[:-1]] = False
    row = kept.cumsum(0, dtype=torch.int32) - 1
    rows = words[kept].view(matrix.dtype)
    row[repeats] = len(rows) - 1
    return rows, row
