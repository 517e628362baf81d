"""Sizes as people read them."""

from __future__ import annotations


def format_bytes(count: float) -> str:
    """`count` bytes as text, in decimal units like download sizes: `13.8 GB`, `1.4 MB`, `0.5 kB`."""
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1e3:.1f} kB"
