"""Pages as the model sees them: a header with the cursor, numbered lines of 80 columns, and a window of 1024 tokens."""

from __future__ import annotations

import bisect
import itertools
import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, unquote

from gptoss_tui.errors import ToolError
from gptoss_tui.tools.browser.backend import Document, SearchResult
from gptoss_tui.tools.browser.links import label_of, mark, plain

WIDTH = 80
VIEW_TOKENS = 1024
MAX_MATCHES = 50
MAX_PATTERN_WORDS = 50
_MATCH_LINES = 4
_MAX_SHOWN_URL = 1024

_MAX_LINES = 1_000_000
_HEAD = re.compile(r"\[(\d{1,9})\] ([^\n]*?)(?: \(([^\n]*)\))?\n\*\*viewing lines \[\d+ - \d+\] of (\d{1,9})\*\*\n\n")
_SHOWN_LINE = re.compile(r"^L(\d{1,9}): ([^\n]*)$", re.MULTILINE)

PageKind = Literal["document", "results", "matches"]


@dataclass(frozen=True, slots=True)
class Target:
    """Where a link leads: to a URL, or to a line of an earlier page."""

    url: str = ""
    page: Page | None = None
    line: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """The page behind one cursor; it never changes. `lines` are wrapped; `targets` are indexed by link number.

    `whole` is False for a page from a saved conversation, of which only the lines shown to the model are known.
    """

    kind: PageKind
    title: str
    url: str
    text: str
    lines: tuple[str, ...]
    targets: tuple[Target, ...]
    whole: bool = True


def document_page(document: Document, *, source: bool = False) -> Page:
    """Make the page of a document, or of its source."""
    title = plain(document.title)
    if source:
        return _page("document", f"Source of {title}", document.url, plain(document.source), ())
    text = f"\nURL: {document.url}\n{document.text}"
    return _page("document", title, document.url, text, tuple(Target(url) for url in document.links))


def results_page(query: str, results: Sequence[SearchResult]) -> Page:
    """Make the page of search results."""
    lines = ["", "URL: ", "# Search Results", ""]
    lines += [
        f"  * {mark(number, plain(found.title), found.url, '')} {plain(label_of(found.summary)[0])}"
        for number, found in enumerate(results)
    ]
    if not results:
        lines.append("Nothing was found.")
    return _page("results", plain(query), "", "\n".join(lines), tuple(Target(found.url) for found in results))


def matches_page(page: Page, pattern: str) -> Page:
    """Make the page of the matches of `pattern` in a page, with the lines after each. Ignores case and line breaks."""
    chunks: list[str] = []
    targets: list[Target] = []
    resume = 0
    for line in find_lines(page, pattern):
        if line < resume or len(chunks) == MAX_MATCHES:
            continue
        resume = line + _MATCH_LINES
        labels = (label_of(text)[0] for text in page.lines[line:resume])
        chunks.append("\n".join((f"# 【{len(chunks)}†match at L{line}】", *labels)))
        targets.append(Target(page=page, line=line - _MATCH_LINES if line > _MATCH_LINES else line))
    text = "\n\n".join(chunks) or f"No `find` results for pattern: `{plain(pattern)}`"
    title = f"Find results for text: `{plain(pattern)}` in `{page.title}`"
    return _page("matches", title, f"{page.url}/find?pattern={quote(pattern)}", text, tuple(targets))


def find_lines(page: Page, pattern: str) -> list[int]:
    """The numbers of the lines on which matches of `pattern` begin, ascending and without duplicates."""
    words = pattern.split()
    if not words:
        return []
    text, origins = label_of(page.text)
    begins = [start for start, _ in origins]
    line_starts = list(itertools.accumulate(_line_lengths(page), initial=0))
    found = []
    for match in re.finditer(r"\s+".join(map(re.escape, words)), text, re.IGNORECASE):
        start, origin = origins[bisect.bisect_right(begins, match.start()) - 1]
        found.append(bisect.bisect_right(line_starts, origin + match.start() - start) - 1)
    return sorted(set(found))


def view(page: Page, cursor: int, first: int, num_lines: int, count_tokens: Callable[[str], int]) -> str:
    """Render a page from line `first` on: `num_lines` lines, or about 1024 tokens if that is not positive.

    Raises ToolError when there is no such line.
    """
    last_line = len(page.lines) - 1
    if first > last_line:
        raise ToolError(f"Invalid location parameter: `{first}`. Cannot exceed page maximum of {last_line}.")
    shown: list[str] = []
    tokens = 0
    for number in range(first, len(page.lines)):
        if len(shown) >= num_lines if num_lines > 0 else tokens >= VIEW_TOKENS:
            break
        line = f"L{number}: {page.lines[number]}"
        tokens += count_tokens(f"{line}\n") if num_lines <= 0 else 0
        shown.append(line)
    url = unquote(page.url)
    if len(url) > _MAX_SHOWN_URL:
        url = f"{url[: _MAX_SHOWN_URL - 3]}..."
    head = f"[{cursor}] {page.title}" + (f" ({plain(url)})" if url else "")
    body = "\n".join(shown)
    return f"{head}\n**viewing lines [{first} - {first + len(shown) - 1}] of {last_line}**\n\n{body}"


def shown_page(reply: str) -> tuple[int, Page] | None:
    """Parse the cursor and the shown part of the page from an earlier reply; None if the reply shows no page."""
    head = _HEAD.match(reply)
    if head is None or not int(head[4]) < _MAX_LINES:
        return None
    lines = [""] * (int(head[4]) + 1)
    for found in _SHOWN_LINE.finditer(reply, head.end()):
        if int(found[1]) < len(lines):
            lines[int(found[1])] = found[2]
    kind: PageKind = "document" if head[3] else "results"
    return int(head[1]), Page(kind, head[2], head[3] or "", "\n".join(lines), tuple(lines), (), whole=False)


def _page(kind: PageKind, title: str, url: str, text: str, targets: tuple[Target, ...]) -> Page:
    text = text.expandtabs()
    lines = [wrapped for line in text.split("\n") for wrapped in _wrap(line)]
    return Page(kind, " ".join(title.split()), url, text, tuple(lines), targets)


def _wrap(line: str) -> list[str]:
    if len(line) <= WIDTH:
        return [line]
    return textwrap.wrap(line, WIDTH, replace_whitespace=False, drop_whitespace=False)


def _line_lengths(page: Page) -> list[int]:
    """The number of characters of the page's text that each line takes, including its line break."""
    lengths = []
    at = 0
    for line in page.lines:
        length = len(line)
        if page.text[at + length : at + length + 1] == "\n":
            length += 1
        lengths.append(length)
        at += length
    return lengths
