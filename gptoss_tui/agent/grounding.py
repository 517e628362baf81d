"""Finds out which files a patch may name and which lines it may repeat, while the model writes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from gptoss_tui.engine.constraint import Grammar
from gptoss_tui.errors import ToolError
from gptoss_tui.patch.confine import PathError, Tree
from gptoss_tui.patch.text import TextFile
from gptoss_tui.tools.workspace import Budget, Walk, in_thread, read_text

MAX_FILES: Final = 20_000
"""In a workspace with more files, any path may be named."""
MAX_LINES: Final = 50_000
"""The lines of longer files are not checked while they are written."""

UNGROUNDED: Final = Grammar("patch", "")
"""The initial grammar of a patch: it makes the engine ask for a new one before the first token.

The engine asks again for each file that the patch changes.
"""

_SECONDS: Final = 2.0
_UPDATE: Final = "*** Update File:"


class Ground:
    """The files that a single patch refers to. `root` is the root of the workspace."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._paths: list[str] | None = None
        self._files: dict[str, list[str] | None] = {}
        self._listed = False

    async def grammar(self, written: str) -> Grammar:
        """The grammar for a patch that begins with `written`. Files that cannot be read are left to the tool."""
        if not self._listed:
            self._paths, self._listed = await self._list(), True
        last = written.rstrip("\n").rsplit("\n", 1)[-1]
        if last.startswith(_UPDATE):
            path = last.removeprefix(_UPDATE).strip()
            self._files[path] = await self._read(path)
        return Grammar("patch", json.dumps({"paths": self._paths, "files": self._files}))

    async def _list(self) -> list[str] | None:
        def work(budget: Budget) -> list[str] | None:
            with Tree(self._root) as tree:
                walk = Walk(tree, budget, MAX_FILES, everything=True)
                paths = [entry.path for entry in walk.files(".") if not entry.folder]
                return None if walk.cut else paths

        try:
            return await in_thread(work, seconds=_SECONDS)
        except ToolError:
            return None

    async def _read(self, path: str) -> list[str] | None:
        def work(budget: Budget) -> TextFile:
            with Tree(self._root) as tree:
                return read_text(tree, tree.resolve(path))

        try:
            text = await in_thread(work, seconds=_SECONDS)
        except (ToolError, PathError):
            return None
        return None if text.encoding == "unknown-8bit" or len(text.lines) > MAX_LINES else list(text.lines)
