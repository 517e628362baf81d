"""Tells from the words of git commands which of them change their repository.

A mistake here does no harm: a command that is taken for a reading one gets a read-only repository.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from gptoss_tui.tools.expansion import Words, plain

_READING: Final = frozenset(
    (
        *("annotate", "blame", "cat-file", "check-attr", "check-ignore", "check-mailmap", "check-ref-format", "cherry"),
        *("count-objects", "describe", "diff", "diff-files", "diff-index", "diff-tree", "for-each-ref", "grep", "help"),
        *("log", "ls-files", "ls-remote", "ls-tree", "merge-base", "name-rev", "range-diff", "rev-list", "rev-parse"),
        *("shortlog", "show", "show-branch", "show-ref", "status", "var", "verify-commit", "verify-tag", "version"),
        "whatchanged",
    )
)
_READING_FORMS: Final[Mapping[str, frozenset[str]]] = {
    "bisect": frozenset(("log",)),
    "bundle": frozenset(("list-heads", "verify")),
    "config": frozenset(("get", "list")),
    "notes": frozenset(("", "list", "show")),
    "reflog": frozenset(("", "exists", "list", "show")),
    "remote": frozenset(("", "get-url", "show")),
    "stash": frozenset(("list", "show")),
    "submodule": frozenset(("", "status", "summary")),
    "worktree": frozenset(("list",)),
}
"""For subcommands that may read or write, the first operands with which they only read; "" means no operand."""

_LIST_OPTIONS: Final = frozenset(
    (
        *("--all", "--abbrev", "--color", "--column", "--contains", "--format", "--ignore-case", "--list", "--merged"),
        *("--no-abbrev", "--no-color", "--no-column", "--no-contains", "--no-merged", "--points-at", "--remotes"),
        *("--show-current", "--sort", "--verbose"),
    )
)
_LIST_LETTERS: Final = {"branch": frozenset("ailrv"), "tag": frozenset("iln0123456789")}
_LISTING: Final = frozenset(
    ("--contains", "--list", "--merged", "--no-contains", "--no-merged", "--points-at", "--show-current")
)
"""With one of these options, `git branch` and `git tag` take names as patterns instead of creating them."""

_CONFIG_READING: Final = frozenset(
    ("-l", "--get", "--get-all", "--get-color", "--get-colorbool", "--get-regexp", "--get-urlmatch", "--list")
)
_CONFIG_WRITING: Final = frozenset(
    ("-e", "--add", "--edit", "--remove-section", "--rename-section", "--replace-all", "--unset", "--unset-all")
)
_WRITING: Final = re.compile(
    r"\bgit\s[^\n;|&]*\b(add|am|apply|bisect|branch|checkout|cherry-pick|clean|clone|commit|fetch|gc|init|merge|mv|notes"
    r"|pull|rebase|reset|restore|revert|rm|stash|submodule|switch|tag|update-ref|worktree)\b"
)
_OPTIONS_WITH_VALUE: Final = frozenset(
    ("-C", "-c", "--attr-source", "--config-env", "--git-dir", "--namespace", "--super-prefix", "--work-tree")
)


def writes_git(command: str, commands: tuple[Words, ...]) -> bool:
    """Whether a git in the command changes its repository, judged by its words, and by its text if any are unclear."""
    if not all(commands or [()]) and _WRITING.search(command):
        return True
    return any(not _reads(tuple(map(plain, words))) for words in commands if len(words) > 1 and words[0] == "git")


def without_options(words: tuple[str, ...]) -> tuple[str, ...]:
    """The words of a git command without the options in front of its subcommand: `git -C x push` as `git push`."""
    return (*words[:1], *words[_subcommand_at(words) :])


def _subcommand_at(words: tuple[str, ...]) -> int:
    at = 1
    while at < len(words) and words[at].startswith("-"):
        at += 2 if words[at] in _OPTIONS_WITH_VALUE else 1
    return at


def _reads(words: tuple[str, ...]) -> bool:
    at = _subcommand_at(words)
    if at >= len(words) or words[at] in _READING:
        return True
    subcommand, given = words[at], words[at + 1 :]
    options = {word.split("=", 1)[0] for word in given if word.startswith("-")}
    operands = [word for word in given if not word.startswith("-")]
    if subcommand in _LIST_LETTERS:
        long = {option for option in options if option.startswith("--")}
        letters = {letter for option in options - long for letter in option[1:]}
        if not (long <= _LIST_OPTIONS and letters <= _LIST_LETTERS[subcommand]):
            return False
        return not operands or "l" in letters or bool(long & _LISTING)
    if subcommand == "config" and (options & _CONFIG_READING or len(operands) == 1):
        return not options & _CONFIG_WRITING
    return (operands[0] if operands else "") in _READING_FORMS.get(subcommand, ())
