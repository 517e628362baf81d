"""Suggestions for a path that does not exist."""

from __future__ import annotations

import difflib

from gptoss_tui.patch.confine import PathError, Tree
from gptoss_tui.tools.workspace import Budget, Walk

_SHOWN = 3
_SCANNED = 5000


def similar_paths(tree: Tree, path: str, budget: Budget) -> str:
    """Return `. Did you mean ...?` with files of the same or a similar name; empty if `path` exists or none fits."""
    if tree.stat(path) is not None:
        return ""
    try:
        known = [entry.path for entry in Walk(tree, budget, max_entries=_SCANNED).files(".")]
    except PathError:
        return ""
    name = path.rpartition("/")[2].casefold()
    found = [other for other in known if other.rpartition("/")[2].casefold() == name]
    found = found or difflib.get_close_matches(path, known, n=_SHOWN, cutoff=0.7)
    return f". Did you mean {', '.join(found[:_SHOWN])}?" if found else ""
