"""Compiles the CPU kernels in `src/` into one shared library: when the package is built, never when it runs.

It is called by the build of wheels and of editable installs (`hatch_build.py`), and by `make`, since an editable
install does not notice changed sources. It needs Python's standard library and a C++17 compiler (GCC or Clang), nothing
else.

Every `.cpp` file is a unit. If the last word of its name is an instruction set in `SETS`, that decides its flags:
`gemm_bytes_avx512.cpp` is compiled for AVX-512, `pool.cpp` for any machine of the architecture. The library checks the
CPU before it calls a function of such a unit. Inline functions and templates that such a unit shares with others must
be `static` or in an unnamed namespace: of all others the linker keeps one copy, and that may be the one compiled for
the newest CPU. Units for a set that the compiler does not know are left out; all units see `NATIVE_<SET>` defined for
each set that is included.

If there is no compiler, the package works without the library, through torch.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_SYSTEM = platform.system()
HERE = Path(__file__).resolve().parent
SOURCES = HERE / "src"
LIBRARY = HERE / ("libgptoss.dylib" if _SYSTEM == "Darwin" else "libgptoss.so")

_COMMON = ("-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-fno-math-errno", "-fno-trapping-math", "-pthread")
# GCC 12 warns about deliberately undefined registers in its own headers.
_WARNINGS = (
    *("-Wall", "-Wextra", "-Wno-psabi", "-Wno-unknown-pragmas"),
    *("-Wno-unknown-warning-option", "-Wno-uninitialized", "-Wno-maybe-uninitialized"),
)
_TRY_SECONDS, _UNIT_SECONDS = 60, 600


class NativeBuildError(Exception):
    """The library cannot be built here; the message is for users and includes the compiler's output."""


@dataclass(frozen=True, slots=True)
class InstructionSet:
    """An instruction set: `machines` that may have it, compiler flags, and a probe that compiles only with them."""

    machines: tuple[str, ...]
    flags: tuple[str, ...]
    header: str
    probe: str


