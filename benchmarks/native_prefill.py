"""Measure the CPU engine's products for many tokens: `python benchmarks/native_prefill.py`.

For each instruction set of this machine, exact and fast, it prints the peak rate of the product instructions on values
in registers, and the rate of products with the shapes of gpt-oss-20b, in GFLOP/s (GOP/s for int8) and as a share of the
peak. The time includes reading weights from memory and unpacking them. The fastest of `--repeat` runs counts.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor

from gptoss_tui.engine.native import library
from gptoss_tui.engine.native.trial import Kernels, aligned_bytes, attention, matrix, peak, product

HIDDEN, QKV, EXPERTS = 2880, 5120, 8
KINDS = {"mxfp4": library.MXFP4, "bf16": library.BF16, "int8": library.INT8}


def weights(kind: int, experts: int, rows: int, columns: int) -> tuple[library.Matrix, tuple[object, Tensor]]:
    """Return random packed matrices, and the arrays that must be kept alive while they are used."""
    lib = library.load_library()
    size = lib.gt_packed_bytes(kind, rows, columns)
    data, bias = aligned_bytes(experts * size), torch.zeros(experts, rows)
    for expert in range(experts):
        out = data[expert * size :].ctypes.data
        if kind == library.MXFP4:
            blocks = torch.randint(0, 256, (rows, columns // 2), dtype=torch.uint8)
            scales = torch.full((rows, columns // 32), 120, dtype=torch.uint8)
            lib.gt_pack_mxfp4(blocks.data_ptr(), scales.data_ptr(), rows, columns, 0, out)
        else:
            source = torch.randn(rows, columns).bfloat16()
            pack = lib.gt_pack_bf16 if kind == library.BF16 else lib.gt_pack_int8
            pack(source.data_ptr(), rows, columns, out)
    return matrix(kind, data, bias, columns), (data, bias)


def time_products(kernels: Kernels, kind: int, tokens: int) -> float:
    """Return the operations per second of one dense matrix, or of experts with `tokens` tokens each."""
    dense = kind != library.MXFP4
    w, kept = weights(kind, 1 if dense else EXPERTS, QKV if dense else 2 * HIDDEN, HIDDEN)
    rows = tokens if dense else tokens * EXPERTS
    x, y = torch.randn(rows, HIDDEN), torch.empty(rows, w.rows)
    first = None if dense else torch.arange(EXPERTS + 1, dtype=torch.int32) * tokens
    token = None if dense else torch.arange(rows, dtype=torch.int32)
    seconds = product(kernels, w, x, y, first, token, 0.0 if dense else 7.0)
    del kept
    return 2.0 * rows * w.rows * HIDDEN / seconds


def time_attention(kernels: Kernels, tokens: int, past: int, window: int) -> float:
    """Return the milliseconds of a chunk's attention in one layer."""
    keys, values = (torch.randn(8, past + tokens, 64).bfloat16() for _ in range(2))
    query, out = torch.randn(tokens, 64, 64) / 8, torch.empty(tokens, 64, 64)
    return 1e3 * attention(kernels, query, keys, values, torch.randn(64), past, window, out)


def main() -> None:
    """Print one line for each instruction set, precision and kind of matrix."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--isa", action="append", help="only this instruction set")
    parser.add_argument("--tokens", type=int, nargs="+", default=[4, 16, 64, 256, 512])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args()
    print(f"{'kernels':<18} {'weights':<7} {'peak':>6}  " + "  ".join(f"{n:>5} tokens" for n in args.tokens))
    for isa in args.isa or library.instruction_sets():
        for exact in (True, False):
            kernels = Kernels(isa, exact, args.threads, args.repeat)
            for name, kind in KINDS.items():
                most = peak(kernels, kind)
                reached = [time_products(kernels, kind, tokens) for tokens in args.tokens]
                cells = "  ".join(f"{r / 1e9:>6.0f} {r / most:>4.0%}" for r in reached)
                print(f"{kernels!s:<18} {name:<7} {most / 1e9:>6.0f}  {cells}", flush=True)
            full, sliding = time_attention(kernels, 512, 1536, 0), time_attention(kernels, 512, 1536, 128)
            print(f"{kernels!s:<18} attention of 512 tokens after 1536: {full:.1f} ms, window 128: {sliding:.1f} ms")


if __name__ == "__main__":
    main()
