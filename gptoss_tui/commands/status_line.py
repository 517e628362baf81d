"""A line of progress on stderr that is rewritten while something goes on."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from gptoss_tui.sanitize import to_terminal_line

if TYPE_CHECKING:
    from gptoss_tui.engine.types import LoadProgress

_SECONDS_BETWEEN = 0.1


class StatusLine:
    """Shows a text in place of the one before, at most ten times a second, and nothing if stderr is not a terminal.

    As a context manager, it removes the line at the end.
    """

    def __init__(self) -> None:
        self._due = 0.0

    def __enter__(self) -> StatusLine:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def show(self, text: str) -> None:
        """Show `text`, unless another one was shown just now."""
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + _SECONDS_BETWEEN
            _write(to_terminal_line(text))

    def load(self, progress: LoadProgress) -> None:
        """Show a step of loading. The last one clears the line."""
        if progress.done:
            self.clear()
        else:
            self.show(f"{progress.stage} {progress.fraction:.0%}")

    def clear(self) -> None:
        """Remove the line."""
        self._due = 0.0
        _write("")


def _write(line: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
