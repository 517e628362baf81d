"""Text that comes through a pipe."""

from __future__ import annotations

import io
import sys


def read_stdin() -> str:
    """All of stdin; bytes that are no text in its encoding become U+FFFD."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    return sys.stdin.read()
