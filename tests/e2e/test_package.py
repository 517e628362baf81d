"""What an installation gets: the wheel holds all that the program reads."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree, made by the build backend that the tests have installed."""
    folder = tmp_path_factory.mktemp("wheel")
    command = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([sys.executable, *command, str(ROOT)], check=True, capture_output=True)
    (path,) = folder.iterdir()
    return path


def test_every_file_of_the_package_is_in_the_wheel(wheel: Path) -> None:
    package = [path for path in (ROOT / "gptoss_tui").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    names = zipfile.ZipFile(wheel).namelist()
    assert {path.relative_to(ROOT).as_posix() for path in package} <= set(names)
    for data in ("nano/nano.safetensors", "data/o200k_base.tiktoken.gz", "styles/chat.tcss"):
        assert any(name.endswith(data) for name in names), data


def test_the_wheel_is_small_enough_to_be_installed_anywhere(wheel: Path) -> None:
    assert wheel.stat().st_size < 40 * MEGABYTE
