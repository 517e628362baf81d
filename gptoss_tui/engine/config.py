"""The shape of a gpt-oss model. `checkpoint/config_file.py` reads it from the `config.json` of a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Literal

from gptoss_tui.errors import CheckpointError

Layout = Literal["original", "huggingface"]
"""How a checkpoint is stored: as in OpenAI's `original/` folder, or as at the root of its Hugging Face repositories."""

# Fixed by the architecture; the original layout has no fields for them.
RMS_NORM_EPS = 1e-5
SWIGLU_ALPHA = 1.702
MXFP4_BLOCK = 32
"""Number of values along the input axis of an expert's weight that share one scale."""


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The fields of `original/config.json`. Raises CheckpointError if they contradict each other.

    Even layers attend to the last `sliding_window` tokens (including the current one), odd layers to all tokens.
    """

    num_hidden_layers: int
    num_experts: int
    experts_per_token: int
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    swiglu_limit: float
    head_dim: int
    num_attention_heads: int
    num_key_value_heads: int
    sliding_window: int
    initial_context_length: int
    rope_theta: float
    rope_scaling_factor: float
    rope_ntk_alpha: float
    rope_ntk_beta: float

    def __post_init__(self) -> None:
        for field, complaint in _contradictions(self):
            raise CheckpointError(f"{field} {complaint}, got {getattr(self, field)}")

    @property
    def max_context(self) -> int:
        """The longest context in tokens, extended by YaRN."""
        return int(self.initial_context_length * self.rope_scaling_factor)

    @property
    def query_width(self) -> int:
        """Rows of q; also the input width of attention's output projection."""
        return self.num_attention_heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Rows of k, and of v."""
        return self.num_key_value_heads * self.head_dim

    @property
    def qkv_width(self) -> int:
        """Rows of the fused q, k, v projection, in that order."""
        return self.query_width + 2 * self.kv_width

    @property
    def heads_per_kv(self) -> int:
        """Query heads per key/value head: query head h uses kv head h // heads_per_kv."""
        return self.num_attention_heads // self.num_key_value_heads

    @property
    def num_sliding_layers(self) -> int:
        """How many layers have a sliding window: layers 0, 2, 4, ..."""
        return (self.num_hidden_layers + 1) // 2

    def is_sliding(self, layer: int) -> bool:
        """Whether `layer` (from 0) attends only to a sliding window."""
        return layer % 2 == 0


FIELDS = tuple(field.name for field in fields(ModelConfig))
"""The names of all fields, as in `original/config.json`."""


def _contradictions(config: ModelConfig) -> Iterator[tuple[str, str]]:
    """Yield (field, requirement) for every field whose value no model of this architecture can have."""
    for name in FIELDS:
        if not getattr(config, name) > 0:
            yield name, "must be above 0"
    if config.experts_per_token > config.num_experts:
        yield "experts_per_token", f"must be at most num_experts ({config.num_experts})"
    if config.num_attention_heads % config.num_key_value_heads:
        yield "num_attention_heads", f"must be a multiple of num_key_value_heads ({config.num_key_value_heads})"
    if config.head_dim % 2:
        yield "head_dim", "must be even, for rotary positions"
    for name in ("hidden_size", "intermediate_size"):
        if getattr(config, name) % MXFP4_BLOCK:
            yield name, f"must be a multiple of {MXFP4_BLOCK}, the MXFP4 block"
    if config.rope_ntk_alpha >= config.rope_ntk_beta:
        yield "rope_ntk_alpha", f"must be below rope_ntk_beta ({config.rope_ntk_beta})"
    if config.rope_scaling_factor < 1:
        yield "rope_scaling_factor", "must be at least 1"


GPT_OSS_20B = ModelConfig(
    num_hidden_layers=24,
    num_experts=32,
    experts_per_token=4,
    vocab_size=201088,
    hidden_size=2880,
    intermediate_size=2880,
    swiglu_limit=7.0,
    head_dim=64,
    num_attention_heads=64,
    num_key_value_heads=8,
    sliding_window=128,
    initial_context_length=4096,
    rope_theta=150000.0,
    rope_scaling_factor=32.0,
    rope_ntk_alpha=1.0,
    rope_ntk_beta=32.0,
)
GPT_OSS_120B = replace(GPT_OSS_20B, num_hidden_layers=36, num_experts=128)
