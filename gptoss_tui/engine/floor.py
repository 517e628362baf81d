"""The floor under decode: the bytes that one token must read from memory, whatever the engine does."""

from __future__ import annotations

from dataclasses import dataclass

from gptoss_tui.engine.checkpoint import tensor_table
from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.needs import DTYPE_BYTES
from gptoss_tui.engine.types import Dtype


@dataclass(frozen=True, slots=True)
class DenseBits:
    """Bits that are read of a weight of attention's projections and of the unembedding, with its part of a scale."""

    attention: float
    unembedding: float


NATIVE_INT8 = DenseBits(attention=8 + 16 / 32, unembedding=4 + 16 / 32)
"""Of the CPU engine, `--dense int8`: of the unembedding a token reads the coarse copy."""

TRITON_INT8 = DenseBits(attention=8 + 16 / 64, unembedding=8 + 16 / 64)
"""Of the NVIDIA engine, `--dense int8`."""


def decode_bytes(config: ModelConfig, dtype: Dtype, context: int, dense: DenseBits | None = None) -> int:
    """Bytes read for one token at batch 1 with `context` tokens in the KV cache.

    Every dense weight in `dtype` once, but a single row of the embedding; of the experts, packed, the share that a
    token is routed to; the keys and values of all tokens, in sliding layers of those in the window. `dense` None is
    as published.
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
