"""A tool call while the model writes it: the content of its JSON arguments, and the progress of a patch."""

from __future__ import annotations

from gptoss_tui.sanitize import to_terminal_line, to_terminal_text

_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_FILE_MARKS = ("*** Add File: ", "*** Update File: ", "*** Delete File: ")
_SEEN = 4000
"""How many characters at the end of a draft can be on screen."""


class Draft:
    """Reads arguments as they stream in, each character once. Anything but a JSON object is kept as it is.

    Strings are unescaped: `{"path": "a.py"}` becomes `path: a.py`. If the only argument is a patch or a command, its
    value is shown alone.
    """

    def __init__(self) -> None:
        self.text = ""
        self._mode = "start"  # start, plain, between, string, escape, hex
        self._hex = ""
        self._depth = 0

    def feed(self, text: str) -> None:
        """Read the next piece of the arguments."""
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
        """Read up to the next quote or escape. Returns where to continue."""
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
        """The last `count` lines, safe for a terminal."""
        return _safe(self._said()[-_SEEN:]).split("\n")[-count:]

    def whole(self) -> str:
        """The whole text, safe for a terminal."""
        return _safe(self._said())

    def progress(self) -> str:
        """For a patch: the current file and the numbers of lines so far; otherwise empty."""
        found = max((self.text.rfind(mark), mark) for mark in _FILE_MARKS)
        if found[0] < 0:
            return ""
        name = self.text[found[0] + len(found[1]) :].partition("\n")[0]
        return f"{to_terminal_line(name)}  +{self.text.count(chr(10) + '+')} -{self.text.count(chr(10) + '-')}"

    def _said(self) -> str:
        """The text, without the name of an argument that needs none because its text speaks for itself."""
        name, colon, value = self.text.partition(": ")
        alone = colon and name in ("patch", "input", "command", "code")
        return value if alone else self.text


def said(arguments: str) -> str:
    """The content of a call's arguments, without the JSON."""
    draft = Draft()
    draft.feed(arguments)
    return draft.whole()


def _safe(text: str) -> str:
    pairs = text.encode("utf-16", "surrogatepass")  # joins surrogate halves that came as two escapes
    return to_terminal_text(pairs.decode("utf-16", "replace"))


def _character(digits: str) -> str:
    try:
        return chr(int(digits, 16))
    except ValueError:
        return digits
