"""Reasoning effort. A separate module because settings and screens need nothing else of the format."""

from __future__ import annotations

from typing import Literal

Effort = Literal["low", "medium", "high"]
EFFORTS: tuple[Effort, ...] = ("low", "medium", "high")
