"""What CI may skip."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.skips import VARIABLE

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(("allowed", "code"), [("a b\n", 0), ("x\na\n", 0), ("b\n\n", 1), ("", 1)])
def test_only_what_is_listed_is_skipped(tmp_path: Path, allowed: str, code: int) -> None:
    (tmp_path / "test_it.py").write_text("import pytest\n\ndef test_it():\n    pytest.skip('a b')\n")
    (tmp_path / "skips").write_text(allowed)
    command = [sys.executable, "-m", "pytest", "-c", "/dev/null", "-p", "tests.skips", "-p", "no:cacheprovider"]
    ended = subprocess.run(
        [*command, str(tmp_path / "test_it.py")],
        env={**os.environ, VARIABLE: str(tmp_path / "skips")},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == code
    assert ("does not allow:\n  a b" in ended.stdout) == bool(code)
