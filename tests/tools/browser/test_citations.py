"""Citations: marks to pages and lines, whole and as they stream."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptoss_tui.tools.base import Citation
from gptoss_tui.tools.browser.backend import Document
from gptoss_tui.tools.browser.citations import hold_back, resolve_citations
from gptoss_tui.tools.browser.page import document_page
from gptoss_tui.tools.browser.tool import Browser
from tests.tools.browser.conftest import Call

PAGES = {
    0: document_page(Document("local://d/a", "A", "one\ntwo\nthree")),
    1: document_page(Document("local://d/b", "B", "one")),
    5: document_page(Document("local://d/a", "A", "one\ntwo\nthree")),
}


def test_marks_resolve_to_numbers_pages_and_lines() -> None:
    text = "See 【1†L2】, 【0†L2-L3】 and 【5†L4】."
    assert resolve_citations(text, PAGES) == [
        Citation(1, "B", "local://d/b", 2, 2, (4, 10), 1),
        Citation(2, "A", "local://d/a", 2, 3, (12, 21), 0),
        Citation(2, "A", "local://d/a", 4, 4, (26, 32), 5),
    ]
    assert text[12:21] == "【0†L2-L3】"


@pytest.mark.parametrize(
    ("mark", "number", "first", "last"),
    [
        ("【0†L2-3】", 1, 2, 3),
        ("【0†L2–L3】", 1, 2, 3),
        ("【0†source】", 1, None, None),
        ("【0†】", 1, None, None),
        ("【0†L4-L2】", 0, 4, 2),
        ("【0†L5】", 0, 5, 5),
        ("【7†L1】", 0, 1, 1),
        ("【000000001†L2】", 1, 2, 2),
    ],
)
def test_kinds_of_marks(mark: str, number: int, first: int | None, last: int | None) -> None:
    (found,) = resolve_citations(f"x {mark} y", PAGES)
    assert (found.number, found.first_line, found.last_line, found.span) == (number, first, last, (2, 2 + len(mark)))
    assert bool(found.url) == bool(number)


@pytest.mark.parametrize("text", ["", "【】", "【x†L1】", "【1】", "[1†L1]", "【1†L1", "1†L1】", "【99999999999†L1】"])
def test_what_is_no_mark(text: str) -> None:
    assert resolve_citations(text, PAGES) == []


@given(
    st.lists(st.sampled_from(["【", "】", "†", "0", "1", "L", "-", "x ", "【0†L2】", "【9†L1】", "\n"]), max_size=60)
)
def test_streaming_shows_every_mark_whole(pieces: list[str]) -> None:
    text = "".join(pieces)
    shown: list[str] = []
    held = ""
    for piece in pieces:
        ready, held = hold_back(held + piece)
        shown.append(ready)
    shown.append(held)
    assert "".join(shown) == text
    parts = [resolve_citations(part, PAGES) for part in shown]
    assert sum(map(len, parts)) == len(resolve_citations(text, PAGES))


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("a 【", "【"),
        ("a 【1", "【1"),
        ("a 【1†L", "【1†L"),
        ("a 【1†L1】", ""),
        ("a 【b", ""),
        ("", ""),
        ("【1†" + "x" * 300, ""),
    ],
)
def test_what_is_held_back(text: str, held: str) -> None:
    assert hold_back(text) == (text[: len(text) - len(held)], held)


def test_looks_at_each_character_a_bounded_number_of_times() -> None:
    """Quadratic work on this much text would not end within the test's time limit."""
    hostile = "【1†" * 200_000 + "【" * 200_000 + "【0†L2】" * 50_000
    assert len(resolve_citations(hostile, PAGES)) == 50_000
    held = ""
    for start in range(0, len(hostile), 7):
        _, held = hold_back(held + hostile[start : start + 7])
        assert len(held) <= 200


@settings(max_examples=1000)
@given(st.integers(0, 9), st.integers(0, 12), st.integers(0, 12), st.sampled_from(["【{}†L{}-L{}】", "【{}†L{}–{}】"]))
def test_a_citation_points_at_lines_that_were_shown_or_at_nothing(
    cursor: int, first: int, last: int, form: str
) -> None:
    (found,) = resolve_citations(form.format(cursor, first, last), PAGES)
    shown = cursor in PAGES and first <= last < len(PAGES[cursor].lines)
    assert (found.number > 0) is shown
    if shown:
        page = PAGES[cursor]
        assert (found.url, found.cursor, found.first_line, found.last_line) == (page.url, cursor, first, last)
        assert page.lines[first : last + 1]


async def test_the_browser_cites_what_it_showed(browser: Browser, call: Call) -> None:
    await call("search", query="lantern")
    await call("open", id=0)
    (found,) = browser.cite("It costs 89 euros 【1†L6】.")
    assert (found.number, found.title, found.url) == (1, "Lantern 4", "local://kb/lamp.md")
    browser.reset()
    assert browser.cite("【1†L7】")[0].number == 0
