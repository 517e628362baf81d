"""Terminal hyperlinks (OSC 8), with targets that cannot break out of the escape sequence."""

from __future__ import annotations

import re
from urllib.parse import quote

from rich.style import Style

MAX_TARGET = 2000
_WEB = re.compile(r"https?://[^\s/]")
# The characters that RFC 3986 allows in a URI. All others are percent-encoded, so that no target can end the sequence.
_URI = "!#$%&'()*+,/:=?@[]~-._"


def linked(style: Style, url: str) -> Style:
    """Return `style` as a link to `url` if that is a web page, else unchanged."""
    if not _WEB.match(url) or len(url) > MAX_TARGET:
        return style
    return style + Style(link=quote(url, safe=_URI, errors="replace"))
