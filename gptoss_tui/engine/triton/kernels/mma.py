"""Weights times a few vectors on the tensor cores, without a detour through shared memory.

`mma.m16n8k16` multiplies 16 rows by 8 vectors, and fixes which of a warp's 32 threads must hold which values. The order
of the columns is free as long as weights and vectors agree on it, so a thread takes 16 neighbouring bytes of a row, and
the vectors' values at the same columns. Triton cannot address single threads. So the tensors here have a row for each
thread, [threads, 4], whose four neighbouring words are one load, which makes every thread hold one row. The self-test
at start (selftest.py) would notice if a compiler laid them out differently.

Thread 4 g + q of a warp holds 16 bytes of row g, the same columns of row g + 8, and those of the g-th vector. Of the
product it gets rows g and g + 8 for vectors 2 q and 2 q + 1. 16 bytes are 8 bfloat16, or 32 codes of an MXFP4 tile (see
mxfp4.py): then the thread has bytes 16 (q % 2) to 16 (q % 2) + 16 of the row in tile q // 2 of two neighbouring tiles.
"""

from __future__ import annotations

import triton
import triton.language as tl

from gptoss_tui.engine.triton.kernels.mxfp4 import spread_codes


def _mma(a: tuple[str, ...], b: tuple[str, ...]) -> str:
    """PTX that adds the product of registers `a` and `b` to d0, d1, d2 and d3."""
    sums = "{d0, d1, d2, d3}"
    shape = "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32"
    return f"{shape} {sums}, {{{', '.join(a)}}}, {{{', '.join(b)}}}, {sums};"


def _product() -> str:
    """PTX for MXFP4.

    Operands: sums $0-$3; words of row g $4-$7, of row g + 8 $8-$11; scales $12; vectors $16-$31; sums so far $32-$35.
    """
    lines = [
        ".reg .b32 u, v, z, b0, b1, p<4>, q<4>, s<4>;",
        ".reg .f32 d<4>;",
        "mov.b32 z, 0x80008000;",  # two bfloat16 of -0, the addend of multiplications by fma
    ]
    for n in range(4):
        # 2**(code - 1) in both bfloat16 of a pair: the scale, times the 2**126 that `spread_codes` leaves out.
        lines += [f"bfe.u32 u, $12, {8 * n}, 8;", f"mad.lo.u32 s{n}, u, 0x00800080, 0x3F003F00;"]
    lines += [f"mov.f32 d{n}, ${32 + n};" for n in range(4)]
    for word in range(4):
        for row, first in (("p", 4), ("q", 8)):
            lines += spread_codes(f"${first + word}", row)
            scales = 0 if row == "p" else 2
            lines += [f"fma.rn.bf16x2 {row}{n}, {row}{n}, s{scales + n // 2}, z;" for n in range(4)]
        for half in range(2):
            first = 16 + 8 * half + 2 * word
            lines += [
                f"prmt.b32 b0, ${first}, ${first + 1}, 0x5410;",
                f"prmt.b32 b1, ${first}, ${first + 1}, 0x7632;",
                _mma((f"p{2 * half}", f"q{2 * half}", f"p{2 * half + 1}", f"q{2 * half + 1}"), ("b0", "b1")),
            ]
    lines += [f"mov.f32 ${n}, d{n};" for n in range(4)]
    return "{\n" + "\n".join(lines) + "\n}"


def _dense_product() -> str:
    """PTX for bfloat16.

    Operands: sums $0-$3; words of row g $4-$7, of row g + 8 $8-$11; the vector $12-$15; sums so far $16-$19.
    """
    lines = [".reg .f32 d<4>;", *(f"mov.f32 d{n}, ${16 + n};" for n in range(4))]
    lines += [_mma((f"${4 + n}", f"${8 + n}", f"${5 + n}", f"${9 + n}"), (f"${12 + n}", f"${13 + n}")) for n in (0, 2)]
    lines += [f"mov.f32 ${n}, d{n};" for n in range(4)]
    return "{\n" + "\n".join(lines) + "\n}"


def _eight_bit_product() -> str:
    """PTX for int8.

    Operands: sums $0-$3; words of row g $4-$7, of row g + 8 $8-$11; the vector's sixteen columns $12-$19; the initial
    sums $20-$23.

    An int8 with sign bit s and lower seven bits b is b - 128 s, or (128 + b) - (128 + 128 s). Both terms are the
    bfloat16 128 with some bits set: b in its mantissa, or s in its exponent. Bytes 0 and 2 of a word make one pair,
    bytes 1 and 3 the other.
    """
    lines = [".reg .b32 u, v, w, m, b0, b1, p<2>, q<2>;", ".reg .f32 d<4>;", "mov.b32 m, 0xBF80BF80;"]  # m: -1 twice
    lines += [f"mov.f32 d{n}, ${20 + n};" for n in range(4)]
    for word in range(4):
        for row, first in (("p", 4), ("q", 8)):
            for pair in range(2):
                lines += [
                    f"shr.b32 w, ${first + word}, {8 * pair};",
                    "and.b32 u, w, 0x007F007F;",
                    "or.b32 u, u, 0x43004300;",
                    "and.b32 v, w, 0x00800080;",
                    "or.b32 v, v, 0x43004300;",
                    f"fma.rn.bf16x2 {row}{pair}, v, m, u;",
                ]
        columns = f"${12 + 2 * word}, ${13 + 2 * word}"
        lines += [
            f"prmt.b32 b0, {columns}, 0x5410;",
            f"prmt.b32 b1, {columns}, 0x7632;",
            _mma(("p0", "q0", "p1", "q1"), ("b0", "b1")),
        ]
    lines += [f"mov.f32 ${n}, d{n};" for n in range(4)]
    return "{\n" + "\n".join(lines) + "\n}"


