"""Text from models, tools, files and pages, made safe for a terminal.

Stateless per character, so a sequence split over streaming chunks cannot slip through: ESC itself is replaced, not
the sequence that it starts.
"""

from __future__ import annotations

_KEPT = {0x09, 0x0A}
_BIDI = {0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)}
_TAGS = range(0xE0000, 0xE0080)
_INVISIBLE = {0x00AD, 0x180E, 0x200B, 0x2060, 0x2061, 0x2062, 0x2063, 0x2064, 0xFEFF}


def _table() -> dict[int, str]:
    table: dict[int, str] = {}
    for code in range(0x20):
        if code not in _KEPT:
            table[code] = chr(0x2400 + code)  # the control picture: ESC shows as ␛
    table[0x0D] = ""  # CRLF text shows as its lines; a lone CR must not move the cursor
    table[0x7F] = "\u2421"
    for code in range(0x80, 0xA0):
        table[code] = "\ufffd"
    for code in (*_BIDI, *_TAGS, *_INVISIBLE):
        table[code] = f"<U+{code:04X}>"
    for code in (0x2028, 0x2029):
        table[code] = "\n"
    for code in range(0xD800, 0xE000):
        table[code] = "\ufffd"
    return table


_TABLE = _table()


def to_terminal_text(text: str) -> str:
    """`text` with nothing left that a terminal would act on or hide.

    Newline and tab stay. Other C0 controls and DEL become their visible pictures, C1 controls and lone surrogates
    U+FFFD, and bidirectional, tag and invisible characters their code point (`<U+202E>`), since they make text read
    other than it is. Joiners (U+200C, U+200D) and variation selectors stay: scripts and emoji need them.
    """
    return text.translate(_TABLE)


def to_terminal_line(text: str) -> str:
    """As `to_terminal_text`, on one line: newlines become `⏎`, tabs a space."""
    return to_terminal_text(text).replace("\n", "⏎").replace("\t", " ")
