"""Taking changes back in lines: a file that was changed since is asked about, and nothing of it is lost unasked."""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

from gptoss_tui.agent.commands import UndoOutcome
from gptoss_tui.sanitize import to_terminal_line
from gptoss_tui.undo.types import Choice, Conflict

Say = Callable[[str], None]
Ask = Callable[[str], Awaitable[str | None]]
"""Prompts and gives the line that is typed; None at the end of the input."""
Act = Callable[[dict[str, Choice]], Awaitable[UndoOutcome]]

DIFF_LINES: Final = 60
_WORDS: Final[dict[Choice, str]] = {
    "keep": "keep it as it is now",
    "restore": "put it back; what was changed since is lost",
    "merge": "write both into the file, with conflict marks",
}


async def settle(act: Act, say: Say, ask: Ask, done: str) -> None:
    """Act, ask about each file that somebody else changed, and act again until all is decided."""
    choices: dict[str, Choice] = {}
    while True:
        outcome = await act(choices)
        _tell(outcome, say, done)
        if not outcome.conflicts:
            return
        for conflict in outcome.conflicts:
            choice = await _choose(conflict, say, ask)
            if choice is None:
                say(to_terminal_line(f"Stopped. {conflict.path} is as it was."))
                return
            choices[conflict.path] = choice


def _tell(outcome: UndoOutcome, say: Say, done: str) -> None:
    for number in outcome.turns:
        say(f"Turn {number} is {done}.")
    for report in outcome.reports:
        if report.done:
            for word, paths in (("restored", report.restored), ("merged", report.merged), ("kept", report.kept)):
                for path in paths:
                    say(to_terminal_line(f"  {path}: {word}"))


async def _choose(conflict: Conflict, say: Say, ask: Ask) -> Choice | None:
    """What a person wants for one file; None when nothing is to be done."""
    say(to_terminal_line(f"{conflict.reason}. Answer with a number:"))
    offered = list(conflict.choices)
    for number, choice in enumerate(offered, start=1):
        say(f"  {number}. {_WORDS[choice]}")
    see, stop = len(offered) + 1, len(offered) + 2
    say(f"  {see}. see both")
    say(f"  {stop}. stop here")
    while True:
        line = await ask("Your answer: ")
        word = (line or "").strip()
        number = int(word) if word.isdecimal() and len(word) < 4 else 0
        if line is None or number == stop:
            return None
        if 0 < number <= len(offered):
            return offered[number - 1]
        if number == see:
            for row in _both(conflict):
                say(to_terminal_line(row))
        else:
            say("That is none of the answers. Nothing was changed.")


def _both(conflict: Conflict) -> Iterator[str]:
    """The file as it is now against what it would go back to."""
    rows = list(difflib.unified_diff(_rows(conflict.current), _rows(conflict.wanted), "now", "put back", lineterm=""))
    yield from (f"  {row}" for row in rows[:DIFF_LINES])
    if len(rows) > DIFF_LINES:
        yield f"  and {len(rows) - DIFF_LINES} more lines"
    if not rows:
        yield "  Only line ends or bytes that are no text differ."


def _rows(content: bytes | None) -> list[str]:
    text = (content or b"").decode("utf-8", "replace").removesuffix("\n")
    return [line.removesuffix("\r") for line in text.split("\n")] if content else []
