"""Reads text from stdin."""

from __future__ import annotations

import io
import os
import select
import stat
import sys

PATIENCE_SECONDS = 5.0
"""How long to wait for the first bytes of a pipe: over ssh or in a service, stdin may be a pipe with no writer."""


def read_stdin() -> str:
    """Read all of stdin. Bytes that are invalid in its encoding become U+FFFD."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    return sys.stdin.read()


def piped_text() -> str:
    """Read stdin if it is a pipe or a file. Returns an empty string if it is neither, or if no input arrives in time.

    A file that was already partly read is left alone: in a `while read` loop, the remaining lines are for the loop.
    """
    try:
        descriptor = sys.stdin.fileno()
        mode = os.fstat(descriptor).st_mode
    except (AttributeError, OSError):  # there is no stdin, or it is not a file
        return ""
    if stat.S_ISREG(mode):
        return "" if os.lseek(descriptor, 0, os.SEEK_CUR) else read_stdin()
    if not stat.S_ISFIFO(mode):
        return ""
    if not select.select([descriptor], [], [], PATIENCE_SECONDS)[0]:
        print(f"Nothing came on stdin for {PATIENCE_SECONDS:.0f} s: the message is PROMPT alone.", file=sys.stderr)
        return ""
    return read_stdin()
