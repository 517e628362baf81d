"""Saved prompts as commands: the user's own are sent at once, the project's are shown before their first use."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gptoss_tui.tui.slash.registry import Argument, Command, Group

if TYPE_CHECKING:
    from gptoss_tui.agent.saved_prompts import Prompt
    from gptoss_tui.tui.slash.port import SlashPort


OWN: Final[Group] = "Your prompts"
PROJECTS: Final[Group] = "The project's prompts"
SAVED: Final = (OWN, PROJECTS)
"""The groups of commands that are read from files, which may change at any time."""


def prompt_commands(prompts: Iterable[Prompt]) -> list[Command]:
    """Convert each prompt to a command that sends it."""
    return [_command(prompt) for prompt in prompts]


def _command(prompt: Prompt) -> Command:
    async def run(port: SlashPort, argument: str) -> None:
        how = await _ask(port, prompt)
        if how == "send":
            port.send(prompt.fill(argument))
        elif how == "draft":
            port.set_draft(prompt.fill(argument))

    argument = Argument(prompt.takes) if prompt.takes else None
    return Command(prompt.name, prompt.about, run, PROJECTS if prompt.place else OWN, argument)


async def _ask(port: SlashPort, prompt: Prompt) -> str:
    """Returns `send`, `draft`, or an empty string for neither. Asks unless the user has seen this text before."""
    from gptoss_tui.agent.saved_prompts import note_shown, was_shown
    from gptoss_tui.tui.screens.picker import Item, Picker, loaded

    workspace = Path(port.workspace)
    if was_shown(prompt, workspace):
        return "send"
    items = [
        Item("send", "Send it", "and do not ask again while it stays as it is", preview=prompt.text),
        Item("draft", "Change it first", "it comes into the composer", preview=prompt.text),
    ]
    title = f"/{prompt.name} is the project's: {prompt.place}"
    picked = await port.pick(Picker(title, loaded(items), what="choose", preview=True))
    if picked is not None and picked.value == "send":
        note_shown(prompt, workspace)
    return picked.value if picked is not None else ""
