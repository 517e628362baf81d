"""Rules in files that are written by hand: the user's `approvals.toml`, and `[approvals]` in a workspace's own file.

```toml
mode = "ask"                    # only in a workspace: the most that may happen there

[[rules]]
kind = "command-prefix"
pattern = ["npm", "test"]
verdict = "allow"               # or "ask", "deny"
reach = "sandbox"               # or "network", "host": how far it may get
```
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast, get_args

from gptoss_tui.agent.policy.modes import MODES, Mode
from gptoss_tui.agent.policy.rules import ANY, REACHES, RULE_KINDS, Pattern, Rule, RuleKind, RuleVerdict, Scope, rule_id
from gptoss_tui.errors import PolicyError
from gptoss_tui.tools.base import Reach
from gptoss_tui.tools.expansion import from_data

_HOST: Final = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*")
WORKSPACE_FILE: Final = ".gptoss-tui.toml"
_TABLE: Final = "approvals"
_RULE_KEYS: Final = ("kind", "pattern", "verdict", "reach")
_VERDICTS: Final[tuple[RuleVerdict, ...]] = get_args(RuleVerdict)
_WORDS: Final[dict[RuleKind, int]] = {"edit": 1, "host": 1, "mcp": 2, "python": 0}
_DEFAULT_REACH: Final[dict[RuleKind, Reach]] = {"edit": "workspace", "host": "network", "mcp": "host"}


@dataclass(frozen=True, slots=True)
class Written:
    """The content of a rule file."""

    rules: tuple[Rule, ...] = ()
    mode: Mode | None = None

    def tightened(self) -> Written:
        """Without allow rules: the part of an untrusted file that applies."""
        return Written(tuple(rule for rule in self.rules if rule.verdict != "allow"), self.mode)


def read_user_rules(text: str, place: str) -> Written:
    """Parse `approvals.toml`. Raises PolicyError whose message begins with `place`."""
    table = _parse(text, place)
    _only(table, ("rules",), place)
    return Written(_rules(table.get("rules", []), place, "user"))


def read_workspace_rules(text: str, place: str) -> Written:
    """Parse a workspace's file. Raises PolicyError whose message begins with `place`."""
    whole = _parse(text, place)
    _only(whole, (_TABLE,), place)
    table = whole.get(_TABLE, {})
    if not isinstance(table, dict):
        raise PolicyError(f"{place}: `{_TABLE}` must be a table")
    _only(table, ("mode", "rules"), f"{place}: {_TABLE}")
    mode = table.get("mode")
    if mode is not None and mode not in MODES:
        raise PolicyError(f"{place}: mode must be one of {', '.join(MODES)}, got {mode!r}")
    return Written(_rules(table.get("rules", []), place, "workspace"), mode)


def parse_rule(entry: object, place: str, scope: Scope, *, created: str = "", written: bool = True) -> Rule:
    """Parse one rule from its table. Raises PolicyError whose message begins with `place`."""
    if not isinstance(entry, dict):
        raise PolicyError(f"{place}: it must be a table")
    _only(entry, _RULE_KEYS, place)
    kind = cast("RuleKind", _one_of(entry, "kind", RULE_KINDS, place))
    verdict = cast("RuleVerdict", _one_of({"verdict": "allow", **entry}, "verdict", _VERDICTS, place))
    reach = cast("Reach", _one_of({"reach": _DEFAULT_REACH.get(kind, "sandbox"), **entry}, "reach", REACHES, place))
    pattern = _pattern(kind, entry.get("pattern", []), place)
    name = rule_id(kind, pattern, verdict, reach, scope)
    return Rule(name, kind, pattern, scope, created, verdict, reach, place if written else "")


def _rules(entries: object, place: str, scope: Scope) -> tuple[Rule, ...]:
    if not isinstance(entries, list):
        raise PolicyError(f"{place}: `rules` must be a list of tables", hint="write `[[rules]]`")
    found = [parse_rule(entry, f"{place}: rule {number}", scope) for number, entry in enumerate(entries, start=1)]
    return tuple(dict.fromkeys(found))


def _pattern(kind: RuleKind, value: object, place: str) -> Pattern:
    if kind in ("command", "command-prefix"):
        return _command(kind, value, place)
    words = [value] if isinstance(value, str) and kind in ("edit", "host") else value
    if not isinstance(words, list) or not all(isinstance(word, str) and word for word in words):
        raise _no_words(place, value)
    if len(words) != _WORDS[kind]:
        raise PolicyError(f"{place}: a {kind} rule needs {_WORDS[kind]} words in its pattern")
    if kind == "edit":
        _check_glob(words[0], place)
    return (_host(words[0], place),) if kind == "host" else tuple(words)


def _command(kind: RuleKind, value: object, place: str) -> Pattern:
    """The words of a command: a program, then words that may be empty (`grep '' file`) or expanded by the shell."""
    if not isinstance(value, list):
        raise _no_words(place, value)
    try:
        words = tuple(map(from_data, value))
    except ValueError as error:
        raise PolicyError(f"{place}: {error}") from error
    if not words:
        raise PolicyError(f"{place}: a {kind} rule needs one or more words in its pattern")
    if not isinstance(words[0], str) or words[0].split() != [words[0]]:
        raise _no_words(place, value)
    return words


def _no_words(place: str, value: object) -> PolicyError:
    return PolicyError(f"{place}: pattern must be a list of words, got {value!r}")


def _host(pattern: str, place: str) -> str:
    """Normalise a host to the form in effects. Raises PolicyError for an invalid host, which would never match."""
    name = pattern.lower().rstrip(".")
    if not name.isascii():
        import idna

        try:
            name = name[: 2 * name.startswith("*.")] + idna.encode(name.removeprefix("*."), uts46=True).decode("ascii")
        except idna.IDNAError:
            name = ""
    if pattern != ANY and not _HOST.fullmatch(name) and not _is_address(name):
        raise PolicyError(
            f"{place}: {pattern!r} is no host", hint="write docs.python.org, *.python.org for all below it, or *"
        )
    return name


def _is_address(name: str) -> bool:
    try:
        return bool(ipaddress.ip_address(name))
    except ValueError:
        return False


def _check_glob(pattern: str, place: str) -> None:
    from gptoss_tui.tools.workspace import glob_error

    error = glob_error(pattern)
    if pattern.startswith("!"):
        error = "it excludes files"
    elif pattern.startswith("#") or pattern != pattern.strip():
        error = "it is a comment, or has blanks at an end"
    elif {".", ".."} & set(pattern.split("/")):
        error = "paths begin at the workspace and have no dots of their own"
    if error:
        raise PolicyError(f"{place}: the pattern {pattern!r} cannot be used: {error}")


def _parse(text: str, place: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise PolicyError(f"{place}: {error}") from error


def _only(table: Mapping[str, Any], known: tuple[str, ...], place: str) -> None:
    for key in table:
        if key not in known:
            raise PolicyError(f"{place}: unknown key `{key}`", hint=f"known keys: {', '.join(known)}")


def _one_of(table: Mapping[str, Any], key: str, known: tuple[str, ...], place: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or value not in known:
        raise PolicyError(f"{place}: {key} must be one of {', '.join(known)}, got {value!r}")
    return value
