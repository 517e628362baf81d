"""Links that a terminal can open (OSC 8), with targets that carry nothing but themselves."""

from __future__ import annotations

import re
from urllib.parse import quote

from rich.style import Style

MAX_TARGET = 2000
_WEB = re.compile(r"https?://[^\s/]")
# What RFC 3986 lets stand in a URI. The rest is written in percent codes, so that no target can end the sequence.
_URI = "!#$%&'()*+,/:=?@[]~-._"


def linked(style: Style, url: str) -> Style:
    """`style` as a link to `url` when that is a page on the web, else as it was."""
    if not _WEB.match(url) or len(url) > MAX_TARGET:
        return style
    return style + Style(link=quote(url, safe=_URI, errors="replace"))
