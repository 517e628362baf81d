"""The draft on disk: typed but unsent text survives the end of the app, even a crash.

Each running app takes a slot of its workspace, held by a lock that the system releases with the process. A new app
takes the first free slot and finds the draft of the slot's previous owner there.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

SLOTS = 8
MAX_BYTES = 8_000_000
"""A larger draft is kept in memory only."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What is typed: `text` with the labels of its chips, and the texts that these stand for."""

    text: str = ""
    chips: dict[str, str] = field(default_factory=dict)


class DraftStore:
    """The slot of one app. Nothing here raises: a draft that cannot be saved is not kept."""

    def __init__(self, folder: Path, workspace: str) -> None:
        import hashlib  # imported here because it loads OpenSSL

        key = hashlib.sha256(workspace.encode(errors="surrogateescape")).hexdigest()[:16]
        self._path: Path | None = None
        self._lock: int | None = None
        self._saved = Draft()
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._claim(folder, key)

    def load(self) -> Draft:
        """The draft left in this slot; an empty one if there is none or it cannot be read."""
        if self._path is None:
            return Draft()
        try:
            data = json.loads(self._path.read_bytes()[: MAX_BYTES + 1])
            text, chips = data["text"], data["chips"]
        except (OSError, ValueError, KeyError, TypeError):
            return Draft()
        if not isinstance(text, str) or not isinstance(chips, dict):
            return Draft()
        kept = {str(label): pasted for label, pasted in chips.items() if isinstance(pasted, str)}
        self._saved = Draft(text, kept)
        return self._saved

    def save(self, draft: Draft) -> None:
        """Write the draft atomically: the file always holds the old or the new one. An empty draft leaves no file."""
        if self._path is None or draft == self._saved:
            return
        data = json.dumps({"text": draft.text, "chips": draft.chips}).encode()
        with suppress(OSError):
            if not draft.text or len(data) > MAX_BYTES:
                self._path.unlink(missing_ok=True)
            else:
                _replace(self._path, data)
            self._saved = draft

    def close(self) -> None:
        """Release the slot; the draft stays in it. Idempotent."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = self._path = None

    def _claim(self, folder: Path, key: str) -> None:
        for slot in range(SLOTS):
            descriptor = os.open(folder / f"{key}.{slot}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(descriptor)
                continue
            self._lock, self._path = descriptor, folder / f"{key}.{slot}.json"
            return


def _replace(path: Path, data: bytes) -> None:
    """Replace a file with `data` atomically; the data is synced to disk before the rename."""
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
