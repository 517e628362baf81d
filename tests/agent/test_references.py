"""Marks of an answer to numbered references, whole and as they stream."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptoss_tui.agent.references import (
    before_first_mark,
    gives_page,
    pieces,
    references,
    replace_marks,
    without_partial_mark,
)
from gptoss_tui.tools.base import Citation
from gptoss_tui.tools.browser.backend import Document
from gptoss_tui.tools.browser.citations import resolve_citations
from gptoss_tui.tools.browser.page import document_page

PAGES = {
    0: document_page(Document("local://d/keys.md", "Keys", "one\ntwo\nthree")),
    1: document_page(Document("local://d/tools.md", "Tools", "one")),
}
TEXT = "Up 【1†L2】, down 【0†L2-L3】【0†L4】 and 【0†L4】, left 【7†L1】, any 【1†】."


def test_pages_are_numbered_and_listed_with_their_lines() -> None:
    found = references(TEXT, resolve_citations(TEXT, PAGES))
    assert replace_marks(TEXT, found.labels) == "Up [1], down [2][2] and [2], left 【7†L1】[?], any [1]."
    assert found.entries == (
        ("[1]", "Tools (local://d/tools.md) L2"),
        ("[2]", "Keys (local://d/keys.md) L2-L3, L4"),
        ("[?]", "points at nothing that the model was shown"),
    )


def test_what_pages_are_called_is_safe_for_a_terminal() -> None:
    text = "a 【0†x\x1b】 b"
    found = references(text, [Citation(1, "T\x1b]0;t\x07\n[2] x", "local://d/\u202ea", None, None, (2, 8))])
    assert found.labels == {"【0†x␛】": "[1]"}
    assert found.entries == (("[1]", "T␛]0;t␇⏎[2] x (local://d/<U+202E>a)"),)


@pytest.mark.parametrize(
    ("title", "url", "description"),
    [("", "local://d/a", "(local://d/a) L1-L2"), ("T", "", "T L1-L2"), ("", "", "a page without a title L1-L2")],
)
def test_pages_without_a_title_or_an_address(title: str, url: str, description: str) -> None:
    found = references("【1†L1-L2】", [Citation(1, title, url, 1, 2, (0, 9))])
    assert found.entries == (("[1]", description),)


def test_an_answer_without_marks_is_what_it_was() -> None:
    found = references("【a】 [1]", [])
    assert found.entries == ()
    assert replace_marks("【a】 [1]", found.labels) == "【a】 [1]"


@given(st.lists(st.sampled_from(["【", "】", "†", "0", "L2", "x ", "【0†L2】", "【9†L1】", "\n"]), max_size=40))
def test_a_stream_shows_no_part_of_a_mark(parts: list[str]) -> None:
    text = "".join(parts)
    labels = references(text, resolve_citations(text, PAGES)).labels
    spans = [citation.span for citation in resolve_citations(text, PAGES)]
    for end in range(len(text) + 1):
        shown = without_partial_mark(text[:end])
        assert text.startswith(shown)
        assert not any(start < len(shown) < stop for start, stop in spans)
        assert len(before_first_mark(text[:end])) <= min((start for start, _ in spans), default=end)
    assert "".join(piece for piece, _ in pieces(text, {})) == text
    assert sum(is_label for _, is_label in pieces(text, labels)) == len(spans)


def test_streaming_goes_on_behind_a_bracket_that_is_no_mark() -> None:
    assert before_first_mark("a 【12") == "a "
    assert before_first_mark("a 【12x 【b】") == "a 【12x 【b】"
    assert before_first_mark("a 【b】【1†L") == "a 【b】"


def test_only_the_browser_gives_pages() -> None:
    assert [gives_page(tool) for tool in ("browser.open", "browser.search", "read_file", "python")] == [
        True,
        True,
        False,
        False,
    ]
