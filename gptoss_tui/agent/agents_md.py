"""AGENTS.md: what a person and a project ask of any assistant that works there.

The file beside the settings comes first, then those from the root of the repository down to the workspace, so that the
nearest one has the last word. They are read anew for each conversation and are part of what the model is told, so they
outlive a compaction.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gptoss_tui.patch.confine import PathError, Tree

NAME: Final = "AGENTS.md"
MAX_BYTES: Final = 32_768
"""Of all files together. What is beyond is left out, and the model is told so."""
_MAX_FILE: Final = 1 << 20
"""A larger file is no text for a model, and not read."""
_HEAD: Final = """\
The user and the project ask this of you. A later file wins over an earlier one, and what the user says over all."""
_CUT: Final = "[The rest is left out: the files are too long.]"


@dataclass(frozen=True, slots=True)
class Guide:
    """A file that is there: how it is called for people, and what it says."""

    label: str
    text: str


def find_guides(workspace: Path, own_folder: Path | None = None) -> tuple[Guide, ...]:
    """The files that hold for `workspace`, the nearest one last. Never raises: what cannot be read is not there."""
    root = repository_root(workspace)
    places = [Path(), *_steps(root, workspace)]
    guides = [] if own_folder is None else [_read(own_folder, Path(NAME), f"your own {NAME}")]
    guides += [_read(root, place / NAME, (place / NAME).as_posix()) for place in places]
    return tuple(guide for guide in guides if guide is not None)


def told(guides: tuple[Guide, ...], before: str | None = None) -> str | None:
    """The files as the model is told, behind the person's own message `before`; None when there is nothing."""
    parts, room = [_HEAD], MAX_BYTES
    for guide in guides:
        text = guide.text.encode()[:room].decode("utf-8", "ignore")
        room -= len(text.encode())
        parts.append(f"{guide.label}:\n{text}" + (f"\n{_CUT}" if text != guide.text else ""))
        if room <= 0:
            break
    said = [before or "", "\n\n".join(parts) if guides else ""]
    return "\n\n".join(part for part in said if part) or None


def repository_root(workspace: Path) -> Path:
    """The folder with the `.git` that `workspace` is in, if both belong to the same user; else the workspace itself."""
    for folder in (workspace, *workspace.parents):
        try:
            if (folder / ".git").exists():
                return folder if os.stat(folder).st_uid == os.stat(workspace).st_uid else workspace
        except OSError:
            break
    return workspace


def _steps(root: Path, workspace: Path) -> list[Path]:
    """The folders below `root` on the way to `workspace`, relative to `root`."""
    inside = workspace.relative_to(root)
    return [path for path in reversed((inside, *inside.parents)) if path != Path()]


def _read(root: Path, path: Path, label: str) -> Guide | None:
    try:
        with Tree(root) as tree:
            data = tree.read(tree.resolve(path.as_posix()), limit=_MAX_FILE)[0]
    except (PathError, OSError):
        return None
    text = data.decode("utf-8", "replace").strip()
    return Guide(label, text) if text and "\0" not in text else None
