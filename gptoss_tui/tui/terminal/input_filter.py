"""Filters out terminal input that is not keys: unexpected replies, and reports with invalid numbers.

Textual's parser types unknown sequences into the draft, swallows up to 32 characters after them, and crashes on numbers
that it cannot handle, so these are removed before it sees them. Pasted text is passed on untouched and bypasses the
parser, which would examine each character.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gptoss_tui.tui.terminal.graphics import ANSWER

MAX_HELD = 4096
"""Anything longer is not a reply."""
MAX_CELL = 65_535
MAX_PIXEL = 1_000_000

_PASTE_BEGIN, _PASTE_END = "\x1b[200~", "\x1b[201~"
_CSI = re.compile(r"\x1b\[([0-?]*)([ -/]*)([@-~])")
_STRING = re.compile(r"\x1b(?:\]\d+;|P[0-9>!$=|]|_G|\^)[^\x1b\x07]*(?:\x07|\x1b\\)")
"""Replies in the form of OSC, DCS, APC and PM strings, up to their terminators."""
_STRING_BEGIN = re.compile(
    r"\x1b(?:\](?:\d+(?:;[^\x1b\x07]*\x1b?)?)?|P(?:[0-9>!$=|][^\x1b\x07]*\x1b?)?|_(?:G[^\x1b\x07]*\x1b?)?|\^[^\x1b\x07]*\x1b?)\Z"
)
_CSI_BEGIN = re.compile(r"\x1b\[[0-?]*[ -/]*\Z")
_MOUSE_NAN = re.compile(r"\x1b\[<[0-9;.+-]*(?:NaN|Infinity|inf)[^Mm\x1b]*[Mm]")
_MOUSE_NAN_BEGIN = re.compile(r"\x1b\[<[0-9;.+-]*(?:N|I|i)[^Mm\x1b]{0,40}\Z")
_COLOUR = re.compile(r"\x1b\]11;(rgba?:[0-9a-fA-F/]+|#[0-9a-fA-F]+)")
_MODIFIED = re.compile(r"27;(\d{1,3});(\d{1,7})")
_SCHEME = re.compile(r"\?997;([12])")


@dataclass(frozen=True, slots=True)
class Reply:
    """A report from the terminal: its background colour, a change of its colour scheme, or its graphics."""

    background: str = ""
    scheme: str = ""
    graphics: str = ""


@dataclass(frozen=True, slots=True)
class Pasted:
    """A complete paste, as sent by the terminal."""

    text: str


Piece = str | Pasted
"""Input for the parser, or a paste."""


class InputFilter:
    """Filters the input; stateful, because a sequence may arrive in pieces."""

    def __init__(self) -> None:
        self._held = ""
        self._pasted: list[str] | None = None

    @property
    def holds(self) -> bool:
        """Whether the beginning of a sequence is waiting for its rest."""
        return bool(self._held) and self._pasted is None

    def feed(self, data: str) -> tuple[list[Piece], list[Reply]]:
        """Split `data` into pieces for the app, in order, and replies."""
        data, self._held = self._held + data, ""
        keep: list[Piece] = []
        replies: list[Reply] = []
        at = 0
        while at < len(data):
            if self._pasted is not None:
                at = self._paste(data, at, self._pasted, keep)
                continue
            escape = data.find("\x1b", at)
            if escape < 0:
                keep.append(data[at:])
                break
            keep.append(data[at:escape])
            taken = self._sequence(data, escape, keep, replies)
            if taken == 0:
                self._held = data[escape:]
                break
            at = escape + taken
        return _joined(keep), replies

    def flush(self) -> str:
        """Return the held input as typed keys, because nothing followed for a while."""
        if not self.holds:
            return ""
        held, self._held = self._held, ""
        return held

    def _paste(self, data: str, at: int, pasted: list[str], keep: list[Piece]) -> int:
        end = data.find(_PASTE_END, at)
        if end < 0:
            self._held = _begin_of(_PASTE_END, data[at:])
            pasted.append(data[at : len(data) - len(self._held)])
            return len(data)
        keep.append(Pasted("".join([*pasted, data[at:end]])))
        self._pasted = None
        return end + len(_PASTE_END)

    def _sequence(self, data: str, at: int, keep: list[Piece], replies: list[Reply]) -> int:
        """Handle the sequence at `at`. Returns how many characters were consumed; 0 if its rest has not arrived."""
        if data.startswith(_PASTE_BEGIN, at):
            self._pasted = []
            return len(_PASTE_BEGIN)
        if found := _STRING.match(data, at):
            if colour := _COLOUR.match(found[0]):
                replies.append(Reply(background=colour[1]))
            elif ANSWER.fullmatch(found[0]):
                replies.append(Reply(graphics=found[0]))
            return len(found[0])
        if found := _MOUSE_NAN.match(data, at):
            return len(found[0])
        if _MOUSE_NAN_BEGIN.match(data, at):
            return 0
        if found := _CSI.match(data, at):
            parameters, intermediates, final = found.groups()
            if final == "~" and (key := _MODIFIED.fullmatch(parameters)):
                parameters, final = f"{key[2]};{key[1]}", "u"  # xterm and tmux write the same key differently
            if scheme := _SCHEME.fullmatch(parameters):
                replies.append(Reply(scheme="dark" if scheme[1] == "1" else "light"))
            elif ANSWER.fullmatch(found[0]):
                replies.append(Reply(graphics=found[0]))
            elif _is_for_the_parser(parameters, intermediates, final):
                keep.append(f"\x1b[{parameters}{intermediates}{final}")
            return len(found[0])
        return 0 if self._may_go_on(data, at) else self._pass(data, at, keep)

    def _may_go_on(self, data: str, at: int) -> bool:
        if len(data) - at > MAX_HELD:
            return False
        return any(begin.match(data, at) for begin in (_STRING_BEGIN, _CSI_BEGIN))

    def _pass(self, data: str, at: int, keep: list[Piece]) -> int:
        keep.append(data[at])
        return 1


def _begin_of(mark: str, data: str) -> str:
    """The end of `data` that may be the beginning of `mark`."""
    lengths = range(min(len(mark) - 1, len(data)), 0, -1)
    return next((data[-length:] for length in lengths if mark.startswith(data[-length:])), "")


def _joined(pieces: list[Piece]) -> list[Piece]:
    """Merge adjacent text pieces, dropping empty ones."""
    joined: list[Piece] = []
    for piece in pieces:
        if not piece:
            continue
        last = joined[-1] if joined else None
        if isinstance(piece, str) and isinstance(last, str):
            joined[-1] = last + piece
        else:
            joined.append(piece)
    return joined


def _is_for_the_parser(parameters: str, intermediates: str, final: str) -> bool:
    """Whether a control sequence is a key, a mouse event or a mode report, with numbers that Textual can handle."""
    numbers = [int(text) for text in re.findall(r"\d{1,12}", parameters)]
    if parameters.startswith("<"):
        return final in "Mm" and len(numbers) == 3 and max(numbers) <= MAX_CELL and ":" not in parameters
    if parameters.startswith("?"):
        return intermediates == "$" and final == "y"
    if parameters.startswith((">", "=")) or final in "cnx":
        return False
    if final == "t":
        resize = parameters.startswith("48;") and len(numbers) == 5 and ":" not in parameters
        return resize and min(numbers) > 0 and max(numbers[:3]) <= MAX_CELL and max(numbers) <= MAX_PIXEL
    if final == "u":
        return all(number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF for number in numbers)
    return max(numbers, default=0) <= MAX_CELL
