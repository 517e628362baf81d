"""Patches onto a folder whose names are swapped for links to the outside all the time: none may lead out.

    python -m tests.patch.race [--count 20000] [--walk]

`--walk` opens folders one component at a time, as on systems without `openat2`.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

from gptoss_tui import patch
from gptoss_tui.errors import PatchError
from gptoss_tui.patch import confine

SECRET = "one\ntwo\nthree\n"


def attack(root: Path) -> None:
    """Swap the folder `dir` and the file `dir/a.txt` with links to the outside, for ever."""
    swaps = [("dir", "spare"), ("link", "dir"), ("dir", "link"), ("spare", "dir")]
    inner = [("dir/a.txt", "dir/real.txt"), ("filelink", "dir/a.txt"), ("dir/a.txt", "filelink")]
    while True:
        for source, target in (*swaps, *inner, ("dir/real.txt", "dir/a.txt")):
            with contextlib.suppress(OSError):
                os.rename(root / source, root / target)


def operations(number: int) -> tuple[str, ...]:
    """Patches that write, move, make and remove below the attacked names."""
    return (
        f"*** Update File: dir/a.txt\n@@\n-two\n+{number}\n*** Update File: dir/b.txt\n@@\n-two\n+{number}",
        f"*** Update File: dir/a.txt\n@@\n one\n+{number}",
        f"*** Add File: dir/new{number % 7}/n.txt\n+{number}",
        f"*** Delete File: dir/new{number % 7}/n.txt",
        "*** Update File: b.txt\n*** Move to: dir/c.txt\n@@\n-two\n+two",
        "*** Delete File: dir/b.txt",
    )


def run(base: Path, count: int) -> Counter[str]:
    """`count` patches under attack. Raises AssertionError when the outside changed."""
    root, outside = base / "root", base / "outside"
    for folder in (root / "dir", outside):
        folder.mkdir(parents=True)
        for name in ("a.txt", "b.txt"):
            (folder / name).write_text(SECRET)
    (root / "b.txt").write_text(SECRET)
    (root / "link").symlink_to(outside)
    (root / "filelink").symlink_to(outside / "a.txt")
    outcomes: Counter[str] = Counter()
    attacker = multiprocessing.get_context("fork").Process(target=attack, args=(root,), daemon=True)
    attacker.start()
    try:
        for number in range(count):
            choices = operations(number)
            text = f"*** Begin Patch\n{choices[number % len(choices)]}\n*** End Patch"
            try:
                patch.apply(patch.plan(patch.parse(text), root))
                outcomes["applied"] += 1
            except PatchError as error:
                outcomes["in part" if "in part" in error.message else "refused"] += 1
            if not attacker.is_alive():
                raise AssertionError("the attacker died")
            _mend(root)
    finally:
        attacker.kill()
        attacker.join()
    found = {name.name: name.read_text() for name in outside.iterdir()}
    if found != {"a.txt": SECRET, "b.txt": SECRET}:
        raise AssertionError(f"the outside changed: {found}")
    return outcomes


def _mend(root: Path) -> None:
    """Files that patches used up, made anew inside; never through a link."""
    for folder in ("dir", "spare"):
        for name in ("a.txt", "b.txt"):
            with contextlib.suppress(OSError):
                at = os.open(root / folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
                try:
                    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644, dir_fd=at)
                    os.write(fd, SECRET.encode())
                    os.close(fd)
                finally:
                    os.close(at)


def main() -> int:
    """Run and print the outcomes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--walk", action="store_true")
    args = parser.parse_args()
    if args.walk:
        confine.open_beneath = lambda folder, path, flags: None
    with tempfile.TemporaryDirectory() as folder:
        print(dict(run(Path(folder).resolve(), args.count)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
