"""Our own Metal kernels for decode, a `.metal` file for each, launched through MLX.

Each file is the body of a kernel; MLX generates the signature from the names and dtypes of the arrays. `common.metal`
is put in front of every kernel.
"""

NAMES = ("qkv", "output", "gate_up", "down", "head")
"""The steps of decode that have kernels; `head` has two, `unembed` and `draw`."""
