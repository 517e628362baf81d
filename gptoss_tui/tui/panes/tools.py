"""All tool calls of the conversation: the tool, its arguments, who allowed it, how long it took, and the result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.segment import Segment
from rich.style import Style
from textual.message import Message
from textual.strip import Strip

from gptoss_tui.tui import lines
from gptoss_tui.tui.blocks.base import plural, seconds
from gptoss_tui.tui.panes.base import Item, ItemView, Pane

if TYPE_CHECKING:
    from gptoss_tui.tui.blocks.tool import ToolBlock
    from gptoss_tui.tui.theme import Palette

ARGUMENT_CHARS = 300
_FAILED = ("error", "denied", "cancelled")


class CallItem(Item):
    """A call in a few rows. It shows the state of `call`, the block in the conversation."""

    def __init__(self, number: int, call: ToolBlock) -> None:
        self.number = number
        self.call = call

    def render(self, width: int, palette: Palette) -> list[Strip]:
        call, inner = self.call, max(8, width - 6)
        base = palette.panel if self.selected else None
        left = lines.text(f"{self.number:>3} {call.mark} ", call.colour(palette))
        left.append(call.tool or "tool", palette.strong)
        time = seconds(call.seconds) if not call.live and call.seconds else ""
        head = lines.spread(left, lines.text(f"{time} ", palette.faint), width)
        rows: list[Strip] = [lines.strip(head, width, base=base)]
        prefix = [Segment("      ")]
        for text, style in self._details(palette):
            wrapped = lines.paragraphs(text, inner, style)[:3]
            rows += lines.rows(wrapped, width, prefix=prefix, base=base)
        return rows

    def _details(self, palette: Palette) -> list[tuple[str, Style]]:
        call = self.call
        told = call.title() or " ".join(call.arguments[:ARGUMENT_CHARS].split())
        details = [(told, palette.muted)] if told else []
        details.append((self._outcome(), palette.faint if call.state not in _FAILED else palette.error))
        return [(text, style) for text, style in details if text]

    def _outcome(self) -> str:
        """The approval and the result: `allowed by you · exit 1 · 12 lines`."""
        call = self.call
        parts = [call.approval, call.label if call.live or call.state in _FAILED else ""]
        if call.exit_code is not None:
            parts.append(f"exit {call.exit_code}")
        if call.output and not call.live:
            parts.append(plural(call.output.strip("\n").count("\n") + 1, "line"))
        return " · ".join(part for part in parts if part)

    def source(self) -> str:
        return self.call.source()


class ToolsPane(Pane):
    """The calls, oldest first. Enter scrolls to the call in the conversation."""

    NAME, LABEL = "tools", "Tools"
    PURPOSE = "What the model called, who allowed it, and what came of it."

    class Wanted(Message):
        """Posted when the user wants to see the call in the conversation."""

        def __init__(self, call: ToolBlock) -> None:
            super().__init__()
            self.call = call

    def __init__(self) -> None:
        super().__init__()
        self._items: dict[ToolBlock, CallItem] = {}

    def touch(self, call: ToolBlock) -> None:
        """Add a call, or redraw one that changed."""
        item = self._items.get(call)
        if item is None:
            item = self._items[call] = CallItem(len(self._items) + 1, call)
            self.view.add(item)
        else:
            self.view.touch(item)

    def drop(self, calls: list[ToolBlock]) -> None:
        """Remove calls whose turns were taken back."""
        self.view.remove_block(*(self._items.pop(call) for call in calls if call in self._items))

    def clear(self) -> None:
        """Remove everything."""
        self._items.clear()
        super().clear()

    def note(self) -> str:
        """The number of calls, and how many of them failed."""
        failed = sum(call.state in _FAILED for call in self._items)
        return f"{len(self._items)}" + (f" · {failed} failed" if failed else "") if self._items else ""

    def on_item_view_chosen(self, event: ItemView.Chosen) -> None:
        """Go to the call in the conversation."""
        event.stop()
        if isinstance(event.item, CallItem):
            self.post_message(self.Wanted(event.item.call))
