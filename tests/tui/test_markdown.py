"""Markdown as rows: every block kind, and a stream that ends as the whole would have begun."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptoss_tui.tui.markdown import MarkdownView, render_markdown, split_markdown
from gptoss_tui.tui.theme import DARK, Palette

PALETTE = Palette.from_variables(DARK.to_color_system().generate(), dark=True)
DOCUMENT = """\
# Title

Some *prose* with **bold**, `code` and [a link](https://example.org/x).

- one
- two
  - nested

1. first

   more of the first
2. second

> quoted

```python
def f():
    return 1
```

| a | b |
|---|---|
| 1 | two |

---
The end, with <b>tags</b> and [red]brackets[/red].
"""


def plain(source: str, width: int = 60) -> list[str]:
    return [strip.text.rstrip() for strip in render_markdown(source, width, PALETTE)]


@pytest.mark.parametrize(
    ("source", "rows"),
    [
        ("# Title", ["Title"]),
        ("a\nb", ["a b"]),
        ("a\\\nb", ["a", "b"]),
        ("- one\n- two", ["• one", "• two"]),
        ("- one\n\n- two", ["• one", "", "• two"]),
        ("- one\n  - in", ["• one", "  ◦ in"]),
        ("9. nine\n10. ten", [" 9. nine", "10. ten"]),
        ("> said", ["▎ said"]),
        ("```py\nx = 1\n```", [" py", " x = 1"]),
        ("    indented", [" indented"]),
        ("| a | bb |\n|---|---|\n| 1 | 2 |", ["a │ bb", "──┼───", "1 │ 2"]),
        ("[label](https://example.org)", ["label (https://example.org)"]),
        ("<https://example.org>", ["https://example.org"]),
        ("![alt](x.png)", ["[alt]"]),
        ("<b>bold</b> [red]x[/red]", ["<b>bold</b> [red]x[/red]"]),
        ("", []),
    ],
)
def test_blocks(source: str, rows: list[str]) -> None:
    assert plain(source) == rows


def test_rows_are_as_wide_as_asked_and_words_wrap() -> None:
    strips = render_markdown(DOCUMENT, 30, PALETTE)
    assert {strip.cell_length for strip in strips} == {30}
    assert plain("word " * 20, 14) == ["word word word"[:14]] * 6 + ["word word"]


def test_long_code_lines_fold_and_lose_nothing() -> None:
    code = "".join(chr(ord("a") + i % 26) for i in range(100))
    rows = plain(f"```\n{code}\n```", 22)
    assert "".join(row[1:] for row in rows) == code


def test_wide_characters_keep_rows_at_their_width() -> None:
    strips = render_markdown("漢字" * 30 + "\n\n```\n" + "漢字" * 30 + "\n```", 21, PALETTE)
    assert {strip.cell_length for strip in strips} == {21}


@pytest.mark.parametrize("chunk", [1, 3, 17])
def test_a_stream_ends_as_the_whole(chunk: int) -> None:
    view = MarkdownView()
    live = []
    for end in range(chunk, len(DOCUMENT) + chunk, chunk):
        live = view.render(DOCUMENT[:end], 60, PALETTE, live=True)
    assert [strip.text for strip in live] == [strip.text for strip in render_markdown(DOCUMENT, 60, PALETTE)]


def test_rows_of_finished_blocks_are_not_drawn_again() -> None:
    view = MarkdownView(margin=2)
    first = view.render("one\n\ntwo\n\nthree\nfo", 40, PALETTE, live=True)
    second = view.render("one\n\ntwo\n\nthree\nfour", 40, PALETTE, live=True)
    assert all(old is new for old, new in zip(first[:3], second[:3], strict=True))
    assert second[0].text.startswith("  one")


def test_a_line_that_still_grows_ends_nothing() -> None:
    view = MarkdownView()
    view.render("- an item\n#", 40, PALETTE, live=True)
    grown = view.render("- an item\n#hashtag", 40, PALETTE, live=True)
    assert [row.text.rstrip() for row in grown] == ["• an item #hashtag"]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from(["# head", "prose **bold**", "- item", "  more", "", "```py", "code", "```", "| a |", "|---|"]),
        max_size=30,
    ),
    st.integers(1, 40),
)
def test_an_answer_in_pieces_looks_like_the_whole(source: list[str], size: int) -> None:
    text = "\n".join(source)
    pieces = split_markdown(text, size)
    assert "".join(pieces) == text
    whole = [row.text.rstrip() for row in render_markdown(text, 40, PALETTE)]
    apart: list[str] = []
    for piece in pieces:
        rows = [row.text.rstrip() for row in render_markdown(piece, 40, PALETTE)]
        apart += ["", *rows] if apart and rows else rows
    assert apart == whole


def test_an_open_fence_draws_its_complete_lines_once() -> None:
    view = MarkdownView()
    first = view.render("```py\na = 1\nb = 2\nc", 40, PALETTE, live=True)
    second = view.render("```py\na = 1\nb = 2\nc = 3", 40, PALETTE, live=True)
    assert first[1] is second[1]
    assert first[2] is second[2]
    assert second[3].text.rstrip() == " c = 3"


def test_another_width_starts_over() -> None:
    view = MarkdownView()
    view.render("one two three\n\nfour", 40, PALETTE, live=True)
    assert [s.text.rstrip() for s in view.render("one two three\n\nfour", 8, PALETTE, live=True)] == [
        "one two",
        "three",
        "",
        "four",
    ]


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="ab `*_[]()<>#-+|\n1.>~!\\\t:", max_size=120), st.integers(8, 50))
def test_anything_can_be_drawn_and_streamed(source: str, width: int) -> None:
    view = MarkdownView()
    for end in range(len(source) + 1):
        assert all(strip.cell_length <= width for strip in view.render(source[:end], width, PALETTE, live=True))
    assert view.render(source, width, PALETTE, live=False) is not None


@pytest.mark.parametrize(
    "source", ["a &#x202e;b", "**a &#x202e;b**", "| a &#x202e;b |\n|---|\n", "<http://a/%E2%80%AEb>"]
)
def test_entities_are_decoded_behind_no_border(source: str) -> None:
    text = "".join(strip.text for strip in render_markdown(source, 40, PALETTE))
    assert "<U+202E>b" in text
    assert "\u202e" not in text


def test_an_entity_starts_no_row() -> None:
    assert [strip.text.rstrip() for strip in render_markdown("a&NewLine;&#13;b", 40, PALETTE)] == ["a⏎␍b"]
