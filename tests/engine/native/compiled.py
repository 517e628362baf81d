"""Programs of tests that are linked with units of the library."""

from __future__ import annotations

import subprocess
from pathlib import Path

from gptoss_tui.engine.native.build import SOURCES


def compared(
    program_source: str,
    units: dict[str, tuple[str, ...]],
    tmp_path: Path,
    compiler: str,
    emulator: tuple[str, ...] = (),
) -> list[str]:
    """Compile a program of this folder with some units of the library, with their flags, and run it: what it prints."""
    sources = {SOURCES / f"{name}.cpp": flags for name, flags in units.items()}
    sources[Path(__file__).with_name(program_source)] = ()
    objects = []
    for source, flags in sources.items():
        objects.append(tmp_path / f"{source.stem}.o")
        command = [compiler, "-std=c++17", "-O1", "-Wno-psabi", *flags, f"-I{SOURCES}", "-c", str(source)]
        subprocess.run([*command, "-o", str(objects[-1])], check=True)
    program = tmp_path / "compare"
    subprocess.run([compiler, *map(str, objects), "-o", str(program)], check=True)
    ended = subprocess.run([*emulator, str(program)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout.splitlines()
