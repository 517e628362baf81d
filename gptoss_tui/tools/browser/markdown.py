"""Turns Markdown into a page: the text as it is, with links as marks."""

from __future__ import annotations

import re

from gptoss_tui.tools.browser.links import LinkCollector, plain

# Code is matched first, so that links inside it stay as they are.
_FENCE = re.compile(r"^ {0,3}(```+|~~~+)")
_INLINE = re.compile(
    r"(?P<code>`+)[^`\n]{1,500}(?P=code)"
    r"|!\[(?P<image>[^\]\n]{0,300})\]\([^()\s]{1,1000}(?:\s+\"[^\"\n]{0,200}\")?\)"
    r"|\[(?P<label>[^\[\]\n]{1,300})\]\(<?(?P<href>[^()\s<>]{1,1000})>?(?:\s+\"[^\"\n]{0,200}\")?\)"
)
_MAX_LINE = 20_000
"""A longer line is not prose; its links are left as they are."""

_HEADING = re.compile(r"^ {0,3}#{1,6}\s+(.*?)\s*#*$")


def read_markdown(source: str, url: str) -> tuple[str, str, tuple[str, ...]]:
    """Return the title (the first heading), text and links of a document."""
    links = LinkCollector(url)
    title, fence = "", ""
    lines = []
    images = 0

    def replace(found: re.Match[str]) -> str:
        nonlocal images
        if found["label"] is not None:
            return links.add(found["href"], found["label"])
        if found["image"] is not None:
            images += 1
            return f"[Image {images - 1}: {found['image']}]"
        return found[0]

    for line in plain(source).split("\n"):
        opened = _FENCE.match(line)
        if fence:
            fence = "" if opened and line.strip() == opened[1] and opened[1].startswith(fence) else fence
        elif opened:
            fence = opened[1]
        else:
            if not title and (heading := _HEADING.match(line)):
                title = heading[1]
            if len(line) <= _MAX_LINE:
                line = _INLINE.sub(replace, line)
        lines.append(line)
    return title, "\n".join(lines).strip("\n"), links.urls
