"""What begins with a `/`: a command, or the name of a saved prompt."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

NAME: Final = re.compile(r"[a-z][a-z0-9_-]*")
_CALL: Final = re.compile(r"/(?P<name>[^\s/]+)(?:\s+(?P<rest>.*))?\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Call:
    """What was typed: a name, and the text behind it."""

    name: str
    argument: str


def parse_call(text: str) -> Call | None:
    """The call that a message is; None for other messages: paths such as `/etc/hosts`, and text behind a space."""
    match = _CALL.match(text.rstrip())
    if match is None or not NAME.fullmatch(match["name"].lower()):
        return None
    return Call(match["name"].lower(), (match["rest"] or "").strip())
