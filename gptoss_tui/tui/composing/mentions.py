r"""File mentions in a prompt: `@src/app.py`, or `@"a name with spaces"` with escapes for what cannot be typed.

A mention must start where a word could begin. Inside quotes, `\\` and `\"` stand for `\` and `"`, and characters that a
terminal would interpret or hide are written like `\u{1b}`; so every path has a spelling that can be shown and read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gptoss_tui.sanitize import to_terminal_line

_PLAIN = re.compile(r"[^\s\"\\@][^\s\"\\]*")
_MENTION = re.compile(r"(?<![^\s(\[{'\"`,;])@(?:\"(?P<quoted>(?:[^\"\\\n]|\\.)*)\"|(?P<plain>[^\s\"\\@][^\s\"\\]*))")
_OPEN = re.compile(r"(?<![^\s(\[{'\"`,;])@(?P<text>\"(?:[^\"\\\n]|\\.)*|[^\s\"\\@]*)\Z")
_ESCAPE = re.compile(r"\\(?:u\{([0-9a-fA-F]{1,6})\}|(.))", re.DOTALL)
_TRAILING = ".,;:!?)]}'`"


@dataclass(frozen=True, slots=True)
class Mention:
    """A mentioned path and its position: `start` is at the `@`, `end` is after the last character."""

    path: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class OpenMention:
    """A mention that is being typed: the text after the `@`, which is at `start`."""

    query: str
    start: int


def spell(path: str) -> str:
    """Spell the mention of `path`, with the `@`: terminal-safe, on one line, and readable by `find_mentions`."""
    if _PLAIN.fullmatch(path) and path[-1] not in _TRAILING and to_terminal_line(path) == path:
        return f"@{path}"
    return '@"' + "".join(_spelled(char) for char in path) + '"'


def find_mentions(text: str) -> list[Mention]:
    """The mentions in a prompt, in order. Punctuation after an unquoted mention is not part of it."""
    found = []
    for match in _MENTION.finditer(text):
        if match["quoted"] is not None:
            found.append(Mention(_unescaped(match["quoted"]), *match.span()))
            continue
        path = match["plain"].rstrip(_TRAILING)
        if path:
            found.append(Mention(path, match.start(), match.start() + 1 + len(path)))
    return found


def open_mention(before_cursor: str) -> OpenMention | None:
    """The mention that ends at the cursor, given the line up to the cursor; None when there is none."""
    match = _OPEN.search(before_cursor)
    if match is None:
        return None
    text = match["text"]
    return OpenMention(_unescaped(text[1:]) if text.startswith('"') else text, match.start())


def shown_path(path: str) -> str:
    """A path for display on one line, with characters that a terminal would interpret or hide escaped."""
    return "".join(_shown(char) for char in path)


def _spelled(char: str) -> str:
    return f"\\{char}" if char in '"\\' else _shown(char)


def _shown(char: str) -> str:
    return char if to_terminal_line(char) == char else f"\\u{{{ord(char):x}}}"


def _unescaped(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[2]
        code = int(match[1], 16)
        return chr(code) if code <= 0x10FFFF else match[0]

    return _ESCAPE.sub(one, text)
