"""The help screen: all keys, read from the bindings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from gptoss_tui.tui.bindings import HELP_KEYS
from gptoss_tui.tui.keys import KeyGroup, KeyRow, key_groups
from gptoss_tui.tui.vim import TABLE


class HelpScreen(ModalScreen[None]):
    """A list of keys over the conversation; any of its keys closes it. `changed` holds the user's own keys.

    With `vim`, the composer's Vim keys are at the top.
    """

    CSS_PATH = "../styles/help.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*HELP_KEYS]

    def __init__(self, changed: Mapping[str, str] | None = None, *, vim: bool = False) -> None:
        super().__init__()
        self._changed = changed
        self._vim = vim

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="help"):
            groups = key_groups(self._changed)
            if self._vim:
                groups.insert(0, KeyGroup("Vim keys", tuple(KeyRow(keys, what, "") for keys, what in TABLE)))
            width = max(len(row.keys) for group in groups for row in group.rows)
            width = min(width, (self.app.size.width - 10) // 3 + 6)
            for group in groups:
                yield Static(group.title, classes="help-title", markup=False)
                yield Static(_table(group, width), markup=False)

    def on_mount(self) -> None:
        """Focus the list, so that keys scroll it."""
        self.query_one("#help", VerticalScroll).border_title = "Keys"
        self.query_one("#help").focus()


def _table(group: KeyGroup, width: int) -> Table:
    """A table in which descriptions wrap beside their keys and not below them."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=width, style="bold")
    table.add_column(ratio=1)
    for row in group.rows:
        table.add_row(Text(row.keys), Text(row.description))
    return table
