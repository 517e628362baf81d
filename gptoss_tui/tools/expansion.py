"""The words of a shell command, including words that the shell still expands: `rm *` removes every file, `rm '*'` one.

Whether a word expands depends on which characters were quoted, so an expanding word keeps its quoting: it never equals
a literal word, nor a word in which other characters are quoted. This module is pure, and light to import because rules
are read before there is any command.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Final

_PIECE: Final = re.compile(
    r"""'(?P<raw>[^']*)'|"(?P<string>(?:[^"\\$`]|\\.)*)"|\\(?P<escaped>[^\n])|(?P<bare>[^ \t\n'"\\$`;&|<>()])""",
    re.DOTALL,
)
_ESCAPED_IN_STRING: Final = re.compile(r'\\([$`"\\])')
_CAREFUL: Final = frozenset("[{~")
"""In a construct that starts with one of these, any quotes make a difference: `[a'-'z]`, `{1..'3'}`, `~'root'`."""
_CHOICES: Final = re.compile(r"[\[{].*[\]}]", re.DOTALL)
_PLAIN: Final = frozenset("/._-+@%=:,")
_KEY: Final = "expands"

_Characters = tuple[tuple[str, bool], ...]
"""Characters, each with whether it was quoted. Empty quotes count as an empty character: `~''` is no home folder."""


@dataclass(frozen=True, slots=True)
class Expands:
    """A word with an unquoted pattern, tilde or brace. `source` is its canonical spelling."""

    source: str

    @property
    def anchored(self) -> bool:
        """Whether every expansion starts with the word's first character, so that none is an option or operator."""
        char, _ = _characters(self.source)[0]
        return char.isalnum() or char in ("/", ".", "_")


Word = str | Expands
Words = tuple[Word, ...]


def read_word(source: str) -> Word:
    """Parse the bash word `source`. Raises ValueError when it is not a single word or contains substitutions."""
    found = _characters(source)
    return Expands(_written(found)) if _expands(found) else "".join(char for char, _ in found)


def plain(word: Word) -> str:
    """The text of a word with its quotes removed, whether or not it expands."""
    return word if isinstance(word, str) else "".join(char for char, _ in _characters(word.source))


def as_glob(word: Expands) -> str:
    """A pattern of `fnmatch` that matches each word that `word` may expand to, and perhaps others."""
    return _CHOICES.sub("*", plain(word))


def to_data(words: Iterable[Word]) -> list[str | dict[str, str]]:
    """Words for JSON and TOML: a string for a literal word, a table for one that expands."""
    return [word if isinstance(word, str) else {_KEY: word.source} for word in words]


def from_data(value: object) -> Word:
    """Read a word written by `to_data` or by a person. Raises ValueError."""
    if isinstance(value, str):
        return value
    if not isinstance(value, Mapping) or set(value) != {_KEY} or not isinstance(source := value[_KEY], str):
        raise ValueError(f"a word is a text or {{ {_KEY} = TEXT }}, got {value!r}")
    if isinstance(word := read_word(source), str):
        raise ValueError(f"the shell expands nothing in {source!r}: write it as a text")
    return word


def _characters(source: str) -> _Characters:
    """Split a word into characters. Raises ValueError if it is not a single word or contains substitutions."""
    found: list[tuple[str, bool]] = []
    at = 0
    while at < len(source):
        piece = _PIECE.match(source, at)
        if piece is None or (piece["string"] and "\\\n" in piece["string"]):
            raise ValueError(f"{source!r} is no word without substitutions")
        at = piece.end()
        if piece["bare"]:
            found.append((piece["bare"], False))
        else:
            text = piece["raw"] or piece["escaped"] or _ESCAPED_IN_STRING.sub(r"\1", piece["string"] or "")
            found += ((char, True) for char in text or [""])
    return tuple(found)


def _expands(found: _Characters) -> bool:
    """Whether bash may expand the word. Errs on the side of True."""
    bare = "".join("\0" if quoted else char for char, quoted in found)
    if set("*?[") & set(bare) or bare[:1] == "~":
        return True
    if any(after == "~" and before in (":", "=") for (before, _), after in zip(found, bare[1:], strict=False)):
        return True
    inside = bare.partition("{")[2]
    return "," in inside or any(pair == (".", ".") for pair in pairwise(inside))


def _written(found: _Characters) -> str:
    """The canonical spelling of a word: equal words are spelled alike, without quotes that make no difference."""
    if not any(char in _CAREFUL and not quoted for char, quoted in found):
        found = tuple((char, quoted and not (char.isalnum() or char in _PLAIN)) for char, quoted in found if char)
    runs = ((quoted, "".join(char for char, _ in run)) for quoted, run in groupby(found, key=lambda pair: pair[1]))
    return "".join(_quoted(run) if quoted else run for quoted, run in runs)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\"'\"'") + "'"
