"""Lists and removes the repacked weights in the user's cache."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

from gptoss_tui.engine.native.cache_file import SOURCE_NOTE, cache_folder, noted_source, remove_stale


@dataclass(frozen=True, slots=True)
class Kept:
    """Repacked weights of the checkpoint at `source` (None if not recorded). `name` is the one shown to users."""

    name: str
    folder: Path
    source: Path | None
    nbytes: int

    @property
    def is_orphan(self) -> bool:
        """Whether the checkpoint is gone."""
        return self.source is None or not self.source.is_dir()


def kept_weights() -> list[Kept]:
    """All repacked weights in the cache, sorted by name. Files that are still being written count too."""
    return sorted(_found(), key=lambda kept: (kept.name, str(kept.folder)))


def remove_kept(kept: Kept) -> int:
    """Remove its files except those being written; returns how many bytes they took.

    A process that has a file mapped keeps its contents. Raises OSError.
    """
    before = _nbytes(kept.folder)
    for path in kept.folder.glob("*.bin"):
        path.unlink(missing_ok=True)
    remove_stale(kept.folder)
    left = _nbytes(kept.folder)
    if all(path.name == SOURCE_NOTE for path in kept.folder.iterdir()):
        shutil.rmtree(kept.folder, ignore_errors=True)
    return before - left


def _found() -> Iterator[Kept]:
    built_in = user_cache_path("gptoss-tui") / "nano"
    try:
        folders = [path for path in cache_folder().iterdir() if path.is_dir()]
    except OSError:
        return
    for folder in folders:
        source = noted_source(folder)
        name = folder.name if source is None else "nano" if source.parent == built_in.resolve() else source.name
        yield Kept(name, folder, source, _nbytes(folder))


def _nbytes(folder: Path) -> int:
    total = 0
    with suppress(FileNotFoundError):  # the folder may be removed meanwhile
        for path in folder.iterdir():
            with suppress(FileNotFoundError):
                total += path.stat().st_blocks * 512
    return total
