"""Commands about the app: theme, keys, help and quitting."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from gptoss_tui.sanitize import to_terminal_line
from gptoss_tui.tui.screens.picker import Item, Picker, loaded
from gptoss_tui.tui.slash.registry import Argument, Command, Value

if TYPE_CHECKING:
    from gptoss_tui.tui.slash.port import SlashPort

SWITCH = ("on", "off")


async def _theme(port: SlashPort, argument: str) -> None:
    if not argument:
        used = port.theme
        items = [Item(name, name, "", "in use" if name == used else "") for name in port.themes]
        picked = await port.pick(
            Picker("Theme", loaded(items), what="use", selected=used, try_out=port.try_theme),
        )
        if picked is None:
            port.try_theme(used)
            return
        argument = picked.value
    if argument in port.themes:
        port.use_theme(argument)
    else:
        name = to_terminal_line(argument)
        port.say("warning", f"There is no theme {name!r}.", "/theme lists them.")


def _theme_values(port: SlashPort) -> Iterable[Value]:
    return [Value(name, "in use" if name == port.theme else "") for name in port.themes]


async def _vim(port: SlashPort, argument: str) -> None:
    if argument not in ("", *SWITCH):
        port.say("warning", f"/vim is on or off, not {to_terminal_line(argument)!r}.")
        return
    port.use_vim(not port.vim if not argument else argument == "on")
    port.flash("Vim keys are on; Esc goes to normal mode" if port.vim else "Vim keys are off")


def _vim_values(port: SlashPort) -> Iterable[Value]:
    return [Value(name, "now" if port.vim == (name == "on") else "") for name in SWITCH]


async def _keys(port: SlashPort, argument: str) -> None:
    port.show_keys()


async def _help(port: SlashPort, argument: str) -> None:
    name = argument.removeprefix("/")
    command = port.registry.find(name) if name else None
    if name and command is None:
        port.say("warning", f"There is no command /{name}.", "/help lists them.")
        return
    items = [
        Item(
            one.name,
            f"/{one.name}",
            one.about,
            "",
            _about(one),
            searched=f"{one.name} {' '.join(one.aliases)} {one.help}",
        )
        for one in port.registry
    ]
    selected = command.name if command else ""
    picked = await port.pick(Picker("Commands", loaded(items), what="write it", selected=selected, preview=True))
    if picked is not None:
        port.set_draft(f"/{picked.value} ")


def _about(command: Command) -> str:
    parts = [command.usage, f"{command.about}.", *([command.more] if command.more else [])]
    if command.aliases:
        parts.append("Also: " + ", ".join(f"/{alias}" for alias in command.aliases))
    if not command.while_running:
        parts.append("Not available while the model works.")
    return "\n\n".join(parts)


def _help_values(port: SlashPort) -> Iterable[Value]:
    return [Value(command.name, command.about) for command in port.registry]


async def _quit(port: SlashPort, argument: str) -> None:
    port.quit()


COMMANDS = (
    Command("theme", "choose the colours", _theme, "App", Argument("[name]", _theme_values)),
    Command("vim", "Vim keys in the composer, on or off", _vim, "App", Argument("[on/off]", _vim_values)),
    Command("keys", "all keys", _keys, "App"),
    Command("help", "all commands", _help, "App", Argument("[command]", _help_values)),
    Command("quit", "end the app", _quit, "App", aliases=("exit",), more="The conversation and the draft are kept."),
)
