"""The lower bound for decoding: the bytes that any engine must read from memory for each token."""

from __future__ import annotations

from dataclasses import dataclass

from gptoss_tui.engine.checkpoint import tensor_table
from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.planning.needs import DTYPE_BYTES
from gptoss_tui.engine.types import Dtype


@dataclass(frozen=True, slots=True)
class DenseBits:
    """Bits read per weight of attention's projections and of the unembedding, including its share of the scale."""

    attention: float
    unembedding: float


NATIVE_INT8 = DenseBits(attention=8 + 16 / 32, unembedding=4 + 16 / 32)
"""CPU engine with `--dense int8`. For each token it reads the coarse copy of the unembedding."""

TRITON_INT8 = DenseBits(attention=8 + 16 / 64, unembedding=8 + 16 / 64)
"""NVIDIA engine with `--dense int8`."""


def decode_bytes(config: ModelConfig, dtype: Dtype, context: int, dense: DenseBits | None = None) -> int:
    """Bytes read per token at batch size 1, with `context` tokens in the KV cache.

    Counts every dense weight in `dtype`, but only one row of the embedding; of the packed experts, the share that a
    token is routed to; and the keys and values of all tokens, in sliding layers only those in the window. `dense` None
    means as published.
    """
    size = DTYPE_BYTES[dtype]
    routed = config.experts_per_token / config.num_experts
    total = 0.0
    for name, spec in tensor_table(config).items():
        if name == "embedding.weight":
            total += config.hidden_size * size
        elif ".mlp.mlp" in name:
            total += routed * _in_memory(spec.nbytes, packed=spec.dtype == "U8", size=size)
        elif dense is not None and name == "unembedding.weight":
            total += spec.nbytes / 16 * dense.unembedding
        elif dense is not None and name.endswith((".attn.qkv.weight", ".attn.out.weight")):
            total += spec.nbytes / 16 * dense.attention
        else:
            total += _in_memory(spec.nbytes, packed=False, size=size)
    return round(total) + _kv_bytes(config, size, context)


def _in_memory(nbytes: int, *, packed: bool, size: int) -> int:
    return nbytes if packed else nbytes // 2 * size


def _kv_bytes(config: ModelConfig, size: int, context: int) -> int:
    windows = config.num_sliding_layers * min(context, config.sliding_window)
    whole = (config.num_hidden_layers - config.num_sliding_layers) * context
    return 2 * config.kv_width * size * (windows + whole)
