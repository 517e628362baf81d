"""The command palette: all commands and key actions in one searchable list."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from textual.binding import Binding

if TYPE_CHECKING:
    from gptoss_tui.tui.controllers.commands import CommandController
    from gptoss_tui.tui.keymap import Keymap

_LEFT_OUT = ("chat.palette", "chat.interrupt", "chat.copy", "chat.quit")
"""Bindings whose action makes no sense from a list."""


async def open_palette(
    commands: CommandController,
    keymap: Keymap,
    bindings: Sequence[Binding],
    run_action: Callable[[str], Awaitable[object]],
) -> None:
    """Let the user choose an action and run it; a command that needs an argument goes into the draft."""
    from gptoss_tui.tui.screens.picker import Item, Picker, loaded

    items = [
        Item(f"/{one.name}", one.usage, one.about, one.group, searched=f"{one.name} {' '.join(one.aliases)} {one.help}")
        for one in commands.registry
    ]
    items += [
        Item(binding.action, binding.description, "", keymap.label(binding))
        for binding in bindings
        if binding.id and binding.id not in _LEFT_OUT
    ]
    picked = await commands.pick(Picker("Commands and keys", loaded(items), what="run", keep_order=False))
    if picked is None:
        return
    if not picked.value.startswith("/"):
        await run_action(picked.value)
        return
    command = commands.registry.find(picked.value[1:])
    if command is not None and command.argument is not None and command.argument.required:
        commands.set_draft(f"{picked.value} ")
    else:
        await commands.run(picked.value[1:], "")
