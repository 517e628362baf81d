"""Rotary positions without torch."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from gptoss_tui.engine.config import ModelConfig


def rope_frequencies(config: ModelConfig) -> tuple[npt.NDArray[np.float32], float]:
    """Radians per position [D / 2], and the factor for cosine and sine: YaRN "by parts" (see `torch/model.py`)."""
    half = config.head_dim // 2
    base, factor = config.rope_theta, config.rope_scaling_factor
    steps = np.arange(half, dtype=np.float32)
    period = np.float32(base) ** (steps / np.float32(half))
    if factor == 1.0:
        return (1.0 / period).astype(np.float32), 1.0

    def dimension(rotations: float) -> float:
        """The dimension that rotates `rotations` times within the initial context."""
        return half * math.log(config.initial_context_length / (rotations * 2 * math.pi)) / math.log(base)

    low, high = dimension(config.rope_ntk_beta), dimension(config.rope_ntk_alpha)
    stretch = ((steps - np.float32(low)) / np.float32(high - low)).clip(0, 1)
    frequency = 1.0 / (np.float32(factor) * period) * stretch + 1.0 / period * (1 - stretch)
    return frequency.astype(np.float32), 0.1 * math.log(factor) + 1.0
