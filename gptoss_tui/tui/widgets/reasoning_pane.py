"""The side pane with the chain of thought in full, for wide terminals."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from gptoss_tui.tui.blocks.reasoning import Thought, ThoughtBlock
from gptoss_tui.tui.theme import Palette
from gptoss_tui.tui.widgets.transcript import Transcript


class ReasoningPane(Vertical):
    """Thoughts from top to bottom; follows the newest."""

    def compose(self) -> ComposeResult:
        yield Static("Reasoning", id="reasoning-title", markup=False)
        yield Transcript(id="thoughts")

    @property
    def transcript(self) -> Transcript:
        """The view that holds the thoughts."""
        return self.query_one("#thoughts", Transcript)

    def add(self, thought: Thought) -> ThoughtBlock:
        """Show another thought."""
        block = ThoughtBlock(thought)
        self.transcript.add(block)
        return block

    def set_palette(self, palette: Palette) -> None:
        """Take other colours."""
        self.transcript.set_palette(palette)
