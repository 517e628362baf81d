"""Running the engine's Metal kernels on a CPU: their sources, compiled as C++ with `shim.h`."""

from __future__ import annotations

import ctypes
import hashlib
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import mlx.core as mx
import numpy as np
import numpy.typing as npt

from gptoss_tui.engine.metal.kernels.source import Kernel, Launch, Run

COMPILER = shutil.which("clang++") or shutil.which("g++")

_TYPES = {
    mx.float32: "float",
    mx.bfloat16: "bfloat16_t",
    mx.uint32: "uint32_t",
    mx.uint8: "uint8_t",
    mx.bool_: "bool",
}
_GUARD = 256
"""Bytes around each array. They are no number in any type, so that reading them would show."""


class Emulator:
    """A `Launcher`. `backwards` lets the last thread of a threadgroup go first. `launched` counts by name."""

    def __init__(self, directory: Path, *, backwards: bool = False) -> None:
        self.backwards = backwards
        self.launched: dict[str, int] = {}
        self._directory = directory

    def __call__(self, kernel: Kernel, launch: Launch) -> Run:
        """The kernel, ready to run."""
        return lambda inputs: self.run(kernel, inputs, launch)

    def run(self, kernel: Kernel, inputs: Sequence[mx.array], launch: Launch) -> list[mx.array]:
        """Run the kernel. Fails where a thread waits for one that is done, or writes behind an array."""
        self.launched[kernel.name] = self.launched.get(kernel.name, 0) + 1
        library = ctypes.CDLL(str(self._built(kernel, inputs, launch)))
        buffers = [_guarded(_bytes(array)) for array in inputs]
        sizes = [int(np.prod(shape)) * dtype.size for shape, dtype in zip(launch.shapes, launch.dtypes, strict=True)]
        made = [_guarded(np.full(size, 0xFF, dtype=np.uint8)) for size in sizes]
        addresses = (ctypes.c_void_p * (len(buffers) + len(made)))(*(b.ctypes.data + _GUARD for b in (*buffers, *made)))
        across, down = launch.groups
        assert library.run(addresses, across, down, self.backwards), f"{kernel.name}: threads wait for each other"
        results = []
        for buffer, size, shape, dtype in zip(made, sizes, launch.shapes, launch.dtypes, strict=True):
            assert (buffer[:_GUARD] == 0xFF).all(), f"{kernel.name} writes before an array"
            assert (buffer[_GUARD + size :] == 0xFF).all(), f"{kernel.name} writes behind an array"
            results.append(mx.array(buffer[_GUARD : _GUARD + size].copy()).view(dtype).reshape(shape))
        return results

    def _built(self, kernel: Kernel, inputs: Sequence[mx.array], launch: Launch) -> Path:
        source = _source(kernel, inputs, launch)
        library = self._directory / f"{kernel.name}-{hashlib.sha256(source.encode()).hexdigest()[:16]}.so"
        if not library.exists():
            file = library.with_suffix(".cpp")
            file.write_text(source)
            # Hidden, or libraries would share the memory of threadgroups of the same name.
            flags = ["-std=c++17", "-O1", "-fno-strict-aliasing", "-fPIC", "-shared", "-fvisibility=hidden"]
            subprocess.run([str(COMPILER), *flags, "-o", str(library), str(file)], check=True)
        return library


def _source(kernel: Kernel, inputs: Sequence[mx.array], launch: Launch) -> str:
    """The file that MLX would give to Metal, with a function for ctypes instead of the kernel's attributes."""
    dtypes = [*(array.dtype for array in inputs), *launch.dtypes]
    names = [*kernel.inputs, *kernel.outputs]
    pointers = [("const " if index < len(inputs) else "") + f"{_TYPES[dtype]}*" for index, dtype in enumerate(dtypes)]
    parameters = ", ".join(f"{pointer} {name}" for pointer, name in zip(pointers, names, strict=True))
    types = ", ".join(f"{'int' if isinstance(value, int) else 'typename'} {name}" for name, value in launch.template)
    values = ", ".join(str(value) if isinstance(value, int) else _TYPES[value] for _, value in launch.template)
    arguments = ", ".join(f"({pointer})arguments[{index}]" for index, pointer in enumerate(pointers))
    shim = Path(__file__).with_name("shim.h")
    return f"""#include "{shim}"
{kernel.header}
template <{types}> void {kernel.name}({parameters}) {{
{kernel.source}
}}
static void** arguments;
static void call() {{ {kernel.name}<{values}>({arguments}); }}
extern "C" __attribute__((visibility("default"))) int run(void** given, int across, int down, int backwards) {{
  arguments = given;
  return emulation::emulate(call, across, down, backwards);
}}
"""


def complaints(kernel: Kernel, inputs: Sequence[mx.array], launch: Launch) -> list[str]:
    """What clang says against the types of a kernel, with the address spaces that MLX gives to its arrays."""
    from clang import cindex

    def parameter(name: str, array: mx.array) -> str:
        # MLX hands over small arrays in another address space.
        return f"const {'constant' if array.size < 8 else 'device'} {_TYPES[array.dtype]}* {name}"

    parameters = [parameter(name, array) for name, array in zip(kernel.inputs, inputs, strict=True)]
    parameters += [f"device {_TYPES[t]}* {name}" for name, t in zip(kernel.outputs, launch.dtypes, strict=True)]
    parameters += [f"uint {name}" for name in ("thread_index_in_simdgroup", "simdgroup_index_in_threadgroup")]
    parameters += [f"uint3 {name}" for name in ("thread_position_in_threadgroup", "threadgroup_position_in_grid")]
    values = "".join(
        f"enum {{ {name} = {value} }};\n" if isinstance(value, int) else f"typedef {_TYPES[value]} {name};\n"
        for name, value in launch.template
    )
    prelude = Path(__file__).with_name("opencl.h").read_text()
    source = f"{prelude}{kernel.header}__kernel void checked({', '.join(parameters)}) {{\n{values}{kernel.source}\n}}\n"
    arguments = ["-x", "clcpp", "-cl-std=clc++2021", "-I/headers"]
    files = [("/kernel.clcpp", source), ("/headers/opencl-c-base.h", "")]
    unit = cindex.Index.create().parse("/kernel.clcpp", args=arguments, unsaved_files=files)
    return [found.spelling for found in unit.diagnostics if found.severity >= cindex.Diagnostic.Error]


def _bytes(array: mx.array) -> npt.NDArray[np.uint8]:
    flat = mx.contiguous(array).flatten()
    return np.array(flat.view(mx.uint8) if array.dtype != mx.bool_ else flat.astype(mx.uint8))


def _guarded(content: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    guard = np.full(_GUARD, 0xFF, dtype=np.uint8)
    return np.concatenate((guard, content, guard))
