"""Approval rules: what a rule is about, and which effects it covers.

Everything here is pure. Commands are compared by their parsed words, never by their text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Final, Literal, get_args

from gptoss_tui.tools.base import Effect, EffectKind, Reach
from gptoss_tui.tools.expansion import Expands, Word, Words, as_glob, plain, to_data
from gptoss_tui.tools.shell.git import without_options

RuleKind = Literal["edit", "command", "command-prefix", "python", "host", "mcp"]
RULE_KINDS: Final[tuple[RuleKind, ...]] = get_args(RuleKind)

RuleVerdict = Literal["allow", "ask", "deny"]
Scope = Literal["session", "workspace", "user"]

REACHES: Final[tuple[Reach, ...]] = get_args(Reach)
ANY: Final = "*"
ALL_FILES: Final = "**"

_KINDS_FOR: Final[dict[EffectKind, tuple[RuleKind, ...]]] = {
    "edit": ("edit",),
    "command": ("command", "command-prefix"),
    "python": ("python",),
    "url": ("host",),
    "mcp": ("mcp",),
}

Pattern = Words


@dataclass(frozen=True, slots=True)
class Rule:
    """An approval rule.

    The `pattern` depends on the kind. `edit`: one glob as in .gitignore (`**` is every file). `command`: all words.
    `command-prefix`: the first words. `host`: a name, `*.name`, or `*` for all. `mcp`: a server and its tool or `*`.
    `python`: nothing. In commands, a word that the shell expands never equals one that it does not expand. An allow
    rule only covers effects up to its `reach`; edits are instead confined by the patch engine. `place` is the file and
    position of a rule that was written by hand, otherwise empty.
    """

    id: str
    kind: RuleKind
    pattern: Pattern
    scope: Scope
    created: str
    verdict: RuleVerdict = "allow"
    reach: Reach = "network"
    place: str = ""


def rule_id(kind: RuleKind, pattern: Pattern, verdict: RuleVerdict, reach: Reach, scope: Scope) -> str:
    """The id of a rule, which only depends on its content: the same rule has the same id wherever it is read."""
    facts = json.dumps([kind, to_data(pattern), verdict, reach, scope])
    return hashlib.sha256(facts.encode()).hexdigest()[:8]


def touches(rule: Rule, effect: Effect) -> bool:
    """Whether any part of `effect` matches `rule`; for rules that deny or ask.

    A program given by its path also matches by its name, and it does not matter whether the shell expands a word or
    which options stand in front of a subcommand of git.
    """
    if rule.kind not in _KINDS_FOR[effect.kind]:
        return False
    if effect.kind != "command":
        return any(_matches(rule, part) for part in _parts(effect))
    found = [tuple(map(plain, part)) for part in _parts(effect)]
    found += [(_base(part[0]), *part[1:]) for part in found if part]
    found += [without_options(part) for part in found if part[:1] == ("git",)]
    rule = replace(rule, pattern=tuple(map(plain, rule.pattern)))
    return any(_matches(rule, part) for part in found)


def may_touch(rule: Rule, effect: Effect) -> bool:
    """Whether `effect` is a command that could match `rule` although its words do not show it.

    It was not fully parsed, or a word expands: `git {push,x}` runs `git push`, and so does `git pus?` where there is a
    file of that name.
    """
    if rule.kind not in _KINDS_FOR[effect.kind] or effect.kind != "command":
        return False
    return not effect.commands or any(_may_become(part, rule.pattern) for part in effect.commands)


def _may_become(words: Pattern, pattern: Pattern) -> bool:
    """Whether a command, up to its first word that expands, could continue as `pattern`; always if it has no words."""
    at = next((at for at, word in enumerate(words) if isinstance(word, Expands)), len(words))
    if at == len(words):
        return not words
    known = tuple(map(plain, words[:at]))
    known = (_base(known[0]), *known[1:]) if known else known
    bare = without_options(known) if known[:1] == ("git",) else known
    wanted = tuple(map(plain, pattern))
    if len(bare) >= len(wanted) or wanted[: len(bare)] != bare:
        return False
    first = words[at]
    return bare != known or (isinstance(first, Expands) and fnmatchcase(wanted[at], as_glob(first)))


def covering(rules: Iterable[Rule], effect: Effect) -> tuple[Rule, ...]:
    """The allow rules that together cover every part of `effect` and its reach; empty when a part is not covered."""
    usable = [
        rule
        for rule in rules
        if rule.verdict == "allow"
        and rule.kind in _KINDS_FOR[effect.kind]
        and (effect.kind == "edit" or REACHES.index(effect.reach) <= REACHES.index(rule.reach))
    ]
    used: list[Rule] = []
    for part in _parts(effect):
        rule = next((rule for rule in usable if _matches(rule, part)), None)
        if rule is None:
            return ()
        used.append(rule)
    return tuple(dict.fromkeys(used))


def _parts(effect: Effect) -> tuple[Pattern, ...]:
    """The parts of `effect` that rules are matched against one by one; empty when they are not known."""
    match effect.kind:
        case "edit":
            return tuple((path,) for path in effect.paths)
        case "command":
            return effect.commands
        case "url":
            return tuple((host.lower().rstrip("."),) for host in effect.hosts)
        case "mcp":
            return (effect.mcp,) if effect.mcp else ()
        case "python":
            return ((),)


def _matches(rule: Rule, part: Pattern) -> bool:
    match rule.kind:
        case "edit":
            return rule.pattern == (ALL_FILES,) or _glob(plain(rule.pattern[0]), plain(part[0]))
        case "command":
            return part == rule.pattern
        case "command-prefix":
            return bool(rule.pattern) and part[: len(rule.pattern)] == rule.pattern
        case "host":
            return _host(plain(rule.pattern[0]), plain(part[0]))
        case "mcp":
            return part == rule.pattern or (part[0], ANY) == rule.pattern
        case "python":
            return True


def _host(pattern: str, host: str) -> bool:
    if pattern == ANY:
        return True
    return host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern


def _glob(pattern: str, path: str) -> bool:
    from pathspec import GitIgnoreSpec

    return GitIgnoreSpec.from_lines([pattern]).match_file(path)


def _base(program: str) -> str:
    return program.rsplit("/", 1)[-1]


def describe(kind: RuleKind, pattern: Sequence[Word]) -> str:
    """Describe a rule in words for the user: `commands that begin with npm test`."""
    match kind:
        case "edit":
            return "edits of this workspace" if tuple(pattern) == (ALL_FILES,) else f"edits of {pattern[0]}"
        case "command":
            return f"the command {spell(pattern)}"
        case "command-prefix":
            return f"commands that begin with {spell(pattern)}"
        case "host":
            return "pages of every host" if tuple(pattern) == (ANY,) else f"pages of {pattern[0]}"
        case "mcp":
            return f"every tool of {pattern[0]}" if pattern[1] == ANY else f"{pattern[1]} of {pattern[0]}"
        case "python":
            return "Python"


def spell(words: Sequence[Word]) -> str:
    """Spell the words of a command unambiguously: literal words are quoted, words that the shell expands are not."""
    import shlex

    return " ".join(shlex.quote(word) if isinstance(word, str) else word.source for word in words)
