"""The number formats that an engine computes in. A module of its own: settings need no more of the engine."""

from __future__ import annotations

from typing import Literal

Dtype = Literal["bfloat16", "float32"]
