"""Writing a file of the person's as a whole: who reads it finds the old text or the new one."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Put `text` into the file at `path`. A link stays a link, and a file that is there keeps its mode.

    Raises OSError, and leaves what was there.
    """
    real = Path(os.path.realpath(path))
    new = real.with_name(f".{real.name[:100]}-{secrets.token_hex(4)}")
    # The mode of a new file is what the umask leaves, as for any file that a shell writes.
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "w", encoding="utf-8", newline="") as file:
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
