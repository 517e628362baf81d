"""The history of prompts, kept on disk: one JSON string per line, readable by the user only."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

KEPT = 1000
SAVED_CHARS = 20_000
"""Longer prompts, such as those with a large paste, are kept for this run only: the file is read before the first
frame.
"""


class PromptHistory:
    """Steps back and forth through earlier prompts. Errors in reading or writing the file are ignored."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._prompts = _read(path) if path else []
        self._position = len(self._prompts)
        self._draft = ""

    @property
    def prompts(self) -> list[str]:
        """The prompts, oldest first."""
        return list(self._prompts)

    def add(self, prompt: str, saved: str | None = None) -> None:
        """Add a prompt and move past it. `saved` is what is written to the file, with chips spelled out."""
        if not self._prompts or self._prompts[-1] != prompt:
            self._prompts.append(prompt)
            self._write(prompt if saved is None else saved)
        self._position = len(self._prompts)
        self._draft = ""

    def newest_first(self) -> list[str]:
        """Every distinct prompt, newest first, for searching."""
        return list(dict.fromkeys(reversed(self._prompts)))

    def earlier(self, current: str) -> str | None:
        """The prompt before the one shown; None at the oldest. `current` is remembered if it is the draft."""
        if self._position == 0:
            return None
        if self._position == len(self._prompts):
            self._draft = current
        self._position -= 1
        return self._prompts[self._position]

    def later(self, current: str) -> str | None:
        """The prompt after the one shown, and finally the draft; None when the draft is shown already."""
        if self._position >= len(self._prompts):
            return None
        self._position += 1
        return self._draft if self._position == len(self._prompts) else self._prompts[self._position]

    def _write(self, prompt: str) -> None:
        if self.path is None or len(prompt) > SAVED_CHARS:
            return
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(fd, "a", encoding="utf-8") as file:
                file.write(json.dumps(prompt) + "\n")


def _read(path: Path) -> list[str]:
    """The last KEPT prompts in the file; damaged lines are skipped."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    prompts: list[str] = []
    for line in lines[-KEPT:]:
        with suppress(ValueError):
            prompt = json.loads(line)
            if isinstance(prompt, str):
                prompts.append(prompt)
    return prompts
