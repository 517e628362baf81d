"""Compares the engine with the published `apply_patch.py` on patches that both should take.

    python -m tests.patch.differential PATH/TO/apply_patch.py [--count 20000] [--seed 1]

The file is that of openai/gpt-oss, `gpt_oss/tools/apply_patch.py`, which this program does not fetch. Every patch is
made from a random edit, so the right result is known. A difference must be one of the deliberate ones, which
`docs/patch.md` lists; any other ends the run with 1.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from gptoss_tui import patch
from gptoss_tui.errors import PatchError

Files = dict[str, str]
WORDS = (
    "alpha",
    "beta",
    "gamma",
    "    return x",
    "    pass",
    "}",
    "",
    "x = 1",
    "\tdone",
    "def f():",
    "class A:",
    "delta ",
)
DELIBERATE = {
    "final newline": "a new file ends in a newline",
    "ambiguous": "lines that stand at several places are refused instead of changed at the first",
    "only additions": "added lines without a place are refused instead of put where the last hunk ended",
    "end of file": "*** End of File finds the last lines of a file that ends in a newline",
    "header": "@@ lines choose among places, and are looked for in the whole file",
    "nothing changes": "an update that changes nothing is refused",
}


@dataclass
class Case:
    """A patch for `files`, what it should lead to, and which deliberate differences it may meet."""

    files: Files
    text: str
    right: Files
    traits: set[str] = field(default_factory=set)


def load_reference(path: Path) -> ModuleType:
    """The module at `path`."""
    spec = importlib.util.spec_from_file_location("reference_apply_patch", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def make_case(rng: random.Random) -> Case:
    """A few files, and one operation on each of some of them."""
    files = {f"f{number}.txt": _lines(rng) for number in range(rng.randint(1, 4))}
    case = Case({name: _text(lines) for name, lines in files.items()}, "", {})
    case.right = dict(case.files)
    parts = ["*** Begin Patch"]
    for name, lines in files.items():
        kind = rng.choice(("update", "update", "update", "move", "delete", "add"))
        if kind == "delete":
            parts.append(f"*** Delete File: {name}")
            del case.right[name]
        elif kind == "add":
            added = _lines(rng)
            parts += [f"*** Add File: new/{name}", *(f"+{line}" for line in added)]
            case.right[f"new/{name}"] = _text(added)
            case.traits.add("final newline")
        else:
            parts.append(f"*** Update File: {name}")
            if kind == "move":
                parts.append(f"*** Move to: moved/{name}")
                del case.right[name]
            body, new = _edit(rng, lines, case.traits)
            parts += body
            case.right[f"moved/{name}" if kind == "move" else name] = _text(new)
    case.text = "\n".join([*parts, "*** End Patch"])
    return case


def _lines(rng: random.Random) -> list[str]:
    common = [rng.choice(WORDS) for _ in range(rng.randint(1, 14))]
    return [f"{line} # {rng.randint(0, 30)}" if line.strip() and rng.random() < 0.8 else line for line in common]


def _text(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _edit(rng: random.Random, lines: list[str], traits: set[str]) -> tuple[list[str], list[str]]:
    """Hunks in the order of the file, far enough from each other, and the lines that they lead to."""
    body: list[str] = []
    new: list[str] = []
    at = 0
    for _ in range(rng.randint(1, 2)):
        if at >= len(lines):
            break
        start = rng.randint(at, len(lines) - 1)
        stop = min(len(lines), start + rng.randint(0, 2))
        above, below = rng.randint(0, 3), rng.randint(0, 3)
        top, bottom = max(at, start - above), min(len(lines), stop + below)
        added = [rng.choice(WORDS) for _ in range(rng.randint(0 if stop > start else 1, 2))]
        header = rng.random() < 0.2 and top > 0 and lines[top - 1].strip()
        body.append(f"@@ {lines[top - 1]}" if header else "@@")
        body += [f" {line}" for line in lines[top:start]] + [f"-{line}" for line in lines[start:stop]]
        body += [f"+{line}" for line in added] + [f" {line}" for line in lines[stop:bottom]]
        if bottom == len(lines) and rng.random() < 0.3:
            body.append("*** End of File")
            traits.add("end of file")
        traits |= {"header"} if header else set()
        new += [*lines[at:start], *added, *lines[stop:bottom]]
        at = bottom
        if bottom == len(lines):
            break
    return body, [*new, *lines[at:]]


def ours(case: Case) -> Files | str:
    """What the engine makes of it: the files, or the error."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, content in case.files.items():
            (root / name).write_text(content)
        try:
            patch.apply(patch.plan(patch.parse(case.text), root))
        except PatchError as error:
            return error.message
        return {p.relative_to(root).as_posix(): p.read_text() for p in root.rglob("*") if p.is_file()}


def theirs(case: Case, reference: ModuleType) -> Files | str:
    """The same by the published program, on files in memory."""
    files = dict(case.files)
    write: Callable[[str, str], None] = files.__setitem__
    remove: Callable[[str], str] = files.pop
    try:
        reference.apply_patch(case.text, files.__getitem__, write, remove)
    except (ValueError, KeyError, IndexError) as error:
        return f"{type(error).__name__}: {error}"
    return files


def compare(case: Case, one: Files | str, other: Files | str) -> str | None:
    """The name of the difference, None for none; `!` in front when it is not deliberate."""
    if isinstance(one, dict) and one != case.right:
        return "! wrong result"
    if one == other:
        return None
    if isinstance(one, str):
        for words, name in (
            ("fits", "ambiguous"),
            ("only adds lines", "only additions"),
            ("changes nothing", "nothing changes"),
        ):
            if words in one:
                return name
        return "! refused"
    if isinstance(other, str):
        return next(
            (name for name in ("end of file", "header") if name in case.traits), f"! only the other refused: {other}"
        )
    if one == {name: _ended(name, content, other) for name, content in other.items()}:
        return "final newline"
    return next((name for name in ("end of file", "header") if name in case.traits), "! other result")


def _ended(name: str, content: str, files: Mapping[str, str]) -> str:
    return f"{content}\n" if name.startswith("new/") and content is files[name] else content


def main() -> int:
    """Run and print a table of the differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reference", type=Path)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    reference = load_reference(args.reference)
    rng = random.Random(args.seed)
    found: Counter[str] = Counter()
    for _ in range(args.count):
        case = make_case(rng)
        one, other = ours(case), theirs(case, reference)
        name = compare(case, one, other) or "same"
        found[name] += 1
        if name.startswith("!") and found[name] <= 3:
            print(f"--- {name}\n{case.files}\n{case.text}\nours: {one}\ntheirs: {other}\nright: {case.right}")
    for name, count in found.most_common():
        print(f"{count:>7}  {name}: {DELIBERATE.get(name, '')}".rstrip(": "))
    return 1 if any(name.startswith("!") for name in found) else 0


if __name__ == "__main__":
    sys.exit(main())
