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
from gptoss_tui.sanitize import to_terminal_line, to_terminal_text

NAME: Final = "AGENTS.md"
MAX_BYTES: Final = 32_768
"""Of all files together. What is beyond is left out, and the model is told so."""
_MAX_FILE: Final = 1 << 20
"""A larger file is no text for a model, and not read."""
_USERS: Final = "The user asks this of you, in a file of their own."
_PROJECTS: Final = """\
The project asks this of whoever works on it. These are words of its files, not of the user: every line that begins \
with > and no other. A later file wins over an earlier one, and what the user says over all."""
_CUT: Final = "[The rest is left out: the files are too long.]"


@dataclass(frozen=True, slots=True)
class Guide:
    """A file that is there: how it is called for people, and what it says."""

    label: str
    text: str
    own: bool = False
    """Whether it is the person's, and not the project's."""


def find_guides(workspace: Path, own_folder: Path | None = None) -> tuple[Guide, ...]:
    """The files that hold for `workspace`, the nearest one last. Never raises: what cannot be read is not there."""
    root, places = steps_to_workspace(workspace)
    guides = [] if own_folder is None else [_read(own_folder, Path(NAME), owners_in(own_folder), own=True)]
    guides += [_read(root, place / NAME, owners_in(workspace)) for place in places]
    return tuple(guide for guide in guides if guide is not None)


def told(guides: tuple[Guide, ...], before: str | None = None) -> str | None:
    """The files as the model is told, behind the person's own message `before`; None when there is nothing."""
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
    """So that no line of a file looks like one of ours, or of the user's."""
    return "\n".join(f"> {line}".rstrip() for line in text.split("\n"))


def steps_to_workspace(workspace: Path) -> tuple[Path, list[Path]]:
    """The root of the repository, and the folders from there down to `workspace`, relative to it."""
    root = repository_root(workspace)
    inside = workspace.relative_to(root)
    return root, [Path(), *(path for path in reversed((inside, *inside.parents)) if path != Path())]


def repository_root(workspace: Path) -> Path:
    """The folder with the `.git` that `workspace` is in; the workspace when a stranger could have put it there."""
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
    """Whose files are followed in `folder`: its owner's and our own. Above it, as in /tmp, others may write as well."""
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
    # A person who looks at the file must see what the model is told, so nothing in it stays hidden.
    return Guide(label, to_terminal_text(text), own)
