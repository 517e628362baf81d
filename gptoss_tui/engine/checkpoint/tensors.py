"""The tensors of a gpt-oss checkpoint: canonical names, shapes and dtypes, and how each layout stores them.

Canonical names are those of the `original` layout, with q, k and v fused. The Hugging Face layout renames tensors and
splits the fused projection; the bytes of all other tensors are the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from gptoss_tui.engine.config import MXFP4_BLOCK, Layout, ModelConfig

StoredDtype = Literal["BF16", "U8"]
_BYTES: dict[StoredDtype, int] = {"BF16": 2, "U8": 1}


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Shape and dtype of a tensor on disk: BF16, or U8 for packed MXFP4 blocks and their scales."""

    shape: tuple[int, ...]
    dtype: StoredDtype

    @property
    def nbytes(self) -> int:
        """Size on disk in bytes."""
        return math.prod(self.shape) * _BYTES[self.dtype]


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor in a file: `rows` (first, end) of the canonical tensor `source`; None means all of it."""

    name: str
    spec: TensorSpec
    source: str
    rows: tuple[int, int] | None = None


def tensor_table(config: ModelConfig) -> dict[str, TensorSpec]:
    """Every canonical tensor of a model of this shape, in the order of the layers.

    Experts' weights are blocks [experts, out, in / 32, 16] with two 4-bit values per byte, low nibble first, and scales
    [experts, out, in / 32]. The rows of `mlp1` alternate between gate (even) and linear (odd).
    """
    table = {"embedding.weight": _bf16(config.vocab_size, config.hidden_size)}
    for layer in range(config.num_hidden_layers):
        table |= {f"block.{layer}.{name}": spec for name, spec in _layer_table(config)}
    table["norm.scale"] = _bf16(config.hidden_size)
    table["unembedding.weight"] = _bf16(config.vocab_size, config.hidden_size)
    return table


def stored_tensors(config: ModelConfig, layout: Layout) -> Iterator[StoredTensor]:
    """Every tensor in the files of `layout`, in the order of `tensor_table`."""
    for source, spec in tensor_table(config).items():
        if layout == "original":
            yield StoredTensor(source, spec, source)
        elif ".attn.qkv." in source:
            yield from _split_qkv(config, source, spec)
        else:
            yield StoredTensor(_huggingface_name(source), spec, source)


def _layer_table(config: ModelConfig) -> Iterator[tuple[str, TensorSpec]]:
    hidden, inter, experts = config.hidden_size, config.intermediate_size, config.num_experts
    yield "attn.norm.scale", _bf16(hidden)
    yield "attn.qkv.weight", _bf16(config.qkv_width, hidden)
    yield "attn.qkv.bias", _bf16(config.qkv_width)
    yield "attn.sinks", _bf16(config.num_attention_heads)
    yield "attn.out.weight", _bf16(hidden, config.query_width)
    yield "attn.out.bias", _bf16(hidden)
    yield "mlp.norm.scale", _bf16(hidden)
    yield "mlp.gate.weight", _bf16(experts, hidden)
    yield "mlp.gate.bias", _bf16(experts)
    for name, rows, columns in (("mlp1", 2 * inter, hidden), ("mlp2", hidden, inter)):
        blocks = columns // MXFP4_BLOCK
        yield f"mlp.{name}_weight.blocks", TensorSpec((experts, rows, blocks, MXFP4_BLOCK // 2), "U8")
        yield f"mlp.{name}_weight.scales", TensorSpec((experts, rows, blocks), "U8")
        yield f"mlp.{name}_bias", _bf16(experts, rows)


def _bf16(*shape: int) -> TensorSpec:
    return TensorSpec(shape, "BF16")


_HF_TOP = {
    "embedding.weight": "model.embed_tokens.weight",
    "norm.scale": "model.norm.weight",
    "unembedding.weight": "lm_head.weight",
}
_HF_LAYER = {
    "attn.norm.scale": "input_layernorm.weight",
    "attn.sinks": "self_attn.sinks",
    "attn.out.weight": "self_attn.o_proj.weight",
    "attn.out.bias": "self_attn.o_proj.bias",
    "mlp.norm.scale": "post_attention_layernorm.weight",
    "mlp.gate.weight": "mlp.router.weight",
    "mlp.gate.bias": "mlp.router.bias",
    "mlp.mlp1_weight.blocks": "mlp.experts.gate_up_proj_blocks",
    "mlp.mlp1_weight.scales": "mlp.experts.gate_up_proj_scales",
    "mlp.mlp1_bias": "mlp.experts.gate_up_proj_bias",
    "mlp.mlp2_weight.blocks": "mlp.experts.down_proj_blocks",
    "mlp.mlp2_weight.scales": "mlp.experts.down_proj_scales",
    "mlp.mlp2_bias": "mlp.experts.down_proj_bias",
}


def _huggingface_name(source: str) -> str:
    if source in _HF_TOP:
        return _HF_TOP[source]
    _, layer, name = source.split(".", 2)
    return f"model.layers.{layer}.{_HF_LAYER[name]}"


def _split_qkv(config: ModelConfig, source: str, spec: TensorSpec) -> Iterator[StoredTensor]:
    _, layer, _, _, kind = source.split(".")
    first = 0
    for projection, width in (("q", config.query_width), ("k", config.kv_width), ("v", config.kv_width)):
        name = f"model.layers.{layer}.self_attn.{projection}_proj.{kind}"
        yield StoredTensor(name, TensorSpec((width, *spec.shape[1:]), spec.dtype), source, (first, first + width))
        first += width
