"""Random patches onto a folder full of traps: nothing outside changes, and nothing inside but what the plan says.

    python -m tests.patch.fuzz [--count 100000] [--seed 1]

Patches are made of valid parts and of rubbish, then bytes of some are changed. Each is parsed and planned; what can be
planned is applied, compared with the plan, and taken back. Ends with 1 at the first wrong one, which is printed.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from gptoss_tui import patch
from gptoss_tui.errors import PatchError
from tests.patch.test_properties import EVIL, workspace
from tests.patch.test_scenarios import snapshot

GOOD = ("a.txt", "b.txt", "dir/c.txt", "dir/w.txt", "x.sh", "dir/new.txt", "new/n.txt", "./a.txt", "`a.txt`")
LINES = (
    *("one", "two", "three", "  one", "two  ", "“one”", "", "\t", "+", "-", "@@", "*** End of File", "x\x1b[2J"),
    *("\ud800", "\0", "x\u2028y", "é", "日本", "a" * 300, "\\ No newline at end of file", "--- a/a.txt", "+++ b/a.txt"),
)
CONTROLS = (
    *("*** Begin Patch", "*** End Patch", "*** End of File", "@@", "@@ one", "@@ two", "@@ nowhere", "@@ -1,2 +1,2 @@"),
    *("***", "*** ", "***Begin Patch", "*** Frobnicate: x", "```", "<<EOF", "EOF", "{", "}"),
)
BODIES = (["-one"], ["-two"], [" one", "-two"], ["-one", " two"], ["one", "-two"], ["  one", "- two"], ['-"one"'])
REFRESH = 500


def random_patch(rng: random.Random) -> str:
    """Anything from a right patch to noise."""
    parts = ["*** Begin Patch"] if rng.random() < 0.9 else []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        parts += _operation(rng)
    parts += ["*** End Patch"] if rng.random() < 0.9 else []
    for _ in range(rng.choice((0, 0, 0, 0, 0, 1, 3))):
        parts.insert(rng.randrange(len(parts) + 1), rng.choice((*CONTROLS, *LINES)))
    text = rng.choice(("\n", "\n", "\n", "\r\n")).join(parts)
    if rng.random() < 0.1:
        text = json.dumps({rng.choice(("patch", "input", "x")): text})
    for _ in range(rng.choice((0, 0, 0, 0, 0, 0, 1, 4))):
        at = rng.randrange(len(text) + 1)
        put = rng.choice(("", chr(rng.randrange(256)), rng.choice(LINES), "\n"))
        text = text[:at] + put + text[at + rng.randrange(3) :]
    return text


def _operation(rng: random.Random) -> list[str]:
    path = rng.choice(EVIL) if rng.random() < 0.2 else rng.choice(GOOD)
    kind = rng.choice(("update", "update", "update", "add", "delete"))
    if kind == "delete":
        return [f"*** Delete File: {path}"]
    if kind == "add":
        return [f"*** Add File: {path}", *(f"+{rng.choice(LINES)}" for _ in range(rng.randrange(4)))]
    parts = [f"*** Update File: {path}"]
    if rng.random() < 0.15:
        parts.append(f"*** Move to: {rng.choice(EVIL) if rng.random() < 0.5 else rng.choice(GOOD)}")
    for _ in range(rng.choice((1, 1, 2))):
        parts += [rng.choice(("@@", "@@", "@@ one"))] if rng.random() < 0.8 else []
        parts += rng.choice(BODIES)
        parts += [f"+{rng.choice(LINES)}" for _ in range(rng.randrange(3))]
    return parts


class Arena:
    """A workspace with traps, the folder outside that must never change, and what both were."""

    def __init__(self, base: Path) -> None:
        self.root, self.outside = workspace(base)
        (self.root / "dir/c.txt").write_text("three\ntwo\none\n")
        (self.root / "dir/w.txt").write_bytes("\ufeffone\r\ntwo\r\n“one”".encode() + b"\xff\r\n")
        (self.root / "x.sh").write_text("one\n")
        (self.root / "x.sh").chmod(0o755)
        self.before = snapshot(base)
        self.base = base

    def trial(self, text: str) -> str:
        """`refused` or `applied`. Raises AssertionError for anything that must not be."""
        try:
            planned = patch.plan(patch.parse(text), self.root)
        except PatchError:
            assert snapshot(self.base) == self.before, "a refused patch changed something"
            return "refused"
        patch.unified_diff(planned)
        patch.digest(planned)
        patch.apply(planned)
        after = snapshot(self.base)
        written = {f"root/{path}" for path in planned.paths}
        changed = {name for name in {*after, *self.before} if after.get(name) != self.before.get(name)}
        assert changed <= written, f"changed beside the plan: {changed - written}"
        for change in planned.changes:
            now = after.get(f"root/{change.new_path or change.path}")
            assert (now and now[1]) == change.new, f"{change.path} is not as planned"
        patch.undo(planned)
        assert snapshot(self.base) == self.before, "undo did not bring everything back"
        return "applied"


def run(count: int, seed: int) -> Counter[str]:
    """`count` patches. Raises AssertionError with the patch that went wrong."""
    rng = random.Random(seed)
    outcomes: Counter[str] = Counter()
    for start in range(0, count, REFRESH):
        with tempfile.TemporaryDirectory() as folder:
            arena = Arena(Path(folder).resolve())
            for _ in range(min(REFRESH, count - start)):
                text = random_patch(rng)
                try:
                    outcomes[arena.trial(text)] += 1
                except Exception as error:
                    raise AssertionError(f"{text!r}\n{type(error).__name__}: {error}") from error
    return outcomes


def main() -> int:
    """Run and print how many were refused and applied."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    began = time.monotonic()
    try:
        outcomes = run(args.count, args.seed)
    except AssertionError as error:
        print(error)
        return 1
    print(f"{args.count} patches in {time.monotonic() - began:.0f} s: {dict(outcomes)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
