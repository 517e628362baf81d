"""The few PTX instructions of our kernels, run for all threads at once, so that Triton's interpreter can take them.

Meanings are those of the PTX ISA, sections "Instruction Set" and "Warp Level Matrix Multiply-Accumulate". Registers are
uint32 [threads]. What stays unproved is the compiler's part: that thread n holds row n of a [threads, 4] tensor (its
layout says so, see offline.py) and that the assembler takes the text (see test_compile.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import triton.language as tl
from numpy.typing import NDArray
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle, _get_np_dtype

U32 = NDArray[np.uint32]
F32 = NDArray[np.float32]

WARP = 32


def floats(bits: U32) -> F32:
    """The float32 of so many bits."""
    return bits.view(np.float32)


def bits(value: NDArray[Any]) -> U32:
    """The bits of float32."""
    return np.ascontiguousarray(value, dtype=np.float32).view(np.uint32)


def halves(pair: U32) -> tuple[F32, F32]:
    """The two bfloat16 of a register, low and high."""
    return floats(pair << np.uint32(16)), floats(pair & np.uint32(0xFFFF0000))


def rounded(value: NDArray[Any]) -> U32:
    """Bits of bfloat16, to nearest even. `value` must be exact or far from a tie in float32."""
    word = bits(value).astype(np.uint64)
    return ((word + 0x7FFF + ((word >> np.uint64(16)) & np.uint64(1))) >> np.uint64(16)).astype(np.uint32)


def permuted(low: U32, high: U32, selector: U32) -> U32:
    """prmt.b32 in its default mode: four bytes out of eight; bit 3 of a selector repeats a byte's sign."""
    both = low.astype(np.uint64) | (high.astype(np.uint64) << np.uint64(32))
    out = np.zeros_like(low)
    for place in range(4):
        chosen = (selector >> np.uint32(4 * place)) & np.uint32(0xF)
        byte = (both >> (8 * (chosen & np.uint32(7)).astype(np.uint64))).astype(np.uint32) & np.uint32(0xFF)
        byte = np.where(chosen & np.uint32(8), np.where(byte & np.uint32(0x80), 0xFF, 0), byte).astype(np.uint32)
        out |= byte << np.uint32(8 * place)
    return out


