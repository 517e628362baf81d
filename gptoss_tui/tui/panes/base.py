"""What all panes share: a title with a number, and a list of items with a cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from gptoss_tui.tui import lines
from gptoss_tui.tui.blocks.base import Block
from gptoss_tui.tui.widgets.transcript import Transcript

if TYPE_CHECKING:
    from gptoss_tui.tui.theme import Palette


class Item(Block):
    """A block that the cursor can select."""

    selected = False


class Empty(Block):
    """Says what a pane is for while it is empty."""

    def __init__(self, text: str) -> None:
        self.text = text

    def render(self, width: int, palette: Palette) -> list[Strip]:
        return lines.rows(lines.paragraphs(self.text, max(8, width - 2), palette.faint), width, prefix=[Segment(" ")])


class ItemView(Transcript, can_focus=True):
    """A vertical list of items. Up and Down move the cursor, Enter or a click chooses; typing goes to the composer."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "Item above", id="pane.up"),
        Binding("down", "move(1)", "Item below", id="pane.down"),
        Binding("home", "move(-1000000)", "First item", id="pane.first"),
        Binding("end", "move(1000000)", "Last item", id="pane.last"),
        Binding("pageup", "scroll_page(-1)", "One page up", id="pane.page_up"),
        Binding("pagedown", "scroll_page(1)", "One page down", id="pane.page_down"),
        Binding("enter", "choose", "Open the item, or go to it", id="pane.choose"),
        Binding("escape", "leave", "Back to the composer", id="pane.leave"),
    ]

    class Chosen(Message):
        """Enter was pressed on an item, or it was clicked."""

        def __init__(self, view: ItemView, item: Item) -> None:
            super().__init__()
            self.view = view
            self.item = item

        @property
        def control(self) -> ItemView:
            """The view, for selectors in `on`."""
            return self.view

    class Left(Message):
        """Posted when the user wants to go back to typing."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._cursor: Item | None = None

    @property
    def items(self) -> list[Item]:
        """The blocks that the cursor can select."""
        return [block for block in self.blocks if isinstance(block, Item)]

    def action_move(self, step: int) -> None:
        """Move the cursor by `step` items."""
        items = self.items
        if not items:
            return
        at = items.index(self._cursor) + step if self._cursor in items else len(items) - 1
        self._select(items[max(0, min(len(items) - 1, at))])

    def action_scroll_page(self, direction: int) -> None:
        """Scroll one page up or down."""
        self.scroll_page(direction)

    def action_choose(self) -> None:
        """Choose the item at the cursor."""
        if self._cursor is not None:
            self.post_message(self.Chosen(self, self._cursor))

    def action_leave(self) -> None:
        """Give the focus back."""
        self.post_message(self.Left())

    def on_focus(self) -> None:
        """Show the cursor, because the pane has the focus."""
        if self._cursor is None or self._cursor not in self.items:
            self._cursor = self.items[-1] if self.items else None
        self._select(self._cursor)

    def on_blur(self) -> None:
        """Hide the cursor."""
        self._show(None)

    async def _on_key(self, event: events.Key) -> None:
        """Drop the focus on a letter, which is meant for the composer: that takes keys which nothing else does."""
        if event.is_printable:
            self.screen.set_focus(None)
            return
        await super()._on_key(event)

    def on_transcript_block_clicked(self, event: Transcript.BlockClicked) -> None:
        """Choose the item that was clicked."""
        event.stop()
        if isinstance(event.block, Item):
            self._select(event.block)
            self.post_message(self.Chosen(self, event.block))

    def _select(self, item: Item | None) -> None:
        self._cursor = item
        self._show(item)
        if item is not None:
            self.show_block(item)

    def _show(self, selected: Item | None) -> None:
        for item in self.items:
            if item.selected != (item is selected):
                item.selected = item is selected
                self.touch(item)
        self.flush()


class PaneTitle(Widget):
    """One row: the pane's name, a number, and the key that closes it. A click closes it, too."""

    DEFAULT_CSS = """
    PaneTitle { height: 1; background: $surface; }
    """

    def __init__(self, title: str, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.title = title
        self.note = ""
        self.key = ""
        self.palette: Palette | None = None

    def show(self, note: str) -> None:
        """Set the number."""
        if note != self.note:
            self.note = note
            self.refresh(layout=False)

    def render(self) -> Text:
        if self.palette is None:
            return Text("")
        left = Text.assemble((f" {self.title}", self.palette.heading), (f"  {self.note}", self.palette.muted), end="")
        return lines.spread(left, lines.text(f"{self.key} ✕ ", self.palette.faint), max(1, self.size.width))


class Pane(Vertical):
    """A pane of the dock: `NAME` is for settings and actions, `LABEL` for people."""

    DEFAULT_CSS = """
    Pane { height: 1fr; }
    Pane > ItemView { height: 1fr; }
    """

    NAME: ClassVar[str]
    LABEL: ClassVar[str]
    PURPOSE: ClassVar[str]

    class Closed(Message):
        """Posted when the title was clicked, to close the pane."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    def __init__(self) -> None:
        super().__init__(id=self.NAME)
        self.title = PaneTitle(self.LABEL, id=f"{self.NAME}-title")
        self.view = ItemView(id=f"{self.NAME}-items")
        self._palette: Palette | None = None
        self._empty = Empty(self.PURPOSE)
        self.view.add(self._empty)

    def compose(self) -> ComposeResult:
        yield self.title
        yield self.view

    def note(self) -> str:
        """The number in the title."""
        return ""

    def set_palette(self, palette: Palette) -> None:
        """Apply another palette."""
        self._palette = self.title.palette = palette
        self.title.refresh(layout=False)
        self.view.set_palette(palette)

    def flush(self) -> None:
        """Draw what changed, if it is visible."""
        if self.view.has(self._empty) == bool(self.view.items):
            if self.view.items:
                self.view.remove_block(self._empty)
            else:
                self.view.add(self._empty)
        if self.display:
            self.title.show(self.note())
            self.view.flush()

    def clear(self) -> None:
        """Remove everything."""
        self.view.clear()
        self.flush()

    def on_click(self, event: events.Click) -> None:
        """Close the pane after a click on its title."""
        if event.widget is self.title:
            event.stop()
            self.post_message(self.Closed(self.NAME))
