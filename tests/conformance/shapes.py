"""Shapes of the random models that the engines are compared on: small, but with every feature of the real ones."""

from __future__ import annotations

from dataclasses import replace

from gptoss_tui.engine.config import ModelConfig

SMALL = ModelConfig(
    num_hidden_layers=4,
    num_experts=8,
    experts_per_token=4,
    vocab_size=300,
    hidden_size=96,
    intermediate_size=96,
    swiglu_limit=7.0,
    head_dim=64,
    num_attention_heads=4,
    num_key_value_heads=2,
    sliding_window=8,
    initial_context_length=4096,
    rope_theta=150000.0,
    rope_scaling_factor=32.0,
    rope_ntk_alpha=1.0,
    rope_ntk_beta=32.0,
)

SHAPES = {
    "small": SMALL,
    # The heads, the window and the experts per token of gpt-oss-20b; attention wider than the hidden size.
    "real-heads": replace(
        SMALL,
        num_hidden_layers=2,
        num_experts=32,
        hidden_size=192,
        num_attention_heads=64,
        num_key_value_heads=8,
        sliding_window=128,
    ),
    # Nothing square: 2 of 5 experts, a wide expert, one query head a key/value head, an odd number of layers.
    "uneven": replace(
        SMALL,
        num_hidden_layers=5,
        num_experts=5,
        experts_per_token=2,
        vocab_size=131,
        hidden_size=64,
        intermediate_size=160,
        num_attention_heads=3,
        num_key_value_heads=3,
        sliding_window=5,
    ),
}

LENGTHS = {"small": 40, "real-heads": 300, "uneven": 33}
"""Tokens to compare on: several windows of each shape."""