def matrix_product(a: Sequence[U32], b: Sequence[U32], c: Sequence[F32]) -> list[F32]:
    """mma.m16n8k16 of bfloat16 with float32 sums: each thread's part of A, B and C; its part of D."""
    threads = len(c[0])
    warps = threads // WARP
    lane = np.arange(threads) % WARP
    warp, group, quad = np.arange(threads) // WARP, lane // 4, lane % 4
    left, right = np.zeros((warps, 16, 16)), np.zeros((warps, 16, 8))
    for number, register in enumerate(a):
        row, column = group + 8 * (number % 2), 2 * quad + 8 * (number // 2)
        for side, value in enumerate(halves(register)):
            left[warp, row, column + side] = value
    for number, register in enumerate(b):
        for side, value in enumerate(halves(register)):
            right[warp, 2 * quad + 8 * number + side, group] = value
    product = left @ right
    rows = (group, group, group + 8, group + 8)
    return [
        (sums + product[warp, row, 2 * quad + number % 2]).astype(np.float32)
        for number, (sums, row) in enumerate(zip(c, rows, strict=True))
    ]


class Machine:
    """Registers of all threads, by name."""

    def __init__(self, operands: dict[str, U32], shared: set[str]) -> None:
        """`shared`: outputs that the compiler may put where inputs are: inputs are lost with the first of them."""
        self.registers = dict(operands)
        self.threads = len(next(iter(operands.values())))
        self._inputs, self._shared = set(operands), shared
        self._lost = False

    def value(self, name: str) -> U32:
        """A register's, or the constant that `name` is."""
        assert not (self._lost and name in self._inputs), f"{name} is read after an output was written"
        if re.fullmatch(r"0x[0-9A-Fa-f]+|\d+", name):
            return np.full(self.threads, int(name, 0), np.uint32)
        return self.registers[name]

    def run(self, text: str) -> None:
        """Every instruction of an inline assembly in turn. Raises KeyError for one that is not known here."""
        for name, operands in instructions(text):
            if name.startswith("mma.sync"):
                self._matrix(*operands)
            else:
                (target,), *sources = operands
                self.registers[target] = OPERATIONS[name](*(self.value(source) for (source,) in sources))
                self._lost |= target in self._shared

    def _matrix(self, d: Names, a: Names, b: Names, c: Names) -> None:
        sums = matrix_product(
            [self.value(name) for name in a],
            [self.value(name) for name in b],
            [floats(self.value(name)) for name in c],
        )
        self.registers.update(zip(d, map(bits, sums), strict=True))
        self._lost |= not self._shared.isdisjoint(d)


def fused(a: U32, b: U32, c: U32) -> U32:
    """fma.rn.bf16x2: one rounding of each half. In float64 a product of two bfloat16 is exact."""
    low, high = (
        rounded(x.astype(np.float64) * y.astype(np.float64) + z.astype(np.float64))
        for x, y, z in zip(halves(a), halves(b), halves(c), strict=True)
    )
    return low | high << np.uint32(16)


OPERATIONS: dict[str, Callable[..., U32]] = {
    "mov.b32": lambda a: a,
    "mov.f32": lambda a: a,
    "shl.b32": lambda a, by: a << by,
    "shr.b32": lambda a, by: a >> by,
    "and.b32": lambda a, b: a & b,
    "or.b32": lambda a, b: a | b,
    "bfe.u32": lambda a, start, length: (a >> start) & ((np.uint32(1) << length) - np.uint32(1)),
    "mad.lo.u32": lambda a, b, c: a * b + c,
    "setp.ne.u32": lambda a, b: (a != b).astype(np.uint32),
    "bar.red.popc.u32": lambda barrier, true: np.full_like(true, true.sum()),
    "prmt.b32": permuted,
    "fma.rn.bf16x2": fused,
}


Names = tuple[str, ...]


@cache
def instructions(text: str) -> tuple[tuple[str, tuple[Names, ...]], ...]:
    """Name and operands of each instruction; a vector of registers is one operand."""
    parsed = []
    for line in text.strip().removeprefix("{").removesuffix("}").split(";"):
        name, _, rest = line.strip().partition(" ")
        if name and name != ".reg":
            operands = re.findall(r"\{(.*?)\}|([^\s,{}]+)", rest)
            parsed.append((name, tuple(tuple((many or one).replace(" ", "").split(",")) for many, one in operands)))
    return tuple(parsed)


def inline_asm(
    text: str, constraints: str, arguments: Sequence[NDArray[Any]], results: Sequence[np.dtype[Any]], pack: int
) -> list[NDArray[Any]]:
    """What `tl.inline_asm_elementwise` gives: an array of each dtype of `results`.

    `arguments` are arrays of one shape. A thread gets `pack` neighbouring elements of each at a time, in registers of
    32 bits.
    """
    outputs = [kind for kind in constraints.split(",") if kind.startswith("=")]
    inputs: dict[str, U32] = {}
    for argument in arguments:
        words = np.ascontiguousarray(argument).reshape(-1, pack).view(np.uint32)
        inputs |= {f"${len(outputs) + len(inputs) + n}": words[:, n].copy() for n in range(words.shape[1])}
    early = {f"${n}" for n, kind in enumerate(outputs) if "&" in kind}
    machine = Machine(inputs, {f"${n}" for n in range(len(outputs))} - early)
    machine.run(text)
    made = [machine.registers[f"${n}"] for n in range(len(outputs))]
    shape, taken = arguments[0].shape, 0
    arrays: list[NDArray[Any]] = []
    for dtype in results:
        count = pack * dtype.itemsize // 4
        arrays.append(np.stack(made[taken : taken + count], axis=1).view(dtype).reshape(shape))
        taken += count
    assert taken == len(outputs)
    return arrays


class Results:
    """What the interpreter's builder returns for inline assembly."""

    def __init__(self, handles: list[TensorHandle]) -> None:
        self._handles = handles

    def get_result(self, number: int) -> TensorHandle:
        return self._handles[number]


def create_inline_asm(
    builder: object,
    text: str,
    constraints: str,
    values: Sequence[TensorHandle],
    types: Sequence[Any],
    pure: bool,
    pack: int,
) -> Results:
    """In place of the method of this name of Triton's interpreter, which knows no assembly."""
    scalars = [kind.scalar for kind in types]
    dtypes = [_get_np_dtype(scalar) for scalar in scalars]
    arrays = inline_asm(text, constraints, [value.data for value in values], dtypes, pack)
    return Results([TensorHandle(array, scalar) for array, scalar in zip(arrays, scalars, strict=True)])


_multiply = InterpreterBuilder.create_dot


def create_dot(builder: Any, a: TensorHandle, b: TensorHandle, *others: Any) -> TensorHandle:
    """In place of the method of this name, which takes the bits of bfloat16 for integers."""
    return _multiply(builder, _widened(a), _widened(b), *others)


def _widened(factor: TensorHandle) -> TensorHandle:
    if factor.dtype.scalar != tl.bfloat16:
        return factor
    return TensorHandle(floats(factor.data.astype(np.uint32) << np.uint32(16)), tl.float32)
