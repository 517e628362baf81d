"""The grants that the user is offered for longer than once: rules that cover the effect that is asked about.

The narrowest useful grant comes first. A prefix is only offered for known programs: to allow a program that runs its
arguments, such as a shell or an interpreter, would allow everything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from gptoss_tui.agent.policy.rules import ALL_FILES, ANY, Pattern, RuleKind, describe
from gptoss_tui.tools.base import Effect
from gptoss_tui.tools.expansion import Word

_MAX_COMMANDS: Final = 4
"""Longer chains of commands are unlikely to be repeated; the user is asked each time."""

_SUBCOMMAND: Final = re.compile(r"[a-z][a-z0-9:-]*\Z")
_WITH_SUBCOMMANDS: Final = frozenset(
    (
        *("apt", "brew", "bundle", "cargo", "cmake", "composer", "conda", "deno", "docker", "dotnet", "flutter", "gh"),
        *("git", "go", "gradle", "hatch", "helm", "just", "kubectl", "make", "mix", "mvn", "npm", "nx", "pip", "pixi"),
        *("pnpm", "podman", "poetry", "rake", "rustup", "swift", "task", "terraform", "turbo", "uv", "yarn", "zig"),
    )
)
_RUNNING: Final = frozenset(("exec", "run", "x", "dlx", "eval", "config", "alias", "c", "rebase", "filter-branch"))
"""Subcommands that run their arguments, or that change what later commands do."""
_HARMLESS: Final = frozenset(
    (
        *("basename", "cat", "cut", "date", "df", "diff", "dirname", "du", "echo", "file", "grep", "head", "ls"),
        *("mypy", "nl", "pwd", "pytest", "rg", "ruff", "stat", "tail", "tr", "tree", "uniq", "wc", "which"),
    )
)
"""Programs that may be allowed by name alone: the sandbox prevents their misuse."""


@dataclass(frozen=True, slots=True)
class Grant:
    """An offer to the user: the rules that it would create, and its label."""

    rules: tuple[tuple[RuleKind, Pattern], ...]
    label: str


def grants_for(effect: Effect) -> tuple[Grant, ...]:
    """The grants that may be offered for `effect`; empty when the user must be asked each time."""
    if effect.must_ask:
        return ()
    match effect.kind:
        case "edit":
            return _edit(effect.paths)
        case "command":
            return _command(effect.commands)
        case "python":
            return (_grant(("python", ())),)
        case "url":
            return (_grant(*(("host", (host,)) for host in dict.fromkeys(effect.hosts))),) if effect.hosts else ()
        case "mcp":
            return (_grant(("mcp", effect.mcp)), _grant(("mcp", (effect.mcp[0], ANY)))) if effect.mcp else ()


def _edit(paths: tuple[str, ...]) -> tuple[Grant, ...]:
    if not paths:
        return ()
    folders = {path.rpartition("/")[0] for path in paths}
    below = _grant(("edit", (f"/{_escaped(folders.pop())}/",))) if len(folders) == 1 and "" not in folders else None
    return (_grant(("edit", (ALL_FILES,))), *((below,) if below else ()))


def _command(commands: tuple[Pattern, ...]) -> tuple[Grant, ...]:
    if not commands or len(commands) > _MAX_COMMANDS or not all(commands):
        return ()
    distinct = tuple(dict.fromkeys(commands))
    exact = _grant(*(("command", words) for words in distinct))
    wider: dict[tuple[RuleKind, Pattern], None] = {}
    for words in distinct:
        prefix = _prefix(words)
        wider[("command-prefix", prefix) if prefix else ("command", words)] = None
    return (exact, _grant(*wider)) if any(kind == "command-prefix" for kind, _ in wider) else (exact,)


def _prefix(words: Pattern) -> Pattern | None:
    """The words that say what a command does, without its objects; None when no prefix may be offered."""
    program, *rest = map(_named, words[:3])
    if program in _HARMLESS:
        return (program,)
    if program not in _WITH_SUBCOMMANDS or not rest or not _SUBCOMMAND.match(rest[0]):
        return None
    if rest[0] in _RUNNING:
        named = program in ("npm", "pnpm", "yarn") and rest[0] == "run" and rest[1:] and rest[1][:1] not in ("", "-")
        return words[:3] if named else None
    return words[:2]


def _named(word: Word) -> str:
    """A literal word; empty for a word that the shell expands."""
    return word if isinstance(word, str) else ""


def _grant(*rules: tuple[RuleKind, Pattern]) -> Grant:
    return Grant(rules, ", ".join(describe(kind, pattern) for kind, pattern in rules))


def _escaped(path: str) -> str:
    """Escape a path as a glob that matches only this path."""
    return re.sub(r"([*?\[\]!#\\ ])", r"\\\1", path)
