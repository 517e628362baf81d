"""The complete chain of thought of every turn; old turns are collapsed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.segment import Segment
from textual.strip import Strip

from gptoss_tui.tui import lines
from gptoss_tui.tui.blocks.base import seconds
from gptoss_tui.tui.blocks.reasoning import Thought, plural_tokens
from gptoss_tui.tui.panes.base import Item, ItemView, Pane
from gptoss_tui.tui.plain import PlainView

if TYPE_CHECKING:
    from gptoss_tui.tui.theme import Palette


class TurnOfThoughts(Item):
    """All thoughts of one turn, under a row with their total size."""

    def __init__(self, number: int, question: str) -> None:
        self.number = number
        self.question = question
        self.is_open = True
        self._thoughts: list[tuple[Thought, PlainView]] = []

    @property
    def live(self) -> bool:  # type: ignore[override]
        """A turn is live until its last thought ends."""
        return any(thought.live for thought, _ in self._thoughts)

    @property
    def thoughts(self) -> list[Thought]:
        """The thoughts, in order."""
        return [thought for thought, _ in self._thoughts]

    def add(self, thought: Thought) -> None:
        """Add a thought."""
        self._thoughts.append((thought, _view()))

    def drop(self, thought: Thought) -> None:
        """Remove a thought."""
        self._thoughts = [pair for pair in self._thoughts if pair[0] is not thought]

    def totals(self) -> str:
        """The total size and duration: `≈ 412 tokens · 3.2 s`."""
        about = "≈ " if self.live else ""
        tokens = sum(thought.tokens for thought in self.thoughts)
        return f"{about}{plural_tokens(tokens)} · {seconds(sum(thought.seconds for thought in self.thoughts))}"

    def render(self, width: int, palette: Palette) -> list[Strip]:
        mark = "▾" if self.is_open else "▸"
        left = lines.text(f" {mark} {self.number}  {self.question}", palette.strong if self.selected else palette.muted)
        head = lines.spread(left, lines.text(f"{self.totals()} ", palette.faint), width)
        rows: list[Strip] = [lines.strip(head, width, base=palette.panel if self.selected else None)]
        if self.is_open:
            for index, (thought, view) in enumerate(self._thoughts):
                rows += [lines.blank(width)] if index else []
                rows += view.render(thought.text.strip("\n"), width - 1, palette.reasoning)
        return rows

    def source(self) -> str:
        return "\n\n".join(thought.text for thought in self.thoughts)

    def toggle(self) -> bool:
        self.is_open = not self.is_open
        return True

    def reveal(self) -> bool:
        was_closed, self.is_open = not self.is_open, True
        return was_closed

    def forget(self) -> None:
        self._thoughts = [(thought, _view()) for thought, _ in self._thoughts]


class ReasoningPane(Pane):
    """Follows the newest thought. The running turn is expanded, and collapsed when the next one begins."""

    NAME, LABEL = "reasoning", "Reasoning"
    PURPOSE = "What the model thinks before it answers."

    def __init__(self) -> None:
        super().__init__()
        self._turn: TurnOfThoughts | None = None
        self._number = 0
        self._question = ""

    def begin(self, question: str) -> None:
        """Begin a turn. It is shown once the model thinks."""
        self._number += 1
        self._question = question
        if self._turn is not None and self._turn.is_open:
            self._turn.toggle()
            self.view.touch(self._turn)
        self._turn = None

    def add(self, thought: Thought) -> TurnOfThoughts:
        """Add a thought. Returns the item to touch when the thought changes."""
        if self._turn is None:
            self._turn = TurnOfThoughts(self._number, self._question)
            self.view.add(self._turn)
        self._turn.add(thought)
        self.view.touch(self._turn)
        return self._turn

    def drop(self, thoughts: list[Thought]) -> None:
        """Remove the turns that contain any of these thoughts."""
        gone = {id(thought) for thought in thoughts}
        for item in self.view.items:
            if isinstance(item, TurnOfThoughts) and any(id(thought) in gone for thought in item.thoughts):
                self.view.remove_block(item)
                if item is self._turn:
                    self._turn = None

    def clear(self) -> None:
        """Remove everything."""
        self._turn, self._number = None, 0
        super().clear()

    def note(self) -> str:
        """The size of the last turn's reasoning."""
        turns = [item for item in self.view.items if isinstance(item, TurnOfThoughts)]
        return turns[-1].totals() if turns else ""

    def on_item_view_chosen(self, event: ItemView.Chosen) -> None:
        """Collapse or expand a turn."""
        event.stop()
        event.item.toggle()
        self.view.touch(event.item)
        self.view.flush()


def _view() -> PlainView:
    return PlainView([Segment("   ")])
