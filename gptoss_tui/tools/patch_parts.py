"""Removes files from a patch that a model wrote, before the patch is planned again."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from gptoss_tui.patch.confine import PathError, Tree

_HEAD: Final = re.compile(r"\*\*\* (?:Add|Update|Delete) File: *(.+?)\s*\Z")
_MOVE: Final = re.compile(r"\*\*\* Move to: *(.+?)\s*\Z")
_END: Final = re.compile(r"\*\*\* End Patch\s*\Z")


def without_files(patch: str, paths: Collection[str], root: Path) -> str:
    """Return `patch` without its operations on `paths`, which are relative to `root` with links resolved."""
    kept: list[str] = []
    with Tree(root) as tree:
        for part in _parts(patch):
            named = [match[1] for line in part if (match := _HEAD.match(line) or _MOVE.match(line))]
            if not any(_resolved(tree, name) in paths for name in named):
                kept += part
    return "\n".join(kept)


def _parts(patch: str) -> Iterator[list[str]]:
    """Yield the lines before the first file, then those of each file, then the end."""
    part: list[str] = []
    for line in patch.split("\n"):
        if _HEAD.match(line) or _END.match(line):
            yield part
            part = []
        part.append(line)
    yield part


def _resolved(tree: Tree, name: str) -> str:
    try:
        return tree.resolve(name)
    except PathError:
        return ""
