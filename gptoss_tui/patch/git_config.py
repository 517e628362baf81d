"""Parses git's configuration files as git does: sections, values over several lines, quotes and comments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_SECTION: Final = re.compile(r"\[[ \t]*([\w.-]+)(?:[ \t]+\"((?:[^\"\\\n]|\\.)*)\")?[ \t]*\]")
_KEY: Final = re.compile(r"([A-Za-z][\w-]*)[ \t]*(=)?[ \t]*")
_VALUE: Final = re.compile(r"(?:[^\\\"\n;#]|\\(?:\r?\n|.)|\"(?:[^\\\"\n]|\\(?:\r?\n|.))*\"?)*")
_PIECE: Final = re.compile(r"\\(\r?\n|.)|\"", re.DOTALL)
_ESCAPED: Final = {"n": "\n", "t": "\t", "b": "\b"}
_BLANK: Final = re.compile(r"\s+|[;#][^\n]*")
_LINE: Final = re.compile(r"[^\n]*")


def entries(text: str) -> Iterator[tuple[str, str]]:
    """Yield each key with its section in lower case (`core.hookspath`, `diff.word.textconv`), and its value.

    A subsection keeps its case. Lines that git would reject are skipped.
    """
    section, at, text = "", 0, text.removeprefix("\ufeff")
    while at < len(text):
        if found := _BLANK.match(text, at):
            at = found.end()
        elif found := _SECTION.match(text, at):
            section = found[1].lower() + ("" if found[2] is None else f".{found[2]}")
            at = found.end()
        elif found := _KEY.match(text, at):
            value = _VALUE.match(text, found.end()) if found[2] else None
            yield f"{section}.{found[1].lower()}", "" if value is None else _plain(value[0])
            at = found.end() if value is None else value.end()
        else:
            skipped = _LINE.match(text, at)
            at = max(at + 1, skipped.end() if skipped else 0)


def _plain(value: str) -> str:
    """Remove quotes and escapes. Outer blanks are stripped even inside quotes, where they practically never occur."""
    return _PIECE.sub(lambda piece: _ESCAPED.get(piece[1], piece[1].strip("\r\n")) if piece[1] else "", value).strip()