_X86, _ARM = ("x86_64", "amd64"), ("aarch64", "arm64")
_AVX2 = ("-mavx2", "-mfma", "-mf16c")
_AVX512 = (*_AVX2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vnni", "-mprefer-vector-width=512")
_BF16 = (*_AVX512, "-mavx512bf16")
_AMX = (*_BF16, "-mamx-tile", "-mamx-bf16", "-mamx-int8")

SETS: Mapping[str, InstructionSet] = {
    "avx2": InstructionSet(_X86, _AVX2, "immintrin.h", "_mm256_abs_epi16(_mm256_setzero_si256())"),
    "avx512": InstructionSet(
        _X86,
        _AVX512,
        "immintrin.h",
        "_mm512_dpbusd_epi32(_mm512_set1_epi8(0), _mm512_set1_epi8(0), _mm512_set1_epi8(0))",
    ),
    "bf16": InstructionSet(_X86, _BF16, "immintrin.h", "_mm512_cvtneps_pbh(_mm512_setzero_ps())"),
    "amx": InstructionSet(_X86, _AMX, "immintrin.h", "_tile_dpbf16ps(0, 1, 2)"),
    "dotprod": InstructionSet(
        _ARM,
        ("-march=armv8.2-a+dotprod+fp16",),
        "arm_neon.h",
        "vdotq_s32(vdupq_n_s32(0), vdupq_n_s8(0), vdupq_n_s8(0))",
    ),
    "i8mm": InstructionSet(
        _ARM,
        ("-march=armv8.2-a+dotprod+fp16+i8mm",),
        "arm_neon.h",
        "vmmlaq_s32(vdupq_n_s32(0), vdupq_n_s8(0), vdupq_n_s8(0))",
    ),
}


@dataclass(frozen=True, slots=True)
class Compiler:
    """A C++ compiler: the command that starts it, and the first line of its `--version` output."""

    command: tuple[str, ...]
    version: str


@dataclass(frozen=True, slots=True)
class Built:
    """A built library: its path, the compiler's version, and the instruction sets in it."""

    path: Path
    compiler: str
    sets: tuple[str, ...]


def find_compiler(environ: Mapping[str, str] = os.environ) -> Compiler:
    """The compiler named by `CXX`, or else the first of c++, g++ and clang++ that runs.

    Raises NativeBuildError if there is none.
    """
    wanted = environ.get("CXX", "").strip()
    for name in (wanted,) if wanted else ("c++", "g++", "clang++"):
        command = tuple(shlex.split(name))
        if shutil.which(command[0], path=environ.get("PATH")) is None:
            continue
        try:
            answer = _run((*command, "--version"), _TRY_SECONDS)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if answer.returncode == 0 and answer.stdout:
            return Compiler(command, answer.stdout.splitlines()[0])
    raise NativeBuildError(f"no C++ compiler: {wanted or 'c++, g++ or clang++'} cannot be run")


@cache
def supported_sets(compiler: Compiler) -> tuple[str, ...]:
    """The instruction sets of this architecture that the compiler knows, in the order of `SETS`."""
    machine = platform.machine().lower()
    candidates = [name for name, kind in SETS.items() if machine in kind.machines]
    with ThreadPoolExecutor(_jobs()) as pool:
        known = pool.map(lambda name: _compiles(compiler, SETS[name]), candidates)
        return tuple(name for name, yes in zip(candidates, known, strict=True) if yes)


def build(library: Path = LIBRARY, *, sources: Path = SOURCES, compiler: Compiler | None = None) -> Built:
    """Compile `sources` into `library`; nothing is compiled if nothing has changed since the last build.

    Object files are kept in `build/native` of a checkout. The library is replaced atomically, so that a process that
    has it mapped keeps its own copy. Raises NativeBuildError with the compiler's output.
    """
    compiler = compiler or find_compiler()
    sets = supported_sets(compiler)
    units = {path: flags for path in sorted(sources.glob("*.cpp")) if (flags := unit_flags(path, sets)) is not None}
    if not units:
        raise NativeBuildError(f"no sources in {sources}")
    defines = tuple(f"-DNATIVE_{name.upper()}=1" for name in sets)
    headers = b"".join(path.read_bytes() for path in sorted(sources.glob("*.h")))
    identity = f"{compiler.command}{compiler.version}{_target()}".encode() + headers
    with tempfile.TemporaryDirectory() as scratch:
        objects = _object_folder(sources) or Path(scratch)
        objects.mkdir(parents=True, exist_ok=True)

        def compile_unit(item: tuple[Path, tuple[str, ...]]) -> Path:
            path, flags = item
            command = (*compiler.command, *_COMMON, *_WARNINGS, *_target(), *defines, *flags)
            digest = hashlib.sha256(identity + repr(command).encode() + path.read_bytes()).hexdigest()[:16]
            done = objects / f"{path.stem}.{digest}.o"
            if not done.exists():
                for old in objects.glob(f"{path.stem}.*.o"):
                    old.unlink(missing_ok=True)
                _replace(done, (*command, "-c", str(path)))
            return done

        with ThreadPoolExecutor(_jobs()) as pool:
            compiled = list(pool.map(compile_unit, units.items()))
        linked = objects / "linked"
        identity_of_all = "\n".join([str(library), *(one.name for one in compiled)])
        if not library.exists() or not linked.exists() or linked.read_text() != identity_of_all:
            _replace(library, (*compiler.command, "-shared", "-pthread", *_target(), *map(str, compiled)))
            linked.write_text(identity_of_all)
    return Built(library, compiler.version, sets)


def unit_flags(path: Path, sets: Sequence[str]) -> tuple[str, ...] | None:
    """The flags of a unit besides the common ones; None for a unit of an instruction set that is not in `sets`."""
    name = path.stem.rpartition("_")[2]
    if name not in SETS:
        return ()
    return SETS[name].flags if name in sets else None


def platform_tag() -> str:
    """The platform tag of the wheel: the library fits this system and architecture, and any Python."""
    if _SYSTEM != "Darwin":
        return f"{_SYSTEM.lower()}_{platform.machine().lower()}"
    return f"macosx_{_macos_version().replace('.', '_')}_{platform.machine()}"


def _macos_version() -> str:
    return os.environ.get("MACOSX_DEPLOYMENT_TARGET", "11.0")


def _target() -> tuple[str, ...]:
    """Compiler flags for the target system."""
    if _SYSTEM != "Darwin":
        return ()
    return ("-arch", platform.machine(), f"-mmacosx-version-min={_macos_version()}")


def _object_folder(sources: Path) -> Path | None:
    """The folder in which a checkout keeps object files between builds; None outside of a checkout."""
    root = HERE.parents[2]
    return root / "build" / "native" if sources == SOURCES and (root / ".git").exists() else None


def _run(command: Sequence[str], seconds: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=seconds)


def _jobs() -> int:
    return os.cpu_count() or 1


def _compiles(compiler: Compiler, kind: InstructionSet) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "probe.cpp"
        source.write_text(f"#include <{kind.header}>\nvoid probe() {{ {kind.probe}; }}\n")
        command = (*compiler.command, *_target(), "-std=c++17", *kind.flags, "-c", str(source), "-o", f"{source}.o")
        try:
            return _run(command, _TRY_SECONDS).returncode == 0
        except (OSError, subprocess.TimeoutExpired):
            return False


def _replace(target: Path, command: Sequence[str]) -> None:
    """Run `command` with a temporary output file, which replaces `target` when it is complete."""
    fresh = target.with_name(f"{target.name}.{os.getpid()}")
    try:
        result = _run((*command, "-o", str(fresh)), _UNIT_SECONDS)
        if result.returncode != 0:
            raise NativeBuildError(f"{shlex.join(command)}\n{result.stderr}")
        if result.stderr:
            print(result.stderr, file=sys.stderr)
        fresh.replace(target)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NativeBuildError(f"{shlex.join(command)}: {error}") from error
    finally:
        fresh.unlink(missing_ok=True)


def main() -> int:
    """Build, and print what was built. Returns 0 even without a compiler: the package works without the library."""
    parser = argparse.ArgumentParser(description="Compile the CPU kernels in place.")
    parser.add_argument("--quiet", action="store_true", help="say nothing when the library is built")
    parser.add_argument("--require", action="store_true", help="fail when the library cannot be built")
    args = parser.parse_args()
    try:
        built = build()
    except NativeBuildError as error:
        print(f"The CPU kernels are not built, torch takes their place: {error}", file=sys.stderr)
        return 1 if args.require else 0
    if not args.quiet:
        print(f"{built.path}: {built.compiler}; {', '.join(built.sets) or 'no instruction set beside the first'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
