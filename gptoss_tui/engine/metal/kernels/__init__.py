"""Kernels of our own for decode, in Metal: a `.metal` file each, launched through MLX.

Each file is the body of a kernel; MLX writes the signature from names and dtypes of the arrays. `common.metal` comes
before all of them.
"""

NAMES = ("qkv", "output", "gate_up", "down", "head")
"""The steps of decode that kernels do; `head` takes two, `unembed` and `draw`."""
