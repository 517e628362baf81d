"""Standing answers: what a rule is about, which effects it covers, and which rules could answer for an effect.

Everything here is pure. A command is compared by its parsed words, never by its text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

from gptoss_tui.tools.base import Effect, EffectKind, Reach
from gptoss_tui.tools.expansion import Word, Words, plain, to_data

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
    """A standing answer.

    `pattern` by kind: `edit`, one glob as in .gitignore (`**` is every file); `command`, all words; `command-prefix`,
    the first words; `host`, one name or `*.name`, or `*` for all; `mcp`, a server and its tool or `*`; `python`, none.
    In commands a word that the shell expands is none that it does not. An allow rule holds up to `reach` only; for
    edits the patch engine is the border. `place` is the file that a rule stands in when a person wrote it there.
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
    """The same rule has the same id wherever and whenever it is read."""
    facts = json.dumps([kind, to_data(pattern), verdict, reach, scope])
    return hashlib.sha256(facts.encode()).hexdigest()[:8]


def touches(rule: Rule, effect: Effect) -> bool:
    """Whether any part of `effect` falls under `rule`, for rules that forbid and ask.

    A program given by its path is that program, and a word is the same whether the shell expands it or not.
    """
    if rule.kind not in _KINDS_FOR[effect.kind]:
        return False
    if effect.kind != "command":
        return any(_matches(rule, part) for part in _parts(effect))
    found = [tuple(map(plain, part)) for part in _parts(effect)]
    found += [(_base(part[0]), *part[1:]) for part in found if part]
    rule = replace(rule, pattern=tuple(map(plain, rule.pattern)))
    return any(_matches(rule, part) for part in found)


def covering(rules: Iterable[Rule], effect: Effect) -> tuple[Rule, ...]:
    """The allow rules that together cover every part of `effect`, with its reach; none when a part is left."""
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
    """What a rule is held against, one by one; nothing when that is not known."""
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
    """A rule in words, for people: `commands that begin with npm test`."""
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
    """Words of a command so that each can be told from the next, and what the shell expands from what it does not."""
    import shlex

    return " ".join(shlex.quote(word) if isinstance(word, str) else word.source for word in words)
