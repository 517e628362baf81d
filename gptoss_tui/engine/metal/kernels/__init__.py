"""Kernels of our own for decode, in Metal: a `.metal` file each, launched through MLX.

Each file is the body of a kernel; MLX writes the signature from names and dtypes of the arrays. `common.metal` comes
before all of them.
"""
