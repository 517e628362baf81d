"""The weights of the torch model: dense tensors in the model's dtype, experts as packed bytes from the checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from gptoss_tui.engine.checkpoint import layers
from gptoss_tui.engine.checkpoint.reader import ReadTensor
from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.torch.mxfp4 import dequantize

E = TypeVar("E", bound=layers.HasBytes)
M = TypeVar("M", bound=layers.HasBytes)

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


LayerWeights = layers.LayerWeights[Tensor, Tensor, PackedExperts]
"""One layer (shapes: checkpoint/layers.py). Norm scales are float32, the rest is in the model's dtype."""


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
    unembedding = reader.matrix("unembedding.weight")
    unembedding, row = distinct_rows(unembedding) or (unembedding, None)
    return ModelWeights(
        embedding=reader.stored("embedding.weight"),
        layers=tuple(reader.layer(index) for index in range(config.num_hidden_layers)),
        norm=reader.precise("norm.scale"),
        unembedding=unembedding,
        unembedding_row=row,
    )


@dataclass(frozen=True, slots=True)
class TensorReader(layers.LayerReader[Tensor, M, E]):
    """Reads a checkpoint's tensors to `device`; `on_read` is called with the stored bytes of each."""

    read: ReadTensor
    dtype: torch.dtype
    device: torch.device
    on_read: Callable[[int], None]

    def precise(self, name: str) -> Tensor:
        """A tensor in float32."""
        return self._tensor(name, torch.float32)

    def dense(self, name: str) -> Tensor:
        """A tensor in the model's dtype."""
        return self._tensor(name, self.dtype)

    def stored(self, name: str) -> Tensor:
        """A tensor in the dtype that it is stored in."""
        return self._tensor(name, None)

    def _tensor(self, name: str, dtype: torch.dtype | None) -> Tensor:
        stored = self.read(name)
        tensor = stored.to(device=self.device, dtype=dtype)
        if tensor is stored:
            stored.flatten().view(torch.uint8)[::_PAGE].sum()
        self.on_read(stored.nbytes)
        return tensor


@dataclass(frozen=True, slots=True)
class _Reader(TensorReader[Tensor, PackedExperts]):
    def matrix(self, name: str) -> Tensor:
        return self.dense(name)

    def experts(self, name: str) -> PackedExperts:
        blocks, scales = (self.stored(f"{name}_weight.{part}") for part in ("blocks", "scales"))
        return PackedExperts(blocks, scales, self.dense(f"{name}_bias"))


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
