"""A program that edits a workspace once, to be killed or refused at any of its system calls.

    python -m tests.undo.victim apply|undo|redo ROOT STATE

Exit code 0: done; 3: refused with a typed error.
"""

from __future__ import annotations

import sys
from pathlib import Path

from gptoss_tui import patch
from gptoss_tui.errors import GptOssError
from gptoss_tui.undo import UndoStore

TURN = "1"
PATCH = """\
*** Begin Patch
*** Update File: a.txt
-beta
+BETA
*** Add File: new/deep/n.txt
+n
*** Delete File: gone.txt
*** Update File: run.sh
*** Move to: bin/run.sh
-echo a
+echo b
*** Update File: sub/c.txt
-c
+C
*** End Patch
"""
REFUSED = 3


def make_workspace(root: Path) -> None:
    """The files that `PATCH` is for."""
    (root / "sub").mkdir(parents=True)
    (root / "a.txt").write_text("alpha\nbeta\n")
    (root / "gone.txt").write_text("x\n")
    (root / "run.sh").write_text("echo a\n")
    (root / "run.sh").chmod(0o750)
    (root / "sub/c.txt").write_text("c\n")


def act(action: str, root: Path, state: Path) -> None:
    """Do it. Raises GptOssError."""
    store = UndoStore(root, state)
    if action == "apply":
        store.begin(TURN)
        store.apply(patch.plan(patch.parse(PATCH), root))
    elif action == "undo":
        assert store.undo(TURN).done
    else:
        assert store.redo(TURN).done


def recover(root: Path, state: Path) -> None:
    """What the next start does first."""
    UndoStore(root, state).recover()


def main() -> int:
    action, root, state = sys.argv[1:]
    try:
        act(action, Path(root), Path(state))
    except GptOssError as error:
        print(error, file=sys.stderr)
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
