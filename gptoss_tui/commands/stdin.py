"""Text that comes through a pipe."""

from __future__ import annotations

import io
import os
import select
import stat
import sys

PATIENCE_SECONDS = 5.0
"""How long the first bytes of a pipe may take: over ssh, or under a service, one may be open that nobody writes to."""


def read_stdin() -> str:
    """All of stdin; bytes that are no text in its encoding become U+FFFD."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    return sys.stdin.read()


def piped_text() -> str:
    """What a pipe or a file brings on stdin; empty when it is neither, and when nothing comes for a while.

    A file that somebody read from already is theirs: in `while read` the other lines are for the loop.
    """
    try:
        descriptor = sys.stdin.fileno()
        mode = os.fstat(descriptor).st_mode
    except (AttributeError, OSError):  # no stdin at all, or one that is no file
        return ""
    if stat.S_ISREG(mode):
        return "" if os.lseek(descriptor, 0, os.SEEK_CUR) else read_stdin()
    if not stat.S_ISFIFO(mode):
        return ""
    if not select.select([descriptor], [], [], PATIENCE_SECONDS)[0]:
        print(f"Nothing came on stdin for {PATIENCE_SECONDS:.0f} s: the message is PROMPT alone.", file=sys.stderr)
        return ""
    return read_stdin()
