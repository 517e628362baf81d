"""Files that control other programs: writing one is a way to run code later, so each needs its own approval.

Names are compared as the most lenient file system would: ignoring case, compatibility forms, trailing dots and NTFS
streams.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path
from typing import Final

from gptoss_tui.patch.repository import named_by

_DOT_GIT: Final = ".git"
_AGENTS_MD: Final = "AGENTS.md"
_BARE: Final = ("head", "config", "commondir")
GIT: Final = "git"
_SHELL: Final = "the shell"
_EDITOR: Final = "an editor"
_OWN: Final = "gptoss-tui itself"
_KEYS: Final = "keys and logins"
EVERY_ASSISTANT: Final = "every assistant here"
_AGENTS: Final = "other assistants"

# Any component of a path; `*` as in shells.
_NAMES: Final[dict[str, str]] = {
    ".git": GIT,
    "git~1": GIT,
    ".gitconfig": GIT,
    ".gitmodules": GIT,
    ".githooks": "hooks of git",
    ".husky": "hooks of git",
    ".pre-commit-config.yaml": "hooks of git",
    "lefthook.y*ml": "hooks of git",
    ".bash_aliases": _SHELL,
    ".bash_login": _SHELL,
    ".bash_logout": _SHELL,
    ".bash_profile": _SHELL,
    ".bashrc": _SHELL,
    ".cshrc": _SHELL,
    ".envrc": _SHELL,
    ".inputrc": _SHELL,
    ".kshrc": _SHELL,
    ".login": _SHELL,
    ".logout": _SHELL,
    ".profile": _SHELL,
    ".tcshrc": _SHELL,
    ".xprofile": _SHELL,
    ".xinitrc": _SHELL,
    ".xsessionrc": _SHELL,
    ".zlogin": _SHELL,
    ".zlogout": _SHELL,
    ".zprofile": _SHELL,
    ".zshenv": _SHELL,
    ".zshrc": _SHELL,
    "config.fish": _SHELL,
    ".vscode": _EDITOR,
    ".idea": _EDITOR,
    ".zed": _EDITOR,
    ".fleet": _EDITOR,
    ".devcontainer": _EDITOR,
    ".devcontainer.json": _EDITOR,
    "*.code-workspace": _EDITOR,
    "*.sublime-project": _EDITOR,
    ".vim": _EDITOR,
    ".vimrc": _EDITOR,
    ".gvimrc": _EDITOR,
    ".exrc": _EDITOR,
    ".nvimrc": _EDITOR,
    ".nvim.lua": _EDITOR,
    ".emacs": _EDITOR,
    ".emacs.d": _EDITOR,
    ".dir-locals*.el": _EDITOR,
    ".helix": _EDITOR,
    ".lvimrc": _EDITOR,
    ".gptoss-tui.toml": _OWN,
    ".mcp.json": "tool servers",
    ".gptoss-tui": _OWN,
    ".agents": EVERY_ASSISTANT,
    "agents.md": EVERY_ASSISTANT,
    "agents.override.md": _AGENTS,
    "claude.md": _AGENTS,
    "claude.local.md": _AGENTS,
    "gemini.md": _AGENTS,
    "qwen.md": _AGENTS,
    ".aider.conf.y*ml": _AGENTS,
    ".amazonq": _AGENTS,
    ".augment": _AGENTS,
    ".augment-guidelines": _AGENTS,
    ".claude": _AGENTS,
    ".clinerules": _AGENTS,
    ".codex": _AGENTS,
    ".continue": _AGENTS,
    ".continuerules": _AGENTS,
    ".crush.json": _AGENTS,
    "crush.json": _AGENTS,
    ".crush": _AGENTS,
    ".cursor": _AGENTS,
    ".cursorrules": _AGENTS,
    ".factory": _AGENTS,
    ".gemini": _AGENTS,
    ".goosehints": _AGENTS,
    ".junie": _AGENTS,
    ".kilocode": _AGENTS,
    ".kiro": _AGENTS,
    ".opencode": _AGENTS,
    "opencode.json*": _AGENTS,
    ".qwen": _AGENTS,
    ".roo": _AGENTS,
    ".roomodes": _AGENTS,
    ".roorules*": _AGENTS,
    ".rules": _AGENTS,
    ".trae": _AGENTS,
    ".vibe": _AGENTS,
    ".windsurf": _AGENTS,
    ".windsurfrules": _AGENTS,
    ".ssh": _KEYS,
    ".gnupg": _KEYS,
    ".netrc": _KEYS,
    ".npmrc": _KEYS,
    ".pypirc": _KEYS,
}
_SHAPES: Final = tuple((name, owner) for name, owner in _NAMES.items() if "*" in name)
# Two consecutive components, for a workspace that is the home folder.
_PAIRS: Final[dict[tuple[str, str], str]] = {
    (".config", "gptoss-tui"): _OWN,
    ("application support", "gptoss-tui"): _OWN,
    ("state", "gptoss-tui"): _OWN,
    (".config", "git"): GIT,
    (".config", "fish"): _SHELL,
    (".config", "nvim"): _EDITOR,
    (".config", "autostart"): "the start of programs",
    (".config", "systemd"): "the start of programs",
    ("library", "launchagents"): "the start of programs",
    (".github", "agents"): _AGENTS,
    (".github", "chatmodes"): _AGENTS,
    (".github", "copilot-instructions.md"): _AGENTS,
    (".github", "instructions"): _AGENTS,
    (".github", "prompts"): _AGENTS,
}


def protected_by(path: str) -> str | None:
    """The program whose behaviour the file at `path` controls (`git`, `the shell`); None for an ordinary file."""
    parts = [plain_name(part) for part in path.replace("\\", "/").split("/") if part not in ("", ".")]
    for part in parts:
        owner = _NAMES.get(part) or next((owner for shape, owner in _SHAPES if fnmatchcase(part, shape)), None)
        if owner is not None:
            return owner
    return next((_PAIRS[pair] for pair in pairwise(parts) if pair in _PAIRS), None)


def obeyed(root: Path) -> dict[str, str]:
    """Find paths in the folder `root` that control other programs although their names do not show it.

    Returns paths relative to `root`, each with the program: targets of protected links, the folders of the git
    repository and what its configuration names, and the target of an AGENTS.md link in a folder above. They may be
    files or folders, and need not exist.
    """
    try:
        names = os.listdir(root)
    except OSError:
        names = []
    owners = ((root / name, protected_by(name)) for name in names)
    found = {_end(path): owner for path, owner in owners if owner is not None and path.is_symlink()}
    found |= dict.fromkeys(named_by(root, root / _DOT_GIT), GIT)
    above = (folder / _AGENTS_MD for folder in root.parents)
    found |= {_end(link): EVERY_ASSISTANT for link in above if link.is_symlink()}
    inside = {path: owner for path, owner in found.items() if path != root and path.is_relative_to(root)}
    return {str(path.relative_to(root)): owner for path, owner in inside.items()}


def _end(link: Path) -> Path:
    return Path(os.path.realpath(link))


def in_repository(path: str, there: Callable[[str], bool]) -> bool:
    """Whether a file at `path` creates a bare repository or is in one, since git obeys the `config` of such a folder.

    `there` tells whether a path will exist.
    """
    parts = path.split("/")
    for depth in range(len(parts)):
        folder = "".join(f"{part}/" for part in parts[:depth])
        stores = there(f"{folder}objects") and there(f"{folder}refs")
        if plain_name(parts[depth]) in _BARE and depth == len(parts) - 1 and stores:
            return True
        if there(f"{folder}HEAD") and (stores or there(f"{folder}commondir")):
            return True
    return False


def reason(path: str, owner: str) -> str:
    """The reason why the user is asked about a protected file, whatever modes and rules say."""
    return f"{path} is protected: it decides what {owner} does"


def named_in(words: Iterable[str]) -> str | None:
    """The first word of a command that names a protected file, perhaps as the value of an option, or None."""
    for word in words:
        if any(map(protected_by, _pieces(word))):
            return word
    return None


def _pieces(word: str) -> tuple[str, ...]:
    """A word, and what it may hold a path as: the value of an option, or a part of an address."""
    return (word, *word.split("="), *word.split(":"))


def may_name(glob: str) -> bool:
    """Whether a word of a command that matches `glob` may name a protected file. Errs on the side of True."""
    for piece in _pieces(glob):
        parts = [part for part in piece.casefold().split("/") if part]
        if any(fnmatchcase(name.replace("*", ""), part) for part in parts for name in _NAMES):
            return True
        if any(all(map(fnmatchcase, pair, given)) for given in pairwise(parts) for pair in _PAIRS):
            return True
    return False


def plain_name(name: str) -> str:
    """A file name in the form in which a lenient file system compares it."""
    if not name.isascii():
        name = unicodedata.normalize("NFKC", "".join(char for char in name if unicodedata.category(char) != "Cf"))
    return name.casefold().split(":")[0].rstrip(" .")
