"""Logging for programs that speak a protocol on stdout: warnings and errors on stderr, safe for a terminal."""

from __future__ import annotations

import logging
import sys

from gptoss_tui.sanitize import to_terminal_text


class _Formatter(logging.Formatter):
    """What is logged may have been written by whoever is at the other end."""

    def format(self, record: logging.LogRecord) -> str:
        return to_terminal_text(super().format(record))


def log_to_stderr() -> None:
    """Send what libraries log to stderr; nothing below a warning."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
