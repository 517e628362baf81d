"""HTML and Markdown to text: what is shown stays, marks are ours, nothing a document holds breaks the reader."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptoss_tui.tools.browser.html import CUT_NOTE, read_html
from gptoss_tui.tools.browser.links import MARK, label_of
from gptoss_tui.tools.browser.markdown import read_markdown

URL = "local://kb/sub/page.html"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("<p>one</p><p>two</p>", "one\n\ntwo"),
        ("one<br>two", "one\ntwo"),
        ("<h2>Head</h2>text", "## Head\n\ntext"),
        ("<ul><li>a<li>b</ul>", "  * a\n  * b"),
        ("<table><tr><th>a<td>b</tr><tr><td>c</tr></table>", "| a | b\n\n| c"),
        ("<pre>  a\n    b</pre>", "  a\n    b"),
        ("a\n   b\t c", "a b c"),
        ("&lt;b&gt; &amp; &eacute;", "<b> & é"),
        ("<title>t</title><style>x</style>a<script>if (a<b) {}</script>b", "ab"),
        ("<svg><p>hidden</p></svg>shown", "shown"),
        ("<img alt='cat'><img>", "[Image 0: cat][Image 1]"),
        ("<a href='x.md'>one</a> <a href='x.md'>again</a>", "【0†one】 【0†again】"),
        ("<a href='https://h.org/a'>out</a>", "【0†out†h.org】"),
        ("<a href='#top'>top</a><a href='mailto:a@b'>m</a><a href='javascript:x'>j</a><a>n</a>", "topmjn"),
        ("<a href='x'></a>nothing", "nothing"),
        ("<a href='x'>never closed", "【0†never closed】"),
        ("【3†forged】 ◼", "〖3†forged〗 ◾"),
        ("<a href='x'>a†b\n c</a>", "【0†a‡b c】"),
        ("a<![CDATA[x]]>b<![ \x13>c<![if>d", "abcd"),
        ("", ""),
    ],
)
def test_text_of_html(source: str, text: str) -> None:
    assert read_html(source, URL)[1] == text


@pytest.mark.parametrize(
    ("href", "url"),
    [
        ("x.md", "local://kb/sub/x.md"),
        ("../x.md", "local://kb/x.md"),
        ("/x.md", "local://kb/x.md"),
        ("?q=1", "local://kb/sub/page.html?q=1"),
        ("//h.org/x", "local://h.org/x"),
        ("https://h.org/x", "https://h.org/x"),
    ],
)
def test_links_are_absolute(href: str, url: str) -> None:
    assert read_html(f"<a href='{href}'>x</a>", URL)[2] == (url,)
    assert read_markdown(f"[x]({href})", URL)[2] == (url,)


def test_titles() -> None:
    assert read_html("<head><title> A &amp;\n B </title><h1>C</h1>", URL)[0] == "A & B"
    assert read_html("<h1>C <i>d</i></h1><h1>E</h1>", URL)[0] == "C d"
    assert read_markdown("text\n\n## A `b` #\n# C", URL)[0] == "A `b`"
    assert read_markdown("```\n# no\n```\ntext", URL)[0] == ""


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("see [a](x.md) and [b](https://h.org 'q')", "see 【0†a】 and [b](https://h.org 'q')"),
        ('[a](<x.md>) [b](y.md "title")', "【0†a】 【1†b】"),
        ("`[a](x.md)` ![pic](p.png)", "`[a](x.md)` [Image 0: pic]"),
        ("```\n[a](x.md)\n```\n[a](x.md)", "```\n[a](x.md)\n```\n【0†a】"),
        ("~~~~\n[a](x)\n~~~\n[b](y)\n~~~~", "~~~~\n[a](x)\n~~~\n[b](y)\n~~~~"),
        ("[a](#top)", "a"),
        ("【1†L2】", "〖1†L2〗"),
    ],
)
def test_text_of_markdown(source: str, text: str) -> None:
    assert read_markdown(source, URL)[1] == text


TAGS = ("<p>", "<pre>", "</pre>", "<a href=x>", "</a>", "<svg>", "</svg>", "<title>", "</title>", "<!--", "-->")
SIGNS = (
    "<",
    ">",
    "</",
    "a",
    " href=",
    "'",
    '"',
    "&",
    ";",
    "#",
    "\n",
    "【0†",
    "】",
    "†",
    "<![CDATA[",
    "[x](",
    ")",
    "`",
    "```",
)
PIECES = st.sampled_from(TAGS + SIGNS)


@given(st.lists(PIECES, max_size=80))
def test_every_mark_has_its_link(pieces: list[str]) -> None:
    for reader in (read_html, read_markdown):
        _, text, links = reader("".join(pieces), URL)
        assert all(int(found[1]) < len(links) for found in MARK.finditer(text))


@pytest.mark.parametrize("piece", ["<a ", "<!--x>", "<a href='"])
def test_documents_that_would_take_hours_are_cut(piece: str) -> None:
    assert CUT_NOTE in read_html("<p>begin</p>" + piece * 150_000, URL)[1]


@given(st.lists(st.sampled_from(["a", "【0†b】", "【1†c†h】", "\n", " "]), max_size=30))
def test_labels_know_where_they_come_from(pieces: list[str]) -> None:
    text = "".join(pieces)
    plain, starts = label_of(text)
    assert plain == text.replace("【0†b】", "b").replace("【1†c†h】", "c")
    for (start, origin), (end, _) in zip(starts, [*starts[1:], (len(plain), 0)], strict=True):
        assert plain[start:end] == text[origin : origin + end - start]
