"""Kills or refuses an edit at its system calls, one after the other, and looks at what the next start makes of it.

    python -m tests.undo.crash [--every 1] [--errno EIO ENOSPC ...] [--action apply undo redo]

Needs `strace`. Without `--errno` the program is killed with SIGKILL when it enters the call. `--every 5` tries each
fifth call. Ends with 1 when a workspace was neither all old nor all new.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gptoss_tui.undo import UndoStore
from tests.patch.test_scenarios import snapshot
from tests.undo.victim import REFUSED, TURN, act, make_workspace

CALLS = (
    *("write", "pwrite64", "writev", "fsync", "fdatasync", "ftruncate", "fchmod", "fchown", "link", "linkat"),
    *("rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir"),
)
ACTIONS = ("apply", "undo", "redo")
ERRORS = ("ENOSPC", "EIO", "EACCES", "EROFS", "EMFILE", "EXDEV")
Snapshot = dict[str, tuple[str, bytes | str]]


@dataclass(frozen=True)
class Stage:
    """A workspace and its store before an action, and what the action makes of the workspace."""

    base: Path
    action: str
    old: Snapshot
    new: Snapshot
    points: Counter[str]

    def fresh(self) -> tuple[Path, Path]:
        """Workspace and state as before the action."""
        shutil.rmtree(self.base / "now", ignore_errors=True)
        shutil.copytree(self.base / "before", self.base / "now")
        return self.base / "now/root", self.base / "now/state"


def set_stage(base: Path, action: str, *, trace: bool = True) -> Stage:
    """Everything before `action`, and a run of it that nothing disturbs."""
    # The store belongs to a path, so the same one is used for every run.
    root, state = base / "now/root", base / "now/state"
    make_workspace(root)
    state.mkdir()
    for before in ACTIONS[: ACTIONS.index(action)]:
        act(before, root, state)
    shutil.copytree(base / "now", base / "before")
    old = snapshot(root)
    points: Counter[str] = Counter()
    if trace:
        log = base / "log"
        run_traced(action, root, state, "-o", str(log), f"--trace={','.join(CALLS)}")
        points.update(re.findall(r"^(?:\d+ +)?(\w+)\(", log.read_text(), re.MULTILINE))
    else:
        act(action, root, state)
    return Stage(base, action, old, snapshot(root), points)


def run_traced(action: str, root: Path, state: Path, *options: str) -> int:
    """The victim below strace; its exit code, or minus the signal."""
    command = ["strace", "-f", "-qq", "--seccomp-bpf", *options]
    victim = [sys.executable, "-B", "-m", "tests.undo.victim", action, str(root), str(state)]
    done = subprocess.run([*command, *victim], cwd=Path(__file__).parents[2], capture_output=True, check=False)
    if done.returncode not in (0, REFUSED, -9, 137):
        raise AssertionError(f"{options}: exit code {done.returncode}: {done.stderr.decode()}")
    return done.returncode


def inject(stage: Stage, call: str, at: int, fault: str) -> str | None:
    """One run with one fault; what is wrong afterwards, or None."""
    root, state = stage.fresh()
    code = run_traced(stage.action, root, state, "-o", os.devnull, "-e", f"inject={call}:{fault}:when={at}")
    return complaint(stage, root, state, code)


def complaint(stage: Stage, root: Path, state: Path, code: int) -> str | None:
    """What is wrong with a workspace after the next start; None when all is well."""
    store = UndoStore(root, state)
    store.recover()
    now = snapshot(root)
    if now not in (stage.old, stage.new):
        changed = sorted(name for name in {*now, *stage.old} if now.get(name) != stage.old.get(name))
        return f"neither old nor new: {changed}"
    if code == 0 and now != stage.new:
        return "it said done, but the files are the old ones"
    if code == REFUSED and now != stage.old:
        return "it said refused, but the files are the new ones"
    if store.recover():
        return "a second start finds something to mend"
    in_force = any(turn.turn == TURN and not turn.undone for turn in store.turns())
    if in_force != (now == stage.new if stage.action != "undo" else now == stage.old):
        return f"the store says in force: {in_force}"
    act("undo" if in_force else "redo" if store.turns() else "apply", root, state)
    return None if snapshot(root) == (stage.old if now == stage.new else stage.new) else "it cannot be taken back"


def points(stage: Stage, every: int) -> Iterator[tuple[str, int]]:
    """Each `every`-th system call of the action."""
    found = [(call, at) for call, count in sorted(stage.points.items()) for at in range(1, count + 1)]
    yield from found[::every]


def main() -> int:
    """Run all faults and print what went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--errno", nargs="*", default=[], choices=ERRORS)
    parser.add_argument("--action", nargs="*", default=list(ACTIONS), choices=ACTIONS)
    args = parser.parse_args()
    faults = [f"error={name}" for name in args.errno] or ["signal=SIGKILL"]
    tried = wrong = 0
    for action in args.action:
        with tempfile.TemporaryDirectory() as folder:
            stage = set_stage(Path(folder), action)
            for call, at in points(stage, args.every):
                for fault in faults:
                    tried += 1
                    if what := inject(stage, call, at, fault):
                        wrong += 1
                        print(f"{action}, {call} number {at}, {fault}: {what}")
    print(f"{tried} faults, {wrong} of them left something that is neither all old nor all new")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
