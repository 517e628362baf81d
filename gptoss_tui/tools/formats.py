"""What the model reads back from the workspace tools. Pure; nano's training data are made with the same functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

ChangeKind = Literal["A", "M", "D", "R"]


def format_read(path: str, lines: Sequence[str], *, start: int, total: int) -> str:
    """Lines `start`.. of a file of `total` lines, as they are: a patch must be able to repeat them letter by letter."""
    if not total:
        return f"[{path}: empty file]"
    end = start + len(lines) - 1
    return "\n".join((f"[{path}: lines {start}-{end} of {total}]", *lines))


def format_listing(paths: Sequence[str], *, total: int) -> str:
    """One path a line; folders end in `/`."""
    if not total:
        return "[no files]"
    more = [f"[{total - len(paths)} more not shown]"] if total > len(paths) else []
    return "\n".join((*paths, *more))


def format_matches(matches: Sequence[tuple[str, int, str]], *, total: int) -> str:
    """`path:line: text` for each match."""
    if not total:
        return "[no matches]"
    more = [f"[{total - len(matches)} more not shown]"] if total > len(matches) else []
    return "\n".join((*(f"{path}:{line}: {text}" for path, line, text in matches), *more))


def format_applied(changes: Sequence[tuple[ChangeKind, str]]) -> str:
    """`Done!` and one line a file: A added, M changed, D deleted, R moved (`old -> new`)."""
    return "\n".join(("Done!", *(f"{kind} {path}" for kind, path in changes)))


def format_denied(message: str = "") -> str:
    """A call that the user did not allow."""
    return f"The user did not allow this call. {message}".rstrip()
