"""Makes text from models, tools, files and web pages safe for a terminal, and marks it as data in prompts.

Each character is replaced on its own, without state, so an escape sequence that is split over streaming chunks cannot
slip through: ESC itself is replaced, not the sequence that it starts.
"""

from __future__ import annotations

import re

# Characters that terminals do not draw: they hide or reorder text, or carry data that only a machine reads.
_INVISIBLE: tuple[tuple[int, int], ...] = (
    (0x00AD, 0x00AD),  # soft hyphen
    (0x034F, 0x034F),  # combining grapheme joiner
    (0x061C, 0x061C),  # Arabic letter mark
    (0x115F, 0x1160),  # Hangul fillers
    (0x17B4, 0x17B5),  # Khmer inherent vowels
    (0x180B, 0x180F),  # Mongolian selectors
    (0x200B, 0x200B),  # zero width space
    (0x200E, 0x200F),  # direction marks
    (0x202A, 0x202E),  # direction embeddings and overrides
    (0x2060, 0x206F),  # word joiner, invisible operators, direction isolates
    (0x3164, 0x3164),  # Hangul filler
    (0xFE00, 0xFE0D),  # variation selectors; those of text and emoji style stay
    (0xFEFF, 0xFEFF),  # byte order mark
    (0xFFA0, 0xFFA0),  # halfwidth Hangul filler
    (0xFFF0, 0xFFFB),  # interlinear annotation
    (0x13430, 0x1343F),  # Egyptian hieroglyph joiners
    (0x1BCA0, 0x1BCA3),  # shorthand controls
    (0x1D173, 0x1D17A),  # musical controls
    (0xE0000, 0xE0FFF),  # tags, variation selectors supplement
    (0x10EEEE, 0x10EEEE),  # where terminals draw pictures
)
_RANGES = (
    *((0x00, 0x08), (0x0B, 0x1F), (0x7F, 0x9F)),  # controls, without tab and newline
    *((0x2028, 0x2029), (0xD800, 0xDFFF)),  # line separators, surrogates
    *_INVISIBLE,
)
_CLASS = "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in _RANGES)
_LINE_LIKE = re.compile("[\r\u2028\u2029]")
_UNSAFE = re.compile(f"(?P<line_end>\r(?=\n|\\Z))|[{_CLASS}]")


def _safe(match: re.Match[str]) -> str:
    """The replacement for one unsafe character."""
    code = ord(match[0])
    if match["line_end"]:
        return ""
    if code < 0x20:
        return chr(0x2400 + code)  # the control picture: ESC shows as ␛
    if code == 0x7F:
        return "\u2421"
    if code in (0x2028, 0x2029):
        return "\n"
    if code < 0xA0 or 0xD800 <= code <= 0xDFFF:
        return "\ufffd"
    return f"<U+{code:04X}>"


def to_terminal_text(text: str) -> str:
    """Replace everything in `text` that a terminal would act on or hide.

    Newline and tab are kept. Other C0 controls and DEL become their control pictures, C1 controls and lone surrogates
    become U+FFFD, and line separators become a newline. Bidirectional, tag and invisible characters, which make text
    look different from what it is, become their code point (`<U+202E>`). Joiners (U+200C, U+200D) and the text and
    emoji style selectors (U+FE0E, U+FE0F) are kept because scripts and emoji need them. A CR before a newline or at
    the end is removed; any other CR becomes `␍`.
    """
    return _UNSAFE.sub(_safe, text)


def to_terminal_line(text: str) -> str:
    """Like `to_terminal_text`, but on one line: newlines become `⏎` and tabs a space."""
    return to_terminal_text(text).replace("\n", "⏎").replace("\t", " ")


def to_terminal_source(text: str) -> str:
    """Like `to_terminal_text`, for source that the user approves: only a real newline looks like the end of a line.

    To a shell, U+2028 is an ordinary character, so the text after it must not look like a separate line.
    """
    return to_terminal_text(_LINE_LIKE.sub(lambda match: "␍" if match[0] == "\r" else "⏎", text))


def fenced(text: str) -> str:
    """Wrap `text` in a Markdown fence that its content cannot close, so that it reads as data whatever it says."""
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}text\n{text.rstrip()}\n{fence}"
