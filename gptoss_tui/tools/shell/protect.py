"""What a command may not change even in the workspace, and what it may not see of a home folder.

Git, editors and shells run what stands in these files, with the person's rights and outside of any sandbox.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from platformdirs import user_cache_path, user_config_path, user_data_path, user_state_path

from gptoss_tui.patch.protected import protected_by
from gptoss_tui.tools.shell.words import Words

GIT: Final = ".git"

_GIT_PROGRAMS: Final = ("config", "hooks", "modules", "worktrees", "info")
"""What stays read-only in a .git that may be written: each can name a program that git runs later."""

_GIT_PLANTS: Final = ("commondir", "config.worktree")
"""Files that send git to another configuration; no repository of its own has them."""

_HOOKS: Final = "hooks"

Identity = tuple[int, int, int, str]
"""Device, number and type of a file, and where a link leads: another one of the same name has another."""

_ANY: Final = (0, 0, 0, "")

_SECRETS: Final = (
    *(".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".netrc", ".git-credentials", ".pypirc", ".npmrc"),
    *(".config/gcloud", ".config/gh", ".config/hub", ".config/op", ".config/rclone", ".password-store"),
    *(".local/share/keyrings", ".mozilla", ".thunderbird", ".config/google-chrome", ".config/chromium"),
    *(".cache/huggingface/token", ".cargo/credentials", ".cargo/credentials.toml", ".bash_history", ".zsh_history"),
    *(".python_history", ".config/fish", "Library/Keychains"),
)
_APP: Final = "gptoss-tui"
_DEPTH = 3
_ENTRIES = 3000
_NOT_ENTERED: Final = frozenset({"node_modules", ".venv", "__pycache__"})

_READING_GIT: Final = frozenset(
    (
        *("blame", "cat-file", "check-ignore", "describe", "diff", "diff-tree", "for-each-ref", "grep", "help", "log"),
        *("ls-files", "ls-tree", "merge-base", "name-rev", "rev-list", "rev-parse", "shortlog", "show", "show-ref"),
        *("status", "version", "whatchanged"),
    )
)
_WRITING_GIT: Final = re.compile(
    r"\bgit\s[^\n;|&]*\b(add|am|apply|branch|checkout|cherry-pick|clean|commit|fetch|init|merge|mv|pull|rebase|reset"
    r"|restore|revert|rm|stash|switch|tag|worktree)\b"
)
_GIT_OPTIONS_WITH_VALUE: Final = frozenset({"-C", "-c", "--git-dir", "--work-tree", "--namespace"})


def writes_git(command: str, commands: tuple[Words, ...]) -> bool:
    """Whether a git in it changes its repository, as far as words tell; without words, as its text reads."""
    if not commands:
        return bool(_WRITING_GIT.search(command))
    return any(_subcommand(words) not in _READING_GIT for words in commands if words[0] == "git" and len(words) > 1)


def _subcommand(words: Words) -> str:
    at = 1
    while at < len(words) and words[at].startswith("-"):
        at += 2 if words[at] in _GIT_OPTIONS_WITH_VALUE else 1
    return words[at] if at < len(words) else "help"


def protected_paths(root: Path, *, git: bool) -> Iterator[Path]:
    """The existing paths of the workspace at `root` that must be read-only. `git` True leaves its .git writable."""
    for path in _protected(root):
        real = Path(os.path.realpath(path))
        if path.is_symlink() and not (real.exists() and real != root and real.is_relative_to(root)):
            continue  # a link cannot be mounted on; what it leads to is read-only, or everything
        if git and path == root / GIT and real.is_dir():
            yield from (real / part for part in _GIT_PROGRAMS if (real / part).exists())
        else:
            yield real


def missing_hooks(root: Path) -> Path | None:
    """The folder of hooks that the repository of the workspace at `root` lacks, and git would obey if it had it."""
    git = Path(os.path.realpath(root / GIT))
    lacks = git.is_dir() and git.is_relative_to(root) and not os.path.lexists(git / _HOOKS)
    return git / _HOOKS if lacks else None


def _protected(root: Path) -> Iterator[Path]:
    """Protected files and folders, not too deep and not among too many; folders are not entered."""
    seen = 0
    for folder, folders, files in os.walk(root):
        seen += len(folders) + len(files)
        found = {name for name in (*folders, *files) if protected_by(name)}
        yield from (Path(folder, name) for name in sorted(found))
        folders[:] = [name for name in folders if name not in found and name not in _NOT_ENTERED]
        if seen > _ENTRIES:
            return
        if len(Path(folder).relative_to(root).parts) >= _DEPTH:
            folders.clear()


def present(root: Path) -> Mapping[str, Identity]:
    """The protected names that the workspace has and which files they are, to be compared after a command ran."""
    git = root / GIT
    own = git.is_dir() and not git.is_symlink()  # a link may lead to a repository that has such files for good reason
    plants = {name: _ANY for name in _plants() if own and os.path.lexists(root / name)}
    return {str(path.relative_to(root)): _identity(path) for path in _protected(root)} | plants


def remove_plants(root: Path, before: Mapping[str, Identity]) -> tuple[str, ...]:
    """Remove what would send git to another configuration; give all protected names that are new, or new files."""
    new = tuple(sorted(name for name, which in present(root).items() if before.get(name) != which))
    for name in new:
        if name in _plants():
            with contextlib.suppress(OSError):  # gone, or a folder, which git cannot read
                os.unlink(root / name)
    return new


def _plants() -> tuple[str, ...]:
    return tuple(f"{GIT}/{plant}" for plant in _GIT_PLANTS)


def _identity(path: Path) -> Identity:
    try:
        status = os.lstat(path)
        kind = stat.S_IFMT(status.st_mode)
        return status.st_dev, status.st_ino, kind, os.readlink(path) if kind == stat.S_IFLNK else ""
    except OSError:
        return _ANY


def secret_paths(home: Path) -> Iterator[Path]:
    """Existing paths that hold keys, tokens or private data: other programs' and our own."""
    own = {path(_APP) for path in (user_config_path, user_state_path, user_data_path, user_cache_path)}
    for path in (*(home / name for name in _SECRETS), *sorted(own)):
        real = Path(os.path.realpath(path))
        if real.exists():
            yield real
