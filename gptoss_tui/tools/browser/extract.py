"""Turns what a server sent into a document: the text of HTML or PDF, or plain text and Markdown as they are.

This runs in a separate process (`extract_worker`), because the libraries used here parse untrusted data.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from gptoss_tui.errors import ToolError
from gptoss_tui.tools.browser.backend import Document
from gptoss_tui.tools.browser.charset import decode
from gptoss_tui.tools.browser.html import read_html
from gptoss_tui.tools.browser.links import plain
from gptoss_tui.tools.browser.markdown import read_markdown
from gptoss_tui.tools.browser.pdf import read_pdf

MAX_TEXT = 1 << 20
"""The most characters of a document; the rest is left out, and the text says so."""

CUT_NOTE = "[The rest of the document is too long to be shown.]"

_MARKDOWN = (".md", ".markdown", ".mdx")
_TEXTS = re.compile(
    r"text/.*|(application|image)/(.*\+)?(json|xml|yaml|x-yaml|toml|javascript|ecmascript|x-sh|sql|x-tex|x-ndjson|graphql)"
)
_UNKNOWN = ("", "application/octet-stream", "binary/octet-stream", "unknown/unknown")
_LOOKS_LIKE_HTML = re.compile(rb"\s{0,200}(<!--.{0,2000}?-->\s{0,200})?<(!doctype html|html|head|body)\b", re.I | re.S)
_LONG_LINE = re.compile(r"[^\n]{4000}(?=[^\n])")

_MAIN_AT_LEAST = 400
_MAIN_SHARE = 0.25


def read_document(data: bytes, content_type: str, charset: str, url: str) -> Iterator[Document]:
    """Yield the document, perhaps twice: first a quick and reliable version, then a better one.

    Raises ToolError for what is not a document.
    """
    kind = _kind(data, content_type, url)
    if kind == "pdf":
        title, text = read_pdf(data)
        yield _bounded(Document(url, title or _name(url), plain(text)))
        return
    source = decode(data, charset)[: MAX_TEXT * 4].replace("\r\n", "\n").replace("\r", "\n")
    if kind == "html":
        title, text, links = read_html(source, url)
        whole = Document(url, title or _name(url), text, links, source)
        yield _bounded(whole)
        if (main := _main_part(whole)) is not None:
            yield _bounded(main)
    elif kind == "markdown":
        title, text, links = read_markdown(source, url)
        yield _bounded(Document(url, title or _name(url), text, links, source))
    else:
        yield _bounded(Document(url, _name(url), plain(source), (), source))


def _kind(data: bytes, content_type: str, url: str) -> str:
    """`html`, `markdown`, `text` or `pdf`. Raises ToolError for anything else."""
    if data.startswith(b"%PDF-"):
        return "pdf"
    unknown = content_type in _UNKNOWN
    if content_type in ("text/html", "application/xhtml+xml") or (unknown and _LOOKS_LIKE_HTML.match(data)):
        return "html"
    binary = b"\0" in data[:8192] and not data.startswith((b"\xff\xfe", b"\xfe\xff"))
    if binary or not (unknown or _TEXTS.fullmatch(content_type)):
        what = f" ({content_type})" if content_type else ""
        raise ToolError(
            f"Error fetching URL `{url}`: it is no text{what}; HTML, PDF, Markdown and plain text are read."
        )
    named = urlsplit(url).path.lower().endswith(_MARKDOWN)
    return "markdown" if content_type == "text/markdown" or named else "text"


def _main_part(whole: Document) -> Document | None:
    """The document reduced to its main text, or None if that leaves too little, as for an index page or an app."""
    import trafilatura

    found = trafilatura.extract(
        whole.source,
        url=whole.url,
        output_format="html",
        include_links=True,
        include_images=True,
        include_formatting=True,
        favor_recall=True,
    )
    if not found:
        return None
    _, text, links = read_html(found, whole.url)
    if len(text) < max(_MAIN_AT_LEAST, len(whole.text) * _MAIN_SHARE):
        return None
    return replace(whole, text=text, links=links)


def _bounded(document: Document) -> Document:
    """Cut `document` to `MAX_TEXT`, and break lines so long that wrapping them would be slow."""
    text, source = (_LONG_LINE.sub(r"\g<0>\n", part[:MAX_TEXT]) for part in (document.text, document.source))
    if len(document.text) > MAX_TEXT:
        text += f"\n\n{CUT_NOTE}"
    if len(document.source) > MAX_TEXT:
        source += f"\n\n{CUT_NOTE}"
    return replace(document, title=document.title[:300], text=text, source=source)


def _name(url: str) -> str:
    parts = urlsplit(url)
    return PurePosixPath(unquote(parts.path)).name or parts.netloc
