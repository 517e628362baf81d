"""What a command may not change even in the workspace, and what it may not see in a home folder.

Git, editors and shells run the contents of these files, with the user's rights and outside of any sandbox.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from platformdirs import user_cache_path, user_config_path, user_data_path, user_state_path

from gptoss_tui.patch.repository import git_folders

GIT: Final = ".git"

GIT_PROGRAMS: Final = ("config", "hooks", "modules", "worktrees", "info")
"""What stays read-only in a writable .git: each can name a program that git runs later."""

_HOOKS: Final = "hooks"

_SECRETS: Final = (
    *(".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".netrc", ".git-credentials", ".pypirc", ".npmrc"),
    *(".config/gcloud", ".config/gh", ".config/hub", ".config/op", ".config/rclone", ".password-store"),
    *(".local/share/keyrings", ".mozilla", ".thunderbird", ".config/google-chrome", ".config/chromium"),
    *(".cache/huggingface/token", ".cargo/credentials", ".cargo/credentials.toml", ".bash_history", ".zsh_history"),
    *(".python_history", ".config/fish", "Library/Keychains"),
)
_APP: Final = "gptoss-tui"
MOUNTS: Final = 200
"""How many paths are mounted read-only, highest first; more would take seconds. Changes to others are reported later.

"""


def protected_paths(root: Path, files: Iterable[Path], *, git: bool) -> Iterator[Path]:
    """Yield what must be read-only for the protected `files` of the workspace at `root`; `git` leaves .git writable."""
    repository = git_folders(root, root / GIT)
    for path in islice(files, MOUNTS):
        real = Path(os.path.realpath(path))
        if path.is_symlink() and not (real.exists() and real != root and real.is_relative_to(root)):
            continue  # a link cannot be mounted on; its target is missing, read-only anyway, or the root
        if git and (path == root / GIT or path in repository) and real.is_dir():
            yield from (real / part for part in GIT_PROGRAMS if (real / part).exists())
        else:
            yield real


def missing_hooks(root: Path) -> Path | None:
    """The hooks folder that the repository of the workspace at `root` lacks and git would obey if created, or None."""
    git = Path(os.path.realpath((root / GIT, *git_folders(root, root / GIT))[-1]))
    lacks = git.is_dir() and git.is_relative_to(root) and not os.path.lexists(git / _HOOKS)
    return git / _HOOKS if lacks else None


def secret_paths(home: Path) -> Iterator[Path]:
    """Yield existing paths with keys, tokens or private data, of other programs and our own."""
    own = {path(_APP) for path in (user_config_path, user_state_path, user_data_path, user_cache_path)}
    for path in (*(home / name for name in _SECRETS), *sorted(own)):
        real = Path(os.path.realpath(path))
        if real.exists():
            yield real
