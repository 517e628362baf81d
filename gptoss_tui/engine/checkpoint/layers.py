"""The weights of a layer, in whatever form a backend holds them, and how they are read from a checkpoint."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Generic, Protocol, TypeVar


class HasBytes(Protocol):
    """A tensor of any library, or a few of them."""

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""


T = TypeVar("T", bound=HasBytes)
"""A backend's tensors."""

M = TypeVar("M", bound=HasBytes)
"""Its large dense matrices, which it may hold in fewer bits."""

E = TypeVar("E", bound=HasBytes)
"""One projection of all experts of a layer, with its bias."""


@dataclass(frozen=True, slots=True)
class LayerWeights(Generic[T, M, E]):
    """One layer. Norm scales are float32; a backend says what dtypes its other tensors have."""

    attn_norm: T  # [H]
    qkv_weight: M  # [(Q + 2 K) * D, H]
    qkv_bias: T
    sinks: T  # [Q]
    out_weight: M  # [H, Q * D]
    out_bias: T
    mlp_norm: T  # [H]
    gate_weight: T  # [E, H]
    gate_bias: T
    mlp1: E  # H to 2 I, gate and linear rows alternating
    mlp2: E  # I to H

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(getattr(self, field.name).nbytes for field in fields(self))


class LayerReader(ABC, Generic[T, M, E]):
    """Reads tensors by their canonical names (see `tensor_table`), each kind in the form that a backend holds it in."""

    @abstractmethod
    def precise(self, name: str) -> T:
        """A tensor in float32."""

    @abstractmethod
    def dense(self, name: str) -> T:
        """A tensor in the model's dtype."""

    @abstractmethod
    def matrix(self, name: str) -> M:
        """A projection of attention, or the unembedding."""

    @abstractmethod
    def experts(self, name: str) -> E:
        """The tensors `name`_weight.blocks, `name`_weight.scales and `name`_bias."""

    def scoring(self, name: str) -> T:
        """The sinks, or a tensor of the router."""
        return self.dense(name)

    def layer(self, index: int) -> LayerWeights[T, M, E]:
        """All weights of layer `index`."""
        attn, mlp = f"block.{index}.attn", f"block.{index}.mlp"
        return LayerWeights(
            attn_norm=self.precise(f"{attn}.norm.scale"),
            qkv_weight=self.matrix(f"{attn}.qkv.weight"),
            qkv_bias=self.dense(f"{attn}.qkv.bias"),
            sinks=self.scoring(f"{attn}.sinks"),
            out_weight=self.matrix(f"{attn}.out.weight"),
            out_bias=self.dense(f"{attn}.out.bias"),
            mlp_norm=self.precise(f"{mlp}.norm.scale"),
            gate_weight=self.scoring(f"{mlp}.gate.weight"),
            gate_bias=self.scoring(f"{mlp}.gate.bias"),
            mlp1=self.experts(f"{mlp}.mlp1"),
            mlp2=self.experts(f"{mlp}.mlp2"),
        )
