"""The user's preferences that the app remembers between runs: open panes, theme, Vim keys."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any


@dataclass(slots=True)
class Remembered:
    """`panes` maps names to whether they are open; `theme` is the chosen one, empty to use the settings' theme.

    `vim` is whether the composer has Vim keys.
    `dark` is the terminal's last report about its background; `welcomed` tells whether the first run is over.
    """

    panes: dict[str, bool] = field(default_factory=dict)
    theme: str = ""
    vim: bool = False
    dark: bool | None = None
    welcomed: bool = False


class StateFile:
    """One small JSON file. Read errors count as an empty file; write errors are ignored.

    Without a path nothing is kept.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.remembered = _read(path)

    def save(self) -> None:
        """Write the file atomically."""
        if self._path is None:
            return
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}-")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    json.dump(asdict(self.remembered), file)
                os.replace(name, self._path)
            except OSError:
                os.unlink(name)


def _read(path: Path | None) -> Remembered:
    try:
        data = json.loads(path.read_text(encoding="utf-8")) if path is not None else {}
    except (OSError, ValueError):
        return Remembered()
    return _checked(data) if isinstance(data, dict) else Remembered()


def _checked(data: Mapping[str, Any]) -> Remembered:
    kept = Remembered()
    for entry in fields(Remembered):
        value = data.get(entry.name)
        if entry.name == "panes" and isinstance(value, dict):
            kept.panes = {str(name): is_open for name, is_open in value.items() if isinstance(is_open, bool)}
        elif entry.name == "theme" and isinstance(value, str):
            kept.theme = value
        elif entry.name == "dark" and isinstance(value, bool):
            kept.dark = value
        elif entry.name in ("welcomed", "vim") and isinstance(value, bool):
            setattr(kept, entry.name, value)
    return kept
