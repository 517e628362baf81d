"""The chain of thought: each thought is a collapsible block in the transcript, and shown in full in the side pane."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.strip import Strip

from gptoss_tui.tui import lines
from gptoss_tui.tui.blocks.base import SPINNER, STEP_MARGIN, Block, count, plural, readable, seconds
from gptoss_tui.tui.plain import PlainView

if TYPE_CHECKING:
    from gptoss_tui.tui.theme import Palette

LIVE_ROWS = 6
CHARS_PER_TOKEN = 4.2
_ITALIC = Style(italic=True)


class Thought:
    """One piece of reasoning, shared by its two views. Token counts are estimates until it is done."""

    def __init__(self) -> None:
        self.live = True
        self.tokens = 0
        self.seconds = 0.0
        self.frame = 0
        self._length = 0
        self._pieces = [""]

    @property
    def text(self) -> str:
        """The reasoning so far."""
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0]

    def append(self, text: str, elapsed: float) -> None:
        """Add streamed text; `elapsed` is the time since the thought began."""
        self._pieces.append(text)
        self._length += len(text)
        self.seconds = elapsed
        self.tokens = max(1, round(self._length / CHARS_PER_TOKEN))

    def finish(self, text: str, tokens: int, elapsed: float) -> None:
        """Set the whole thought and its exact counts."""
        self._pieces = [text]
        self.tokens, self.seconds, self.live = tokens, elapsed, False

    def cost(self) -> str:
        """The size and duration: `≈ 40 tokens · 0.8 s` while live, then `43 tokens · 0.9 s`."""
        return f"{'≈ ' if self.live else ''}{plural_tokens(self.tokens)} · {seconds(self.seconds)}"

    def begin(self, limit: int) -> str:
        """The beginning of the thought on one line of at most `limit` characters."""
        return " ".join(self.text[: 2 * limit].split())[:limit]


def plural_tokens(tokens: int) -> str:
    """A number of tokens with its noun: `1 token`, `4.1k tokens`."""
    return plural(tokens, "token") if tokens < 1000 else f"{count(tokens)} tokens"


class ReasoningBlock(Block):
    """A thought in the transcript: its last rows while it streams, then one row that opens on a click.

    `inline` means that no side pane shows the thought, so the row includes its beginning.
    """

    is_step = True

    def __init__(self, thought: Thought, *, inline: bool) -> None:
        self.thought = thought
        self.inline = inline
        self.is_open = False
        self._view: PlainView | None = None

    @property
    def live(self) -> bool:  # type: ignore[override]
        """A thought is live until its last token."""
        return self.thought.live

    @property
    def is_row(self) -> bool:
        return not self.is_open and not (self.live and self.inline)

    def render(self, width: int, palette: Palette) -> list[Strip]:
        live = self.thought.live
        mark = SPINNER[self.thought.frame % len(SPINNER)] if live else "▾" if self.is_open else "▸"
        title = Text.assemble(("Thinking" if live else "Thought", palette.reasoning), end="")
        if self.inline and self.is_row:
            title.append(f"  {self.thought.begin(width)}", palette.muted + _ITALIC)
        head = lines.spread(title, lines.text(self.thought.cost(), palette.faint), width - STEP_MARGIN - 1)
        out: list[Strip] = [lines.strip(head, width, prefix=[Segment(f" {mark} ", palette.reasoning)])]
        if self.is_open or (live and self.inline):
            body = self._body(width, palette)
            out += body if self.is_open else body[-LIVE_ROWS:]
        return out

    def _body(self, width: int, palette: Palette) -> list[Strip]:
        """The text after a thin bar."""
        if self._view is None:
            self._view = PlainView([Segment(" │ ", palette.faint)])
        return self._view.render(self.thought.text.strip("\n"), readable(width) + STEP_MARGIN, palette.reasoning)

    def source(self) -> str:
        return self.thought.text

    def toggle(self) -> bool:
        self.is_open = not self.is_open
        return True

    def reveal(self) -> bool:
        was_closed, self.is_open = not self.is_open, True
        return was_closed

    def forget(self) -> None:
        self._view = None

    def tick(self) -> bool:
        if self.thought.live:
            self.thought.frame += 1
        return self.thought.live
