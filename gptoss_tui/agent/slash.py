"""Messages that begin with a `/`: commands and saved prompts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

NAME: Final = re.compile(r"[a-z][a-z0-9_-]*")
_CALL: Final = re.compile(r"/(?P<name>[^\s/]+)(?:\s+(?P<rest>.*))?\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Call:
    """A typed call: a name, and the text after it."""

    name: str
    argument: str


def parse_call(text: str) -> Call | None:
    """Parse a message as a call. Returns None for other messages: paths such as `/etc/hosts`, or text after a space."""
    match = _CALL.match(text.rstrip())
    if match is None or not NAME.fullmatch(match["name"].lower()):
        return None
    return Call(match["name"].lower(), (match["rest"] or "").strip())
