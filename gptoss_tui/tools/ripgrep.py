"""Uses ripgrep, where installed, to find quickly which files can have a match, so that only those need be read.

Search results never depend on it. It only gets files that may be searched and plain words, which mean the same to it
and to Python; which lines match is decided in Python either way.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

_PLAIN: Final = re.compile(r"(?:[A-Za-z0-9_ ,:;=<>@%&~`'\"/!-]|\\[.()\[\]{}*+?^$|/\"'#&~ -])+")
_MAX_WORDS: Final = 20
_BATCH: Final = 1000
"""Files in one command line."""

FEW: Final = 16
"""Reading up to this many files takes no longer than starting a program."""


def narrowed(root: Path, files: Sequence[str], pattern: str, seconds: float) -> Sequence[str]:
    """Return those of `files`, relative to `root`, that may match the Python regular expression `pattern`.

    Returns all of them when ripgrep is not installed, cannot tell, or takes longer than `seconds`.
    """
    words, program = plain_words(pattern), _program()
    if words is None or program is None or len(files) <= FEW:
        return files
    command = [program, "--no-config", "--files-with-matches", "--null", "--fixed-strings", "--text", "--encoding"]
    command += ["none", "--no-messages", "--no-ignore", "--hidden", "--threads", "2"]
    command += [argument for word in words for argument in ("-e", word)]
    found: set[str] = set()
    try:
        for start in range(0, len(files), _BATCH):
            done = subprocess.run(
                [*command, "--", *files[start : start + _BATCH]],
                cwd=root,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=max(0.1, seconds),
                check=False,
            )
            if done.returncode not in (0, 1):
                return files
            found |= {os.fsdecode(name) for name in done.stdout.split(b"\0") if name}
    except (OSError, subprocess.TimeoutExpired):
        return files
    return [name for name in files if name in found]


def plain_words(pattern: str) -> tuple[str, ...] | None:
    """The words that `pattern` is an alternation of (`a|b` is two), or None if the pattern is anything else."""
    words = []
    for part in re.split(r"(?<!\\)\|", pattern):
        if not _PLAIN.fullmatch(part):
            return None
        words.append(re.sub(r"\\(.)", r"\1", part))
    return tuple(words) if len(words) <= _MAX_WORDS else None


@cache
def _program() -> str | None:
    """The path of `rg`. Relative folders in PATH are skipped, so that it is never one from the workspace."""
    folders = [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if os.path.isabs(folder)]
    return shutil.which("rg", path=os.pathsep.join(folders))
