"""Turns HTML into the text of a page: readable headings, lists and tables, links as marks, no invisible content."""

from __future__ import annotations

import re
import time
from html.parser import HTMLParser

from gptoss_tui.tools.browser.links import LinkCollector, plain

_HIDDEN = {"title", "script", "style", "noscript", "template", "svg", "math", "iframe", "object"}
_CONTAINERS = {"address", "article", "aside", "blockquote", "details", "div", "fieldset", "figure", "footer", "form"}
_BLOCKS = _CONTAINERS | {"dd", "dl", "dt", "figcaption", "header", "hr", "main", "nav", "ol", "p", "pre", "section"}
_BLOCKS |= {"summary", "table", "tr", "ul"}
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BLANK_LINES = re.compile(r"\n{3,}")
_SPACES = re.compile(r"[^\S\n]+")
_MAX_OPEN_HIDDEN = 1000
_SECONDS = 2.0

CUT_NOTE = "[The rest of the document takes too long to read.]"


def read_html(source: str, url: str) -> tuple[str, str, tuple[str, ...]]:
    """Return the title, text and links of a document. Never fails: HTML has no errors.

    The parser rescans the rest of the text for each unclosed tag, so a malicious document could take hours. What cannot
    be read within 2 seconds is left out, and the text says so.
    """
    reader = _Reader(url)
    note = ""
    try:
        reader.feed(source)
        reader.close()
    except TimeoutError:
        note = f"\n\n{CUT_NOTE}"
    return reader.title(), reader.text() + note, reader.links.urls


class _Reader(HTMLParser):
    def __init__(self, url: str) -> None:
        super().__init__(convert_charrefs=True)
        self.links = LinkCollector(url)
        self._pieces: list[str] = []
        self._title: list[str] = []
        self._first_heading: list[str] = []
        self._hidden: list[str] = []
        self._in_title = False
        self._heading = ""
        self._pre = 0
        self._images = 0
        self._href: str | None = None
        self._label: list[str] = []
        self._deadline = time.monotonic() + _SECONDS

    def title(self) -> str:
        """The contents of <title>, else the first heading."""
        return " ".join("".join(self._title or self._first_heading).split())

    def text(self) -> str:
        """The text so far, with at most one blank line between blocks."""
        self._end_link()
        lines = "".join(self._pieces).split("\n")
        return _BLANK_LINES.sub("\n\n", "\n".join(line.rstrip() for line in lines)).strip("\n")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._check_time()
        if tag == "title":
            self._in_title = not self._title
        if tag in _HIDDEN and len(self._hidden) < _MAX_OPEN_HIDDEN:
            self._hidden.append(tag)
        if self._hidden:
            return
        values = dict(attrs)
        if tag == "a":
            self._end_link()
            self._href = values.get("href")
        elif tag == "img":
            label = plain(values.get("alt") or values.get("title") or "")
            self._put(f"[Image {self._images}: {label}]" if label else f"[Image {self._images}]")
            self._images += 1
        elif tag == "br":
            self._put("\n")
        elif tag in _HEADINGS:
            self._block(f"{'#' * _HEADINGS[tag]} ")
            self._heading = "" if self._first_heading else tag
        elif tag == "li":
            self._line("  * ")
        elif tag in ("td", "th"):
            self._put("| " if self._pieces and self._pieces[-1].endswith(" ") else " | ")
        elif tag in _BLOCKS:
            self._pre += tag == "pre"
            self._block()

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag in _HIDDEN:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False
        if tag in self._hidden:
            while self._hidden.pop() != tag:
                pass
            return
        if self._hidden:
            return
        if tag == "a":
            self._end_link()
        elif tag in _HEADINGS:
            self._heading = ""
            self._block()
        elif tag in _BLOCKS:
            self._pre -= tag == "pre" and self._pre > 0
            self._block()

    def handle_data(self, data: str) -> None:
        self._check_time()
        if self._in_title:
            self._title.append(plain(data))
        if self._hidden:
            return
        text = plain(data)
        if not self._pre:
            text = _SPACES.sub(" ", text.replace("\n", " "))
        if self._heading:
            self._first_heading.append(text)
        self._put(text)

    def parse_marked_section(self, i: int, report: bool = True) -> int:
        """Treat `<![` as the start of a comment, as HTML does; the base class parses SGML and may raise an error."""
        return self.parse_bogus_comment(i)

    def _check_time(self) -> None:
        if time.monotonic() > self._deadline:
            raise TimeoutError

    def _put(self, text: str) -> None:
        if self._href is not None:
            self._label.append(text)
        elif text != " " or not self._at_line_start():
            self._pieces.append(text.lstrip(" ") if self._at_line_start() and not self._pre else text)

    def _at_line_start(self) -> bool:
        return not self._pieces or self._pieces[-1].endswith("\n")

    def _line(self, text: str = "") -> None:
        self._end_link()
        if not self._at_line_start():
            self._pieces.append("\n")
        if text:
            self._pieces.append(text)

    def _block(self, text: str = "") -> None:
        self._line()
        self._pieces += ["\n", text] if text else ["\n"]

    def _end_link(self) -> None:
        href, self._href = self._href, None
        if href is not None:
            label, self._label = "".join(self._label), []
            self._put(self.links.add(href, " ".join(label.split())))
