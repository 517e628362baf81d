"""Splits the bytes of a text file into lines, and joins them again without losing a byte.

Lines only end at `\\n`: form feeds, U+2028 and the like are ordinary characters. Each line keeps its own ending, and
the file its byte order mark, its encoding and its final newline or lack of one. Bytes that are not UTF-8 survive
unchanged.
"""

from __future__ import annotations

import codecs
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from gptoss_tui.errors import GptOssError
from gptoss_tui.patch.types import Edit

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_UNKNOWN = "unknown-8bit"


class NotTextError(GptOssError):
    """The bytes cannot be split into lines of text, or a text cannot be written in the file's encoding."""


@dataclass(frozen=True, slots=True)
class TextFile:
    """A decoded file. `endings[i]` is `\\n`, `\\r\\n` or, for the last line only, empty.

    `encoding` is `unknown-8bit` when the bytes are not UTF-8; each odd byte is then a lone surrogate in `lines`.
    """

    lines: tuple[str, ...]
    endings: tuple[str, ...]
    encoding: str = "utf-8"
    mark: bytes = b""

    @property
    def newline(self) -> str:
        """The most frequent line ending; `\\n` for a file without any."""
        counts = Counter(ending for ending in self.endings if ending)
        return max(counts, key=lambda ending: (counts[ending], ending == "\n")) if counts else "\n"

    @property
    def ends_in_newline(self) -> bool:
        """Whether the file ends in a newline. True for an empty file: text that is added to it ends in one."""
        return not self.endings or bool(self.endings[-1])


def decode(data: bytes, most: int | None = None) -> TextFile:
    """Split `data` into lines. Raises NotTextError for binary data, and for more than `most` lines."""
    mark, encoding = next(((mark, name) for mark, name in _MARKS if data.startswith(mark)), (b"", "utf-8"))
    body = data[len(mark) :]
    if encoding == "utf-8" and b"\0" in body:
        raise NotTextError("it is a binary file (it holds NUL bytes)")
    try:
        text = body.decode(encoding)
    except UnicodeDecodeError:
        if encoding != "utf-8":
            raise NotTextError(f"it starts like {encoding} but is not") from None
        text, encoding = body.decode("utf-8", "surrogateescape"), _UNKNOWN
    if most is not None and text.count("\n") >= most:
        raise NotTextError(f"it has more than {most} lines")
    pieces = text.split("\n")
    last = pieces.pop()
    lines = tuple(piece[:-1] if piece.endswith("\r") else piece for piece in pieces)
    endings = tuple("\r\n" if piece.endswith("\r") else "\n" for piece in pieces)
    if last:
        lines, endings = (*lines, last), (*endings, "")
    return TextFile(lines, endings, encoding, mark)


def encode_new(lines: Sequence[str]) -> bytes:
    """Encode a new file: UTF-8, with `\\n` after every line."""
    return "".join(f"{line}\n" for line in lines).encode()


def splice(text: TextFile, edits: Sequence[Edit]) -> bytes:
    """Apply `edits` (ascending, not overlapping) to `text` and return the resulting bytes.

    An added line gets the ending of the line that it replaces or follows. Raises NotTextError when an added line
    cannot be written in the file's encoding.
    """
    newline = text.newline
    out: list[tuple[str, str]] = []
    at = 0
    for edit in edits:
        out.extend(zip(text.lines[at : edit.start], text.endings[at : edit.start], strict=True))
        out.extend(zip(edit.lines, _added_endings(text, edit, newline), strict=True))
        at = edit.stop
    out.extend(zip(text.lines[at:], text.endings[at:], strict=True))
    if out:
        out[:-1] = [(line, ending or newline) for line, ending in out[:-1]]
        line, ending = out[-1]
        out[-1] = (line, (ending or newline) if text.ends_in_newline or not line else "")
    return text.mark + _encode("".join(line + ending for line, ending in out), text, edits)


def _added_endings(text: TextFile, edit: Edit, newline: str) -> list[str]:
    replaced = [ending or newline for ending in text.endings[edit.start : edit.stop]]
    before = text.endings[edit.start - 1] if edit.start else ""
    fill = replaced[-1] if replaced else (before or newline)
    return [replaced[i] if i < len(replaced) else fill for i in range(len(edit.lines))]


def _encode(content: str, text: TextFile, edits: Sequence[Edit]) -> bytes:
    if text.encoding != _UNKNOWN:
        return content.encode(text.encoding)
    if not all(line.isascii() for edit in edits for line in edit.lines):
        raise NotTextError("its encoding is not UTF-8, so only plain ASCII lines can be added to it")
    return content.encode("utf-8", "surrogateescape")
