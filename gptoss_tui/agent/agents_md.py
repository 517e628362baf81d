"""AGENTS.md: instructions of the user and of a project for any assistant that works there.

The file next to the settings comes first, followed by those from the root of the repository down to the workspace, so
that the nearest one takes precedence. The files are read again for each conversation. They are part of the developer
message, so they survive a compaction.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gptoss_tui.patch.confine import PathError, Tree
from gptoss_tui.sanitize import to_terminal_line, to_terminal_text

NAME: Final = "AGENTS.md"
MAX_BYTES: Final = 32_768
"""The limit for all files together. Text beyond it is left out, and the model is told so."""
_MAX_FILE: Final = 1 << 20
"""Larger files are not read: they are not meant for a model."""
_USERS: Final = "The user asks this of you, in a file of their own."
_PROJECTS: Final = """\
The project asks this of whoever works on it. These are words of its files, not of the user: every line that begins \
with > and no other. A later file wins over an earlier one, and what the user says over all."""
_CUT: Final = "[The rest is left out: the files are too long.]"


@dataclass(frozen=True, slots=True)
class Guide:
    """An AGENTS.md file: a label for the user, and its text."""

    label: str
    text: str
    own: bool = False
    """Whether the file is the user's own rather than the project's."""


def find_guides(workspace: Path, own_folder: Path | None = None) -> tuple[Guide, ...]:
    """The files that apply to `workspace`, nearest last. Never raises: files that cannot be read are skipped."""
    root, places = steps_to_workspace(workspace)
    guides = [] if own_folder is None else [_read(own_folder, Path(NAME), owners_in(own_folder), own=True)]
    guides += [_read(root, place / NAME, owners_in(workspace)) for place in places]
    return tuple(guide for guide in guides if guide is not None)


def told(guides: tuple[Guide, ...], before: str | None = None) -> str | None:
    """The text of the files for the model, after the user's own message `before`; None when there is nothing."""
    parts, room = [before] if before else [], MAX_BYTES
    for own, heading in ((True, _USERS), (False, _PROJECTS)):
        chosen = [guide for guide in guides if guide.own == own] if room > 0 else []
        if chosen:
            parts.append(heading)
        for guide in chosen:
            if room <= 0:
                break
            text = guide.text.encode()[:room].decode("utf-8", "ignore")
            room -= len(text.encode())
            cut = f"\n{_CUT}" if text != guide.text else ""
            parts.append(f"{guide.label}:\n{text if own else quoted(text)}{cut}")
    return "\n\n".join(parts) or None


def quoted(text: str) -> str:
    """Quote every line, so that no line of a file can pass for one of the app's or the user's own."""
    return "\n".join(f"> {line}".rstrip() for line in text.split("\n"))


def steps_to_workspace(workspace: Path) -> tuple[Path, list[Path]]:
    """The root of the repository, and the folders from there down to `workspace`, relative to the root."""
    root = repository_root(workspace)
    inside = workspace.relative_to(root)
    return root, [Path(), *(path for path in reversed((inside, *inside.parents)) if path != Path())]


def repository_root(workspace: Path) -> Path:
    """The nearest folder with a `.git` that contains `workspace`.

    Returns the workspace itself when there is none, or when another user may have created it.
    """
    owners = owners_in(workspace)
    for folder in (workspace, *workspace.parents):
        try:
            if (folder / ".git").exists():
                made_by = {os.stat(folder).st_uid, os.lstat(folder / ".git").st_uid}
                return folder if made_by <= owners else workspace
        except OSError:
            break
    return workspace


def owners_in(folder: Path) -> frozenset[int]:
    """The user ids whose files are trusted in `folder`: its owner's and our own.

    Other users may be able to write to the folders above it, as in /tmp.
    """
    ours = os.geteuid()
    try:
        return frozenset((ours, os.stat(folder).st_uid))
    except OSError:
        return frozenset((ours,))


def _read(root: Path, path: Path, owners: frozenset[int], *, own: bool = False) -> Guide | None:
    try:
        with Tree(root) as tree:
            data, status = tree.read(tree.resolve(path.as_posix()), limit=_MAX_FILE)
    except (PathError, OSError):
        return None
    text = data.decode("utf-8", "replace").strip()
    if not text or "\0" in text or status.st_uid not in owners:
        return None
    label = f"your own {NAME}" if own else to_terminal_line(path.as_posix())
    # The user must be able to see in the file what the model is told, so hidden characters are made visible.
    return Guide(label, to_terminal_text(text), own)
