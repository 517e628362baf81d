"""Edits on a disk that is full, more or less: run by `test_full_disk.py` on a small file system of its own.

    python -m tests.undo.full FOLDER

Prints how many edits were refused and made. Ends with an AssertionError when one was neither.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from gptoss_tui.errors import GptOssError
from gptoss_tui.undo import UndoStore
from tests.patch.test_scenarios import snapshot
from tests.undo.victim import act, make_workspace

PAGE = 4096
BALLAST = 64 << 10  # makes new contents larger than a page or two


def trial(base: Path, free_pages: int) -> bool:
    """One edit with that much space left. True when it was made."""
    root, state = base / "root", base / "state"
    for folder in (root, state):
        shutil.rmtree(folder, ignore_errors=True)
    make_workspace(root)
    (root / "a.txt").write_text("alpha\nbeta\n" + "x\n" * (BALLAST // 2))
    old = snapshot(root)
    filler = base / "filler"
    _fill(filler, free_pages)
    message = ""
    try:
        act("apply", root, state)
    except GptOssError as error:
        message = error.message
    made = not message
    if not made:
        assert "othing was changed" in message, message
        assert snapshot(root) == old, free_pages
    filler.unlink()
    UndoStore(root, state).recover()
    assert not list(root.rglob(".patch-*"))
    if made:
        act("undo", root, state)
    else:
        act("apply", root, state)
        act("undo", root, state)
    assert snapshot(root) == old, free_pages
    return made


def _fill(filler: Path, free_pages: int) -> None:
    """Take all space but `free_pages`."""
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * PAGE)
        except OSError:
            size = file.tell()
        os.ftruncate(file.fileno(), max(0, size - free_pages * PAGE))


def main() -> None:
    """All amounts of space from none to enough."""
    base = Path(sys.argv[1])
    made = [trial(base, pages) for pages in range(0, 100)]
    print(f"{made.count(False)} refused, {made.count(True)} made")
    assert made.count(False) > 20, "the disk was never full"
    assert made[-1], "the disk was never free"


if __name__ == "__main__":
    main()
