"""Resolves citations in an answer such as `【3†L8-L9】` to their page and lines, in linear time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from gptoss_tui.tools.base import Citation

if TYPE_CHECKING:
    from gptoss_tui.tools.browser.page import Page

_MAX_MARK = 200
_MARK = re.compile(r"【(\d{1,9})†([^【】]{0,180})】")
_LINES = re.compile(r"L(\d{1,9})(?:\s*[-–]\s*L?(\d{1,9}))?")
_PARTIAL = re.compile(r"【\d{0,9}(?:†[^【】]*)?\Z")


def resolve_citations(text: str, pages: Mapping[int, Page]) -> list[Citation]:
    """Return the citations in `text` in order. `pages` are the pages that were shown, by cursor.

    Pages are numbered from 1 in the order of their first citation. A mark with an unknown cursor or lines has number 0
    and neither title nor URL.
    """
    numbers: dict[tuple[str, str], int] = {}
    return [_resolve(mark, pages, numbers) for mark in _MARK.finditer(text)]


def hold_back(text: str) -> tuple[str, str]:
    """Split streaming text into the part that can be shown and the beginning of an unfinished mark at its end.

    Prepend the second part to the text that comes next. Each character is looked at a bounded number of times.
    """
    start = text.rfind("【", max(0, len(text) - _MAX_MARK))
    if start < 0 or not _PARTIAL.match(text, start):
        return text, ""
    return text[:start], text[start:]


def _resolve(mark: re.Match[str], pages: Mapping[int, Page], numbers: dict[tuple[str, str], int]) -> Citation:
    lines = _LINES.match(mark[2])
    first = int(lines[1]) if lines else None
    last = int(lines[2]) if lines and lines[2] else first
    page = pages.get(int(mark[1]))
    if page is None or (first is not None and last is not None and not first <= last < len(page.lines)):
        return Citation(0, "", "", first, last, mark.span())
    number = numbers.setdefault((page.url, page.title), len(numbers) + 1)
    return Citation(number, page.title, page.url, first, last, mark.span(), int(mark[1]))
