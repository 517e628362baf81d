"""The definition of commands, and the table of all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gptoss_tui.agent.slash import parse_call as parse_call
from gptoss_tui.tui.blocks.base import sentence

if TYPE_CHECKING:
    from gptoss_tui.tui.slash.port import SlashPort

Group = Literal["Model", "Conversation", "Files", "Tools", "App", "Your prompts", "The project's prompts"]


@dataclass(frozen=True, slots=True)
class Value:
    """A possible value of an argument, and its meaning."""

    text: str
    help: str = ""


Values = Callable[["SlashPort"], Iterable[Value]]
Handler = Callable[["SlashPort", str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Argument:
    """The argument of a command: its form in help texts (`[level]`), and the values to complete."""

    form: str
    values: Values | None = None
    required: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """A command. `run` gets the stripped text after the name; `while_running` allows it during a turn.

    `help` is one short line without a full stop; `more` consists of whole sentences with details.
    """

    name: str
    help: str
    run: Handler
    group: Group
    argument: Argument | None = None
    aliases: tuple[str, ...] = ()
    while_running: bool = True
    more: str = ""

    @property
    def about(self) -> str:
        """`help` as a sentence."""
        return sentence(self.help)

    @property
    def usage(self) -> str:
        """The command with its argument: `/effort [level]`."""
        return f"/{self.name} {self.argument.form}" if self.argument else f"/{self.name}"


class Registry:
    """The commands by name. The first one of each name wins, so later ones cannot replace built-in commands."""

    def __init__(self, commands: Sequence[Command]) -> None:
        self._by_name: dict[str, Command] = {}
        self._all: list[Command] = []
        for command in commands:
            if command.name in self._by_name:
                continue
            self._all.append(command)
            for name in (command.name, *command.aliases):
                self._by_name.setdefault(name, command)

    def __iter__(self) -> Iterator[Command]:
        return iter(self._all)

    def find(self, name: str) -> Command | None:
        """The command with this name or alias, in any case."""
        return self._by_name.get(name.lower())
