"""The number formats that an engine computes in. A module of its own: settings need no more of the engine."""

from __future__ import annotations

from typing import Literal

Dtype = Literal["bfloat16", "float32"]
Dense = Literal["exact", "int8"]
"""How attention and unembedding are held: as published, or in 8 bits with a scale for each few columns."""
