"""A call while the model writes it: what its JSON says, without the JSON, and how far a patch is."""

from __future__ import annotations

from gptoss_tui.sanitize import to_terminal_line, to_terminal_text

_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_FILE_MARKS = ("*** Add File: ", "*** Update File: ", "*** Delete File: ")
_SEEN = 4000
"""Characters at the end of a draft of which any can be on screen."""


class Draft:
    """Reads arguments as they come, each character once. What is no JSON object stays as it is.

    Values of strings are unescaped; `{"path": "a.py"}` reads `path: a.py`, and the one argument of a patch or a command
    is its value alone.
    """

    def __init__(self) -> None:
        self.text = ""
        self._mode = "start"  # start, plain, between, string, escape, hex
        self._hex = ""
        self._depth = 0

    def feed(self, text: str) -> None:
        """Read on."""
        if self._mode == "start":
            text = text.lstrip()
            if not text:
                return
            self._mode = "between" if text[0] == "{" else "plain"
        if self._mode == "plain":
            self.text += text
            return
        at = 0
        pieces: list[str] = []
        while at < len(text):
            at = self._string(text, at, pieces) if self._mode == "string" else self._one(text, at, pieces)
        self.text += "".join(pieces)

    def _string(self, text: str, at: int, pieces: list[str]) -> int:
        """What stands before the next quote or escape."""
        ends = [place for mark in '"\\' if (place := text.find(mark, at)) >= 0]
        end = min(ends, default=len(text))
        pieces.append(text[at:end])
        if end < len(text):
            self._mode = "between" if text[end] == '"' else "escape"
        return end + 1

    def _one(self, text: str, at: int, pieces: list[str]) -> int:
        char = text[at]
        if self._mode == "escape":
            self._mode = "hex" if char == "u" else "string"
            if char != "u":
                pieces.append(_ESCAPES.get(char, char))
        elif self._mode == "hex":
            self._hex += char
            if len(self._hex) == 4:
                pieces.append(_character(self._hex))
                self._hex, self._mode = "", "string"
        elif char == '"':
            self._mode = "string"
        elif char in "{}":
            self._depth += 1 if char == "{" else -1
        elif char == ",":
            pieces.append("\n" if self._depth == 1 else ", ")
        elif char == ":":
            pieces.append(": ")
        elif not char.isspace():
            pieces.append(char)
        return at + 1

    def last_lines(self, count: int) -> list[str]:
        """The last lines of what it says, safe for a terminal."""
        return _safe(self._said()[-_SEEN:]).split("\n")[-count:]

    def whole(self) -> str:
        """All that it says, safe for a terminal."""
        return _safe(self._said())

    def progress(self) -> str:
        """Of a patch: the file that it is at, and the lines so far; else empty."""
        found = max((self.text.rfind(mark), mark) for mark in _FILE_MARKS)
        if found[0] < 0:
            return ""
        name = self.text[found[0] + len(found[1]) :].partition("\n")[0]
        return f"{to_terminal_line(name)}  +{self.text.count(chr(10) + '+')} -{self.text.count(chr(10) + '-')}"

    def _said(self) -> str:
        """Without the name of an only argument that is a text of its own."""
        name, colon, value = self.text.partition(": ")
        alone = colon and name in ("patch", "input", "command", "code")
        return value if alone else self.text


def said(arguments: str) -> str:
    """What the arguments of a call say, without the JSON."""
    draft = Draft()
    draft.feed(arguments)
    return draft.whole()


def _safe(text: str) -> str:
    pairs = text.encode("utf-16", "surrogatepass")  # an escape a half: together they are one
    return to_terminal_text(pairs.decode("utf-16", "replace"))


def _character(digits: str) -> str:
    try:
        return chr(int(digits, 16))
    except ValueError:
        return digits
