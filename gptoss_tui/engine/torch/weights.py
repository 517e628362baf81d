"""The weights of the torch model: dense tensors in the model's dtype, experts as the packed bytes of the checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.mxfp4 import dequantize

ReadTensor = Callable[[str], Tensor]
"""Gives the tensor of a canonical name, as `Checkpoint.read` does."""

_PAGE = 4096
"""Bytes, the smallest memory page of the systems we run on."""

_WORTHWHILE_REPEATS = 8
"""One row in so many must repeat the last one for the others to be copied out."""

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
        """The weight of one expert, unpacked for this use: [out, in]."""
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
    """All weights. The embedding stays as stored (bfloat16): only looked-up rows are converted.

    V ids in the vocabulary, U different rows in the unembedding (see `distinct_rows`).
    """

    embedding: Tensor  # [V, H]
    layers: tuple[LayerWeights, ...]
    norm: Tensor  # [H]
    unembedding: Tensor  # [U, H]: [V, H], or its different rows only
    unembedding_row: Tensor | None = None  # int32 [V]: the row of each id; None: U = V, each id has its own

    @property
    def dtype(self) -> torch.dtype:
        """Of the activations, the dense weights and the cache."""
        return self.unembedding.dtype

    @property
    def device(self) -> torch.device:
        """Where all of them live."""
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
    """Read every tensor to `device`; `on_read` gets the stored bytes of each once it is there.

    Tensors that need no conversion stay mapped from the file. Their pages are touched here, so that loading takes the
    time of the disk and the first token does not.
    """

    def load(name: str, to: torch.dtype | None) -> Tensor:
        stored = read(name)
        tensor = stored.to(device=device, dtype=to)
        if tensor is stored:
            stored.flatten().view(torch.uint8)[::_PAGE].sum()
        on_read(stored.nbytes)
        return tensor

    def experts(name: str) -> PackedExperts:
        blocks, scales = (load(f"{name}_weight.{part}", None) for part in ("blocks", "scales"))
        return PackedExperts(blocks, scales, load(f"{name}_bias", dtype))

    def layer(index: int) -> LayerWeights:
        attn, mlp = f"block.{index}.attn", f"block.{index}.mlp"
        return LayerWeights(
            attn_norm=load(f"{attn}.norm.scale", torch.float32),
            qkv_weight=load(f"{attn}.qkv.weight", dtype),
            qkv_bias=load(f"{attn}.qkv.bias", dtype),
            sinks=load(f"{attn}.sinks", dtype),
            out_weight=load(f"{attn}.out.weight", dtype),
            out_bias=load(f"{attn}.out.bias", dtype),
            mlp_norm=load(f"{mlp}.norm.scale", torch.float32),
            gate_weight=load(f"{mlp}.gate.weight", dtype),
            gate_bias=load(f"{mlp}.gate.bias", dtype),
            mlp1=experts(f"{mlp}.mlp1"),
            mlp2=experts(f"{mlp}.mlp2"),
        )

    unembedding = load("unembedding.weight", dtype)
    unembedding, row = distinct_rows(unembedding) or (unembedding, None)
    return ModelWeights(
        embedding=load("embedding.weight", None),
        layers=tuple(layer(index) for index in range(config.num_hidden_layers)),
        norm=load("norm.scale", torch.float32),
        unembedding=unembedding,
        unembedding_row=row,
    )


def distinct_rows(matrix: Tensor) -> tuple[Tensor, Tensor] | None:
    """`matrix` [V, H] with the rows that equal its last one, bit for bit, only once; and the place of each row in it.

    Returns [U, H] and int32 [V], or None when too few rows are alike to be worth a copy. The last id of a vocabulary is
    a reserved one: in a model that never saw a part of its vocabulary, all of that part has the same row, and reading
    it once makes the unembedding as much cheaper.
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
