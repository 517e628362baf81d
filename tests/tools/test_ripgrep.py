"""With ripgrep a search gives what it gives without, and reads fewer files."""

from __future__ import annotations

from pathlib import Path

import pytest

from gptoss_tui.tools import ripgrep, search_files
from gptoss_tui.tools.base import Workspace
from gptoss_tui.tools.ripgrep import narrowed, plain_words
from gptoss_tui.tools.search_files import SearchFilesTool
from tests.tools.calls import call


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("hello", ("hello",)),
        ("a|b c", ("a", "b c")),
        (r"def main\(", ("def main(",)),
        (r"a\|b", ("a|b",)),
        *((pattern, None) for pattern in ("", "a.b", "[a]", r"\d", "a|", "(?i)a", "é", r"a\\|b", "a*", "^a", "a\nb")),
        ("|".join("a" * 30), None),
    ],
)
def test_only_plain_words_are_asked_for(pattern: str, words: tuple[str, ...] | None) -> None:
    assert plain_words(pattern) == words


@pytest.fixture
def many(root: Path) -> Path:
    """Enough files for ripgrep to be asked."""
    for number in range(40):
        (root / f"file-{number:02}.txt").write_text(f"number {number}\nsame line\n")
    (root / "-dash.txt").write_text("number 7\n")
    (root / ".hidden").write_text("number 7\n")
    (root / "nul.txt").write_bytes(b"number 7\0\n")
    (root / "latin.txt").write_bytes(b"number 7 \xe9\n")
    (root / "build/number.txt").write_text("number 7\n")
    (root / "away").symlink_to("/etc/passwd")
    return root


@pytest.mark.parametrize(
    "pattern", ["number 7", "number 7|number 8", r"number 3\b", "hello", "root:", "same line", "gone"]
)
async def test_a_search_gives_the_same_with_and_without(
    many: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    read: list[str] = []
    plainly = search_files.read_text
    monkeypatch.setattr(search_files, "read_text", lambda tree, path: read.append(path) or plainly(tree, path))
    with_it = await call(SearchFilesTool(workspace), f'{{"pattern": "{pattern}"}}'.replace("\\", "\\\\"))
    fewer = len(read)
    monkeypatch.setattr(ripgrep, "_program", lambda: None)
    read.clear()
    without = await call(SearchFilesTool(workspace), f'{{"pattern": "{pattern}"}}'.replace("\\", "\\\\"))
    assert with_it == without
    if ripgrep.shutil.which("rg") and plain_words(pattern) and pattern != "same line":
        assert fewer < len(read)


def test_a_ripgrep_that_fails_narrows_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [f"f{number}" for number in range(20)]
    broken = tmp_path / "rg"
    broken.write_text("#!/bin/sh\nprintf 'f1\\0'\nexit 2\n")
    broken.chmod(0o755)
    for program in (str(broken), "/nowhere/rg"):
        monkeypatch.setattr(ripgrep, "_program", lambda program=program: program)
        assert narrowed(tmp_path, files, "x", 5.0) == files
