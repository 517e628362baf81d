"""What to do about a limit that ended a turn of `exec`, which has no conversation to say something in."""

from __future__ import annotations

from typing import Final

from gptoss_tui.agent import hints

_INSTEAD: Final[dict[str, str]] = {
    hints.NO_TOKENS: "raise --max-tokens",
    hints.LOOP: "ask for something else",
    hints.TOO_MANY_CALLS: "raise --max-tool-calls",
    hints.SAME_CALL: "say what it should do instead",
    hints.SAME_RESULT: "say what it should do instead",
}


_KEY_OF_THE_APP: Final = "press F1"
"""nano was trained to say this about messages that it does not understand."""


def hint_about_nano(answer: str) -> str:
    """The hint below an answer of nano that names a key of the app; empty for other answers."""
    if _KEY_OF_THE_APP not in answer:
        return ""
    return "F1 is a key of the app; `gptoss-tui exec --help` is the help here, and --model chooses a larger model"


def hint_for_exec(hint: str, *, saved: bool, resumed: bool) -> str:
    """The hint in words of the command line; hints that fit are unchanged.

    `saved` says whether the conversation can be resumed, `resumed` whether it was.
    """
    if hint == hints.NO_ROOM:
        return "use a larger --context" + (", or start a new conversation, without --resume" if resumed else "")
    option = _INSTEAD.get(hint)
    if option is None:
        return hint
    return f"{option}, or let it go on: gptoss-tui exec --resume last continue" if saved else option
