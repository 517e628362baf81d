"""Saved prompts in lines: the person's own are sent, a project's text is read out before its first use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gptoss_tui.agent.saved_prompts import find_prompt, note_shown, was_shown
from gptoss_tui.agent.slash import parse_call


def saved_message(line: str, workspace: Path, say: Callable[[str], None]) -> str | None:
    """The message that a line like `/review src` sends; None when there is no such prompt.

    Empty when the text was new to the person, and has only been shown.
    """
    call = parse_call(line)
    prompt = find_prompt(call.name, workspace) if call is not None else None
    if call is None or prompt is None:
        return None
    if was_shown(prompt, workspace):
        return prompt.fill(call.argument)
    say(f"/{prompt.name} is the project's: {prompt.place}. It says:")
    for row in prompt.text.split("\n"):
        say(f"  {row}")
    say("Nothing was sent. Type it again to send it.")
    note_shown(prompt, workspace)
    return ""
