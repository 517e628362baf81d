"""Which sections the files of repacked weights have, and how large each is. `src/native.h` describes their layouts.

Two files hold a model: one for what both kinds of dense layers share (experts, embedding, norms, biases), and one for
the dense layers of one kind.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gptoss_tui.engine.config import ModelConfig
from gptoss_tui.engine.native import cache_file
from gptoss_tui.engine.native.cache_file import Sections
from gptoss_tui.engine.native.library import BF16, GROUP, INT4, INT8, MXFP4, load_library

KINDS = {"exact": BF16, "int8": INT8}
"""The kind of matrix for each way of storing the dense layers."""


def shared_sizes(config: ModelConfig) -> dict[str, int]:
    """Bytes of each section but the dense matrices."""
    hidden, inner, experts = config.hidden_size, config.intermediate_size, config.num_experts
    numbers = {"rows": config.vocab_size, "norm": hidden}
    matrices: dict[str, int] = {}
    for layer in range(config.num_hidden_layers):
        numbers |= {
            f"{layer}.attn_norm": hidden,
            f"{layer}.sinks": config.num_attention_heads,
            f"{layer}.mlp_norm": hidden,
            f"{layer}.qkv_bias": padded(config.qkv_width, GROUP),
            f"{layer}.out_bias": padded(hidden, GROUP),
            f"{layer}.router_bias": padded(experts, GROUP),
            f"{layer}.up_bias": experts * 2 * inner,
            f"{layer}.down_bias": experts * padded(hidden, GROUP),
        }
        matrices |= {
            f"{layer}.router": packed_bytes(BF16, experts, hidden),
            f"{layer}.up": experts * packed_bytes(MXFP4, 2 * inner, hidden),
            f"{layer}.down": experts * packed_bytes(MXFP4, hidden, inner),
        }
    four = {name: 4 * count for name, count in numbers.items()}
    return four | matrices | {"embedding": 2 * config.vocab_size * hidden}


def dense_sizes(config: ModelConfig, distinct: int, kind: int) -> dict[str, int]:
    """Bytes of each dense matrix, where the unembedding has `distinct` distinct rows."""
    sizes = {"unembedding": packed_bytes(kind, distinct, config.hidden_size)}
    if kind == INT8:
        sizes |= {"coarse": packed_bytes(INT4, distinct, config.hidden_size), "doubt": 4 * padded(distinct, GROUP)}
    for layer in range(config.num_hidden_layers):
        sizes[f"{layer}.qkv"] = packed_bytes(kind, config.qkv_width, config.hidden_size)
        sizes[f"{layer}.out"] = packed_bytes(kind, config.hidden_size, config.query_width)
    return sizes


def padded(count: int, step: int) -> int:
    """`count` rounded up to a multiple of `step`."""
    return -(-count // step) * step


def packed_bytes(kind: int, rows: int, columns: int) -> int:
    """Bytes of a packed matrix. Raises EngineError if the library is missing."""
    return int(load_library().gt_packed_bytes(kind, rows, columns))


def open_shared(config: ModelConfig, path: Path) -> Sections | None:
    """Map the shared file of a model; None if it is missing or belongs to another model."""
    found = cache_file.open_file(path, shared_sizes(config))
    rows = None if found is None else found["rows"].view(np.int32)
    return found if rows is not None and 0 <= rows.min() <= rows.max() < config.vocab_size else None
