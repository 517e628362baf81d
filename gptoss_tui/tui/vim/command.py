"""The grammar of normal mode: counts, operators, motions and the characters that some commands take."""

from __future__ import annotations

from dataclasses import dataclass

OPERATORS = "dcy"
MOTIONS = {*"hjkl0^$wWbBeEG;,fFtT", "gg"}
_COMMANDS = {*"iIaAoOxXDCYsSpPJu~.vV/"}
_SELECTION = {*"dcyxXDCYsSJpPuU~vVo"}
_WITH_CHARACTER = "fFtT"
_OBJECTS = "ia"


@dataclass(frozen=True, slots=True)
class Command:
    """One command. `name` is its command, motion or object, `operator` what is done to the text of a motion or object.

    `count` is None if none was given; `character` is what `f`, `t`, `F`, `T` and `r` take.
    """

    name: str
    operator: str = ""
    count: int | None = None
    character: str = ""


def parse(keys: str, *, selecting: bool = False) -> Command | None:
    """The command that `keys` spell; None if keys are missing. Raises ValueError if no command begins with them.

    While text is selected, operators need no motion and `i` and `a` begin an object.
    """
    count, rest = _number(keys)
    if not rest:
        return None
    if rest[0] in OPERATORS and not selecting:
        return _with_operator(rest[0], count, rest[1:])
    name = "gg" if rest == "gg" else rest[0]
    if rest == "g":
        return None
    if rest[0] in _WITH_CHARACTER or rest[0] == "r":
        return Command(rest[0], count=count, character=rest[1]) if len(rest) > 1 else None
    if selecting and rest[0] in _OBJECTS:
        return Command(rest, count=count) if len(rest) > 1 else None
    if name in MOTIONS or name in (_SELECTION if selecting else _COMMANDS):
        return Command(name, count=count)
    raise ValueError(f"no command begins with {keys!r}")


def _with_operator(operator: str, count: int | None, keys: str) -> Command | None:
    more, rest = _number(keys)
    if more is not None:
        count = more * (count or 1)
    if not rest or rest == "g":
        return None
    if rest[0] in _WITH_CHARACTER or rest[0] in _OBJECTS:
        if len(rest) == 1:
            return None
        character = rest[1] if rest[0] in _WITH_CHARACTER else ""
        return Command(rest[0] if character else rest, operator, count, character)
    name = "gg" if rest == "gg" else rest[0]
    if name in MOTIONS or name == operator:
        return Command(name, operator, count)
    raise ValueError(f"no command begins with {keys!r}")


def _number(keys: str) -> tuple[int | None, str]:
    """The count at the start of `keys`, and the rest. A zero alone is a motion."""
    rest = keys.lstrip("0123456789") if keys[:1] in "123456789" else keys
    digits = keys[: len(keys) - len(rest)]
    return (min(int(digits), MOST) if digits else None), rest


MOST = 10_000
"""A larger count means this one."""
