"""The number formats of the engines. A separate module because settings need nothing else of the engine."""

from __future__ import annotations

from typing import Literal

Dtype = Literal["bfloat16", "float32"]
Dense = Literal["exact", "int8"]
"""How attention and the unembedding are stored: as published, or in 8 bits with a scale for every few columns."""
