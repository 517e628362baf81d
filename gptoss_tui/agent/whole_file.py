"""Writes a file of the user's atomically: a reader finds either the old text or the new one."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path


def write_whole(path: Path, text: str, *, mode: int = 0o666) -> None:
    """Replace the content of the file at `path` with `text`. Links are followed, an existing file keeps its mode, and
    a new one gets `mode`.

    Raises OSError, and leaves the old file unchanged in that case.
    """
    real = Path(os.path.realpath(path))
    new = real.with_name(f".{real.name[:100]}-{secrets.token_hex(4)}")
    # The umask takes from the mode of a new file, like any file that a shell writes.
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8", newline="") as file:
        try:
            with contextlib.suppress(FileNotFoundError):
                os.fchmod(file.fileno(), real.stat().st_mode & 0o777)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            os.replace(new, real)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(new)
            raise
