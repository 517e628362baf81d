"""Removes a rule from a file that the user wrote, without changing any other byte of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final

from gptoss_tui.agent.policy.files import read_user_rules
from gptoss_tui.agent.whole_file import write_whole
from gptoss_tui.errors import PolicyError

_HEADER: Final = re.compile(r"\s*\[")
_RULE: Final = re.compile(r"\s*\[\[\s*rules\s*\]\]\s*(#.*)?\Z")
_NOTHING: Final = re.compile(r"\s*(#.*)?\Z")


def remove_user_rule(path: Path, rule_id: str) -> bool:
    """Remove the rules with that id from the user's file.

    Returns False, without changing the file, when it is not written as one `[[rules]]` table per rule. Raises
    PolicyError when the file cannot be read or written.
    """
    try:
        text = path.read_bytes().decode("utf-8")
        kept = _without(text, rule_id, str(path))
        if kept is not None:
            write_whole(path, kept)
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(f"{path}: {error}") from error
    return kept is not None


def _without(text: str, rule_id: str, place: str) -> str | None:
    """`text` without the tables of that rule, or None unless exactly the other rules are left."""
    rules = read_user_rules(text, place).rules
    lines = text.splitlines(keepends=True)
    blocks = list(_blocks(lines))
    if len(blocks) != len(rules):
        return None
    for rule, (start, stop) in reversed(list(zip(rules, blocks, strict=True))):
        if rule.id == rule_id:
            del lines[start:stop]
    left = "".join(lines)
    try:
        found = [rule.id for rule in read_user_rules(left, place).rules]
    except PolicyError:
        return None
    return left if found == [rule.id for rule in rules if rule.id != rule_id] else None


def _blocks(lines: list[str]) -> Iterator[tuple[int, int]]:
    """The first and end line of each `[[rules]]` table. Trailing comments and blank lines belong to what follows."""
    headers = [at for at, line in enumerate(lines) if _HEADER.match(line)]
    for start, following in pairwise([*headers, len(lines)]):
        if _RULE.match(lines[start].rstrip("\r\n")):
            stop = following
            while stop > start + 1 and _NOTHING.match(lines[stop - 1].rstrip("\r\n")):
                stop -= 1
            yield start, stop
