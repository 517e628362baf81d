"""A small workspace with everything that reading tools must mind."""

from __future__ import annotations

from pathlib import Path

import pytest

from gptoss_tui.tools.base import Workspace
from gptoss_tui.tools.workspace import open_workspace


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for name, text in {
        "README.md": "# Title\n\nhello world\n",
        "src/app.py": "import os\n\n\ndef main():\n    print('hello')\n",
        "src/util.py": "VALUE = 1\n",
        ".gitignore": "*.log\nbuild/\n!keep.log\n/top.txt\n",
        "noise.log": "hello\n",
        "keep.log": "hello\n",
        "top.txt": "hello\n",
        "src/top.txt": "x\n",
        "build/out.txt": "hello\n",
        "src/.gitignore": "generated/\n!special.log\n",
        "src/generated/a.py": "hello\n",
        "src/special.log": "s\n",
        ".git/config": "hello\n",
        "empty.txt": "",
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "data.bin").write_bytes(b"\x00\x01hello")
    (tmp_path / "secret.txt").write_text("hello secret\n")
    return root


@pytest.fixture
def workspace(root: Path) -> Workspace:
    return open_workspace(root)


@pytest.fixture
def visible() -> list[str]:
    """The files that git would not ignore, sorted."""
    names = [".gitignore", "README.md", "data.bin", "empty.txt", "keep.log", "src/.gitignore", "src/app.py"]
    return [*names, "src/special.log", "src/top.txt", "src/util.py"]
