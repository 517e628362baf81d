"""How long the model is asked to think. A module of its own: settings and screens need no more of the format."""

from __future__ import annotations

from typing import Literal

Effort = Literal["low", "medium", "high"]
EFFORTS: tuple[Effort, ...] = ("low", "medium", "high")
