"""Compiling the kernels: which units, in which way, and what happens where there is no compiler."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from gptoss_tui.engine.native import build

ROOT = Path(__file__).parents[3]
EXPORT = 'extern "C" __attribute__((visibility("default")))'


@pytest.fixture
def compiler() -> build.Compiler:
    """The compiler of this machine."""
    try:
        return build.find_compiler()
    except build.NativeBuildError:
        pytest.skip("there is no C++ compiler")


@pytest.fixture
def hatchling() -> list[str]:
    """The command that builds a wheel of the folder in which it runs."""
    pytest.importorskip("hatchling", reason="hatchling is not installed: pip install 'gptoss-tui[test]'")
    return [sys.executable, "-m", "hatchling", "build", "-t", "wheel"]


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A unit for any machine, and one for each instruction set, which says what it was compiled for."""
    folder = tmp_path / "src"
    folder.mkdir()
    (folder / "number.h").write_text("#define NUMBER 1\n")
    (folder / "any.cpp").write_text(f'#include "number.h"\n{EXPORT} int number() {{ return NUMBER; }}\n')
    for name in build.SETS:
        (folder / f"of_{name}.cpp").write_text(f"{EXPORT} int has_{name}() {{ return NATIVE_{name.upper()}; }}\n")
    return folder


def test_units_of_the_sets_that_the_compiler_knows_are_in(
    tmp_path: Path, sources: Path, compiler: build.Compiler
) -> None:
    built = build.build(tmp_path / "library.so", sources=sources, compiler=compiler)
    library = ctypes.CDLL(str(built.path))
    assert library.number() == 1
    for name, kind in build.SETS.items():
        assert hasattr(library, f"has_{name}") == (name in built.sets)
        assert name not in built.sets or platform.machine().lower() in kind.machines
    if platform.machine() == "x86_64":
        assert "avx2" in built.sets


def test_a_changed_header_changes_the_library(tmp_path: Path, sources: Path, compiler: build.Compiler) -> None:
    first = build.build(tmp_path / "first.so", sources=sources, compiler=compiler)
    (sources / "number.h").write_text("#define NUMBER 2\n")
    second = build.build(tmp_path / "second.so", sources=sources, compiler=compiler)
    assert [ctypes.CDLL(str(built.path)).number() for built in (first, second)] == [1, 2]


def test_a_mistake_is_told_and_leaves_the_library_that_was_there(
    tmp_path: Path, sources: Path, compiler: build.Compiler
) -> None:
    library = tmp_path / "library.so"
    library.write_bytes(b"as it was")
    (sources / "any.cpp").write_text("int number() { return nothing; }\n")
    with pytest.raises(build.NativeBuildError, match="nothing"):
        build.build(library, sources=sources, compiler=compiler)
    assert library.read_bytes() == b"as it was"
    assert {path.name for path in tmp_path.iterdir()} == {"library.so", "src"}


def test_every_unit_of_a_set_keeps_its_functions_to_itself(compiler: build.Compiler) -> None:
    """What the linker may merge with another unit's could run on a CPU that lacks the set."""
    objects = sorted((ROOT / "build" / "native").glob("*.o"))
    own = [path for path in objects if path.stem.split(".")[0].rpartition("_")[2] in build.SETS]
    if not own:
        pytest.skip("there are no object files: the kernels were built elsewhere")
    if shutil.which("nm") is None:
        pytest.skip("there is no nm")
    listing = subprocess.run(["nm", "-C", *map(str, own)], check=True, capture_output=True, text=True).stdout
    symbols = [line for line in listing.splitlines() if not line.endswith(".o:")]
    assert len(symbols) > len(own)
    assert [line for line in symbols if line[17:18] in ("W", "V", "u")] == []


@pytest.mark.parametrize("variable", ["CXX", "PATH"])
def test_without_a_compiler_there_are_words(variable: str, capfd: pytest.CaptureFixture[str]) -> None:
    environment = {**os.environ, variable: "/nowhere"}
    command = [sys.executable, "-m", "gptoss_tui.engine.native.build"]
    ended = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0
    assert "torch takes their place: no C++ compiler" in ended.stderr
    assert subprocess.run([*command, "--require"], env=environment, cwd=ROOT, check=False).returncode == 1
    assert "no C++ compiler" in capfd.readouterr().err


def test_a_wheel_built_without_a_compiler_is_for_any_machine(tmp_path: Path, hatchling: list[str]) -> None:
    tree = tmp_path / "tree"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=False, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("this is not a checkout")
    for name in filter(None, listed.stdout.split("\0")):
        if name.startswith(("gptoss_tui/engine/native/", "hatch_build", "pyproject", "README", "LICENSE", "docs/")):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_bytes((ROOT / name).read_bytes())
    (tree / "gptoss_tui" / "__init__.py").write_bytes((ROOT / "gptoss_tui" / "__init__.py").read_bytes())
    environment = {**os.environ, "CXX": "/nowhere"}
    ended = subprocess.run(hatchling, cwd=tree, env=environment, capture_output=True, text=True, check=True)
    assert "torch takes their place" in ended.stdout + ended.stderr
    (wheel,) = (tree / "dist").iterdir()
    assert wheel.name.endswith("-py3-none-any.whl")
    assert not [name for name in zipfile.ZipFile(wheel).namelist() if "libgptoss" in name]
    environment["GPTOSS_TUI_NATIVE"] = "require"
    assert subprocess.run(hatchling, cwd=tree, env=environment, capture_output=True, check=False).returncode != 0


def test_a_wheel_built_with_a_compiler_holds_the_library(
    tmp_path: Path, sources: Path, compiler: build.Compiler, hatchling: list[str]
) -> None:
    tree = tmp_path / "tree"
    native = tree / "gptoss_tui" / "engine" / "native"
    native.mkdir(parents=True)
    for name in ("hatch_build.py", "gptoss_tui/__init__.py", "gptoss_tui/engine/native/build.py"):
        (tree / name).write_bytes((ROOT / name).read_bytes())
    sources.rename(native / "src")
    (tree / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "gptoss-tui"\nversion = "1"\n'
        '[tool.hatch.build.hooks.custom]\n[tool.hatch.build.targets.wheel]\npackages = ["gptoss_tui"]\n'
    )
    (tree / ".gitignore").write_bytes((ROOT / ".gitignore").read_bytes())
    subprocess.run(hatchling, cwd=tree, capture_output=True, check=True)
    (wheel,) = (tree / "dist").iterdir()
    assert wheel.name == f"gptoss_tui-1-py3-none-{build.platform_tag()}.whl"
    names = zipfile.ZipFile(wheel).namelist()
    assert f"gptoss_tui/engine/native/{build.LIBRARY.name}" in names
    assert "Root-Is-Purelib: false" in zipfile.ZipFile(wheel).read("gptoss_tui-1.dist-info/WHEEL").decode()
