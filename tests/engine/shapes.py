"""Model shapes small enough for a test."""

from __future__ import annotations

from dataclasses import replace

from gptoss_tui.engine.config import GPT_OSS_20B

TINY = replace(
    GPT_OSS_20B,
    num_hidden_layers=3,
    num_experts=4,
    experts_per_token=2,
    vocab_size=80,
    hidden_size=64,
    intermediate_size=96,
    head_dim=16,
    num_attention_heads=4,
    num_key_value_heads=2,
    sliding_window=8,
)