def _asked() -> str:
    """PTX that copies $4-$7 to $0-$3 in a way that depends on a barrier.

    The barrier counts the threads whose $4 differs from itself: none. That 0 is then combined with the values by OR.
    """
    lines = [".reg .pred p;", ".reg .b32 n;", "mov.b32 n, $4;", "setp.ne.u32 p, n, $4;", "bar.red.popc.u32 n, 1, p;"]
    return "{\n" + "\n".join(lines + [f"or.b32 ${k}, ${4 + k}, n;" for k in range(4)]) + "\n}"


PRODUCT = tl.constexpr(_product())
OPERANDS = tl.constexpr(",".join(["=f"] * 4 + ["r"] * 28 + ["f"] * 4))


@triton.jit
def product(first, second, scales, x0, x1, x2, x3, acc):
    """`acc` float32 [threads, 4] plus 16 rows of MXFP4 times 8 vectors over 128 columns.

    first, second: packed words of rows g and g + 8; scales: four codes, for the low and high nibbles of row g, then of
    row g + 8; x0, x1: the g-th vector at the columns of the low nibbles; x2, x3: at those of the high nibbles. All are
    int32 [threads, 4].
    """
    return tl.inline_asm_elementwise(
        PRODUCT, OPERANDS, [first, second, scales, x0, x1, x2, x3, acc], dtype=tl.float32, is_pure=True, pack=4
    )


DENSE_PRODUCT = tl.constexpr(_dense_product())
DENSE_OPERANDS = tl.constexpr(",".join(["=f"] * 4 + ["r"] * 12 + ["f"] * 4))


@triton.jit
def dense_product(first, second, vector, acc):
    """`acc` float32 [threads, 4] plus 16 rows of bfloat16 times 8 vectors over 32 columns.

    first, second, vector: words of rows g and g + 8 and of the g-th vector, int32 [threads, 4] of two bfloat16 each.
    """
    return tl.inline_asm_elementwise(
        DENSE_PRODUCT, DENSE_OPERANDS, [first, second, vector, acc], dtype=tl.float32, is_pure=True, pack=4
    )


EIGHT_BIT_PRODUCT = tl.constexpr(_eight_bit_product())
EIGHT_BIT_OPERANDS = tl.constexpr(",".join(["=f"] * 4 + ["r"] * 16 + ["f"] * 4))


@triton.jit
def eight_bit_product(first, second, low, high, acc):
    """`acc` float32 [threads, 4] plus 16 rows of int8 times 8 vectors over 64 columns, sixteen of them per thread.

    first, second: words of rows g and g + 8, int32 [threads, 4] of four int8 each; low, high: the g-th vector at the
    first eight columns and at the others, as in `dense_product`.
    """
    return tl.inline_asm_elementwise(
        EIGHT_BIT_PRODUCT, EIGHT_BIT_OPERANDS, [first, second, low, high, acc], dtype=tl.float32, is_pure=True, pack=4
    )


ASKED = tl.constexpr(_asked())
ASKED_OPERANDS = tl.constexpr(",".join(["=&f"] * 4 + ["f"] * 4))


@triton.jit
def asked(acc):
    """`acc` float32 [threads, 4] unchanged, but products added to the result come after all loads before this call.

    The compiler would otherwise mix loads with the products that wait for them, so that few loads are in flight at a
    time. It may move products across a barrier, but not across one whose result they need.
    """
    return tl.inline_asm_elementwise(ASKED, ASKED_OPERANDS, [acc], dtype=tl.float32, is_pure=False, pack=4)


@triton.jit
def begin(words):
    """Float32 zeros in the shape of `words`, which are int32.

    With constants, `asked` would run once for each layout they could have: Triton 3.6 creates a constant in all of
    these layouts, and does not remove the copies of code that contains a barrier.
    """
    return tl.inline_asm_elementwise("mov.b32 $0, 0;", "=f,r", [words], dtype=tl.float32, is_pure=True, pack=1)


@triton.jit
def lanes(WARPS: tl.constexpr):
    """The warp, g and q of each thread: three tensors [threads]."""
    thread = tl.arange(0, 32 * WARPS)
    return thread // 32, thread % 32 // 4, thread % 4


@triton.jit
def rows_and_vectors(acc, WARPS: tl.constexpr):
    """Add up the sums [threads, 4] of all warps: float32 [16, 8], a column per vector."""
    # The first two of a thread's sums belong to row g, the other two to row g + 8.
    parts = tl.sum(tl.reshape(acc, (WARPS, 8, 4, 2, 2)), 0)
    return tl.reshape(tl.permute(parts, (2, 0, 1, 3)), (16, 8))
