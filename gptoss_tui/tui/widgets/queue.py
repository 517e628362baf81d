"""Typed messages that were not read yet, above the composer: those that steer the running turn, and queued ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text
from textual import events
from textual.message import Message
from textual.widget import Widget

from gptoss_tui.sanitize import to_terminal_line
from gptoss_tui.tui import lines

if TYPE_CHECKING:
    from gptoss_tui.tui.theme import Palette

SHOWN = 4


@dataclass(frozen=True, slots=True)
class Waiting:
    """Messages not read yet: `steering` ones are read before the next step, `queued` ones run after this turn."""

    steering: tuple[str, ...] = ()
    queued: tuple[str, ...] = ()


class QueueView(Widget):
    """One row per message, hidden when there is none. Clicking a queued message takes it back for editing."""

    DEFAULT_CSS = """
    QueueView { height: auto; display: none; margin: 0 0 0 2; }
    QueueView.-active { display: block; }
    """

    class Taken(Message):
        """A queued prompt was clicked."""

        def __init__(self, index: int) -> None:
            super().__init__()
            self.index = index

    def __init__(self, palette: Palette, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.palette = palette
        self.waiting = Waiting()

    def show(self, waiting: Waiting) -> None:
        """Show other messages."""
        changed_height = self._rows_of(waiting) != self._rows_of(self.waiting)
        self.waiting = waiting
        self.set_class(self._rows_of(waiting) > 0, "-active")
        self.refresh(layout=changed_height)

    def render(self) -> Text:
        width = max(1, self.app.size.width - 4)
        rows = [self._row("steering", text, "read before the next step", width) for text in self.waiting.steering]
        rows += [self._row("queued", text, "click or Up edits", width) for text in self.waiting.queued]
        if len(rows) > SHOWN:
            rows[SHOWN - 1 :] = [lines.text(f"and {len(rows) - SHOWN + 1} more", self.palette.faint)]
        return Text("\n", end="").join(rows)

    def on_click(self, event: events.Click) -> None:
        """Take back a queued prompt."""
        index = event.y - len(self.waiting.steering)
        if 0 <= index < len(self.waiting.queued) and event.y < SHOWN:
            event.stop()
            self.post_message(self.Taken(index))

    def _rows_of(self, waiting: Waiting) -> int:
        return min(SHOWN, len(waiting.steering) + len(waiting.queued))

    def _row(self, what: str, text: str, how: str, width: int) -> Text:
        head = lines.text(f"{what:<9}", self.palette.accent)
        tail = lines.text(f"  {how}", self.palette.faint)
        middle = lines.text(to_terminal_line(text), self.palette.muted)
        room = width - head.cell_len - tail.cell_len
        if room < 16:
            tail, room = Text(""), width - head.cell_len
        middle.truncate(max(1, room), overflow="ellipsis")
        return Text.assemble(head, middle, tail, end="")
