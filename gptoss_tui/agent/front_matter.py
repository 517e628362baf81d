"""The front matter of Markdown files: texts by key between two lines of `---`.

Of YAML this is what such files use: plain and quoted values, values that go on in indented lines, and the blocks `|`
and `>`. What is nested or a list is kept as its lines, which no caller asks for.
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
    """The values of a file by their keys in lower case, and the text behind them; none where the file has none."""
    content = content.replace("\r\n", "\n").removeprefix("\ufeff")
    match = _FRONT.match(content)
    if match is None:
        return {}, content
    return {key: _value(lines) for key, lines in _entries(match["front"])}, content[match.end() :]


def _entries(front: str) -> list[tuple[str, list[str]]]:
    """Each key with the lines of its value: what stands behind the colon, and indented lines below."""
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
