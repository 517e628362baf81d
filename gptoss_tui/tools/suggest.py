"""What a model may have meant by a path that does not exist."""

from __future__ import annotations

import difflib

from gptoss_tui.patch.confine import PathError, Tree
from gptoss_tui.tools.workspace import Budget, Walk

_SHOWN = 3
_SCANNED = 5000


def similar_paths(tree: Tree, path: str, budget: Budget) -> str:
    """` Did you mean ...?` with files of the same or a like name; empty when the path exists or nothing is like it."""
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
