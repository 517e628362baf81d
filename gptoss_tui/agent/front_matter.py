"""The front matter of Markdown files: keys and texts between two lines of `---`.

Supports the part of YAML that such files use: plain and quoted values, values continued on indented lines, and the
block styles `|` and `>`. Nested values and lists are kept as plain text, which no caller uses.
"""

from __future__ import annotations

import re
from typing import Final

_FRONT: Final = re.compile(r"\A---[ \t]*\n(?P<front>.*?)^---[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_KEY: Final = re.compile(r"(?P<key>[A-Za-z][\w-]*)[ \t]*:(?:[ \t]+(?P<value>.*)|[ \t]*)\Z")
_BLOCK: Final = re.compile(r"[|>][-+0-9]*(?:\s+#.*)?\Z")
_COMMENT: Final = re.compile(r"\s#.*\Z")
_ESCAPES: Final = {"n": "\n", "t": "\t"}


def split_front_matter(content: str) -> tuple[dict[str, str], str]:
    """Split a file into its front matter, as values by lower-case key (empty without front matter), and its text."""
    content = content.replace("\r\n", "\n").removeprefix("\ufeff")
    match = _FRONT.match(content)
    if match is None:
        return {}, content
    return {key: _value(lines) for key, lines in _entries(match["front"])}, content[match.end() :]


def _entries(front: str) -> list[tuple[str, list[str]]]:
    """Each key with the lines of its value: the text after the colon, and the indented lines below it."""
    entries: list[tuple[str, list[str]]] = []
    for line in front.split("\n"):
        if match := _KEY.match(line):
            entries.append((match["key"].lower(), [match["value"] or ""]))
        elif entries and (not line.strip() or line[0] in " \t"):
            entries[-1][1].append(line)
    return entries


def _value(lines: list[str]) -> str:
    first, rest = lines[0].strip(), [line.strip() for line in lines[1:]]
    if _BLOCK.match(first):
        return ("\n" if first[0] == "|" else " ").join(rest).strip()
    text = " ".join(part for part in (first, *rest) if part)
    if len(text) > 1 and text[0] == text[-1] == '"':
        return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), text[1:-1])
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1].replace("''", "'")
    return _COMMENT.sub("", text)
