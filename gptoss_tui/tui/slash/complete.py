"""What the composer offers after a `/`: first the names of commands, then values for their argument."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gptoss_tui.sanitize import to_terminal_line
from gptoss_tui.tui.composing.fuzzy import match
from gptoss_tui.tui.widgets.choices import Choice

if TYPE_CHECKING:
    from gptoss_tui.tui.slash.port import SlashPort
    from gptoss_tui.tui.slash.registry import Command, Registry

MAX_VALUES = 200


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A row of the list, and the draft that results from taking it. `complete` if that can be run as it is."""

    choice: Choice
    text: str
    complete: bool


def suggest(text: str, registry: Registry, port: SlashPort) -> list[Suggestion]:
    """Suggestions to replace `text`, which is one line that begins with `/`."""
    name, space, rest = text[1:].partition(" ")
    if not space:
        return _names(name, registry)
    command = registry.find(name)
    if command is None or command.argument is None or command.argument.values is None:
        return []
    return _values(command, name, rest.strip(), port)


def _names(typed: str, registry: Registry) -> list[Suggestion]:
    found = []
    for number, command in enumerate(registry):
        best = max(
            (one for name in (command.name, *command.aliases) if (one := match(typed, name)) is not None),
            key=lambda one: (one.text.startswith(typed.lower()), one.text == command.name, one.score),
            default=None,
        )
        if best is None:
            continue
        label = f"/{best.text}"
        places = tuple(place + 1 for place in best.positions)
        form = f" {command.argument.form}" if command.argument else ""
        row = Choice(label + form, command.about, "", places)
        needs = command.argument is not None and command.argument.required
        suggestion = Suggestion(row, label + (" " if command.argument else ""), complete=not needs)
        found.append((*_fit(best.text, typed.lower()), -best.score if typed else 0, number, suggestion))
    found.sort(key=lambda one: one[:4])
    return [one[4] for one in found]


def _fit(text: str, typed: str) -> tuple[bool, bool]:
    """A sort key: exact matches first, then completions, then the rest, so that Enter takes what was typed."""
    return text != typed, not text.startswith(typed)


def _values(command: Command, name: str, typed: str, port: SlashPort) -> list[Suggestion]:
    assert command.argument is not None
    assert command.argument.values is not None
    found = []
    for number, value in enumerate(command.argument.values(port)):
        if number >= MAX_VALUES:
            break
        shown = to_terminal_line(value.text)
        best = match(typed, shown)
        if best is not None:
            row = Choice(shown, to_terminal_line(value.help), "", best.positions)
            order = (*_fit(shown, typed), -best.score if typed else 0, number)
            found.append((order, Suggestion(row, f"/{name} {shown}", complete=True)))
    found.sort(key=lambda one: one[0])
    return [one[1] for one in found]
