"""A tool call as a card: which tool, what it will do, where it stands, what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.strip import Strip

from gptoss_tui.sanitize import to_terminal_text
from gptoss_tui.tui import lines
from gptoss_tui.tui.blocks.base import SPINNER, Block, plural, seconds
from gptoss_tui.tui.blocks.draft import Draft
from gptoss_tui.tui.blocks.output import draw_ends, ends_for, fold
from gptoss_tui.tui.late import late

if TYPE_CHECKING:
    from gptoss_tui.tui import diff
    from gptoss_tui.tui.theme import Palette
else:
    diff = late("gptoss_tui.tui.diff")

ToolState = Literal["writing", "waiting", "running", "ok", "error", "denied", "cancelled"]

DIFF_ROWS = 12
ARGUMENT_ROWS = 6
KEEP_CHARS = 200_000
"""How much output of a running tool is kept for the screen; the rest is counted, and only its end is kept."""
KEEP_END = 4000

_LABELS: dict[ToolState, str] = {
    "writing": "writing the call",
    "waiting": "waits for your answer",
    "running": "running",
    "ok": "ok",
    "error": "error",
    "denied": "denied",
    "cancelled": "cancelled",
}
_MARKS: dict[ToolState, str] = {"waiting": "?", "ok": "✓", "error": "✗", "denied": "⊘", "cancelled": "⊘"}


class ToolBlock(Block):
    """One call from its first token to its result. Closed cards show the ends of the output; a click opens them.

    With `is_page` the result is a page of a browser, of which a closed card shows only how long it is.
    """

    def __init__(self, tool: str) -> None:
        self.tool = tool
        self.state: ToolState = "writing"
        self.summary = ""
        self.arguments = ""
        self._draft = Draft()
        self.preview = ""
        self._is_diff = False
        self._changes = (0, 0)
        self._drawn: tuple[int, Palette, list[Strip]] | None = None
        self.output = ""
        self.seconds = 0.0
        self.exit_code: int | None = None
        self.is_open = False
        self.is_page = False
        self.approval = ""
        self._frame = 0
        self._cut = 0
        self._end = ""

    @property
    def live(self) -> bool:  # type: ignore[override]
        """A call is live until it has a result."""
        return self.state in ("writing", "waiting", "running")

    @property
    def mark(self) -> str:
        """One character for the state; it turns while something goes on."""
        return _MARKS.get(self.state) or SPINNER[self._frame % len(SPINNER)]

    @property
    def label(self) -> str:
        """The state in words."""
        return _LABELS[self.state]

    def show_preview(self, preview: str, *, is_diff: bool) -> None:
        """What the call will do, as it is asked about or run."""
        if preview != self.preview:
            self.preview, self._is_diff, self._drawn = preview, is_diff, None
            self._changes = diff.count_changes(diff.parse_unified(preview)) if is_diff else (0, 0)

    def write(self, text: str) -> None:
        """Add streamed arguments."""
        self.arguments += text
        self._draft.feed(text)

    def add_output(self, text: str) -> None:
        """Add output of the running tool."""
        room = KEEP_CHARS - len(self.output)
        self.output += text[:room]
        if len(text) > room:
            self._cut += len(text) - room
            self._end = (self._end + text[room:])[-KEEP_END:]

    def finish(self, state: ToolState, output: str, elapsed: float, exit_code: int | None = None) -> None:
        """The result; `exit_code` is that of a command."""
        self.exit_code = exit_code
        self.state, self.seconds, self._cut, self._end = state, elapsed, 0, ""
        self.output = output

    def toggle(self) -> bool:
        self.is_open = not self.is_open
        return True

    def reveal(self) -> bool:
        was_closed, self.is_open = not self.is_open, True
        return was_closed

    def forget(self) -> None:
        self._drawn = None

    def tick(self) -> bool:
        moving = self.state in ("writing", "running")
        self._frame += moving
        return moving

    def source(self) -> str:
        return "\n".join(
            part
            for part in (
                f"{self.tool} {self.summary}".strip(),
                to_terminal_text(self.preview) or self.arguments,
                self.output,
            )
            if part
        )

    def render(self, width: int, palette: Palette) -> list[Strip]:
        colour = self.colour(palette)
        body = [*self._body(width - 4, palette), *self._result(width - 4, palette)]
        bar = Segment(" ▎ ", colour)
        head = lines.strip(self._head(width - 4, palette), width, prefix=[bar], base=palette.surface)
        return [head, *(lines.beside([bar], row, width) for row in body)]

    def colour(self, palette: Palette) -> Style:
        """The colour of the state."""
        match self.state:
            case "waiting":
                return palette.warning
            case "ok":
                return palette.ok
            case "error" | "denied" | "cancelled":
                return palette.error
            case _:
                return palette.heading

    def _head(self, width: int, palette: Palette) -> Text:
        state = f"{self.mark} {self.label}"
        if self.state in ("ok", "error"):
            state += f" · {seconds(self.seconds)}"
        left = Text.assemble((self.tool or "tool", palette.strong), ("  ", palette.text), end="")
        left.append(self.title(), palette.muted)
        return lines.spread(left, lines.text(state, self.colour(palette)), width)

    def title(self) -> str:
        """What the call does, without the name of the tool."""
        title = self.summary.removeprefix(self.tool).strip()
        if self.state == "writing" and not title:
            return self._draft.progress()
        return "{}  +{} -{}".format(title, *self._changes).strip() if self._is_diff else title

    def _body(self, width: int, palette: Palette) -> list[Strip]:
        """What the call says: the diff when there is one, else the arguments while they are of interest."""
        if self.state == "waiting" and not self.is_open:
            return []  # the question shows it, in full
        if self._is_diff:
            rows = self._diff_rows(width, palette)
            return self._limit(rows, DIFF_ROWS, len(rows), width, palette)
        if self.state == "writing" and not self.is_open:
            return fold(self._draft.last_lines(ARGUMENT_ROWS), width, palette.muted)[-ARGUMENT_ROWS:]
        return fold(self.arguments.split("\n"), width, palette.muted) if self.is_open else []

    def _diff_rows(self, width: int, palette: Palette) -> list[Strip]:
        """A diff does not change while a spinner turns above it."""
        if self._drawn is None or self._drawn[0] != width or self._drawn[1] is not palette:
            self._drawn = (width, palette, diff.render_diff(self.preview, width, palette))
        return self._drawn[2]

    def _result(self, width: int, palette: Palette) -> list[Strip]:
        if not self.output or (self._is_diff and self.state == "ok" and not self.is_open):
            return []
        style = palette.muted if self.state == "ok" else palette.text
        text = self.output.strip("\n")
        if self.is_open:
            return fold([*text.split("\n"), *([f"[{self._cut} more characters]"] if self._cut else [])], width, style)
        if self.is_page and self.state == "ok":
            note = f"{plural(text.count(chr(10)) + 1, 'line')} for the model (Ctrl+O opens)"
            return [lines.strip(lines.text(note, palette.faint), width)]
        ends = ends_for(self.tool, running=self.state == "running")
        return draw_ends((text + self._end).strip("\n"), ends, width, style, palette.faint)

    def _limit(self, rows: list[Strip], limit: int, total: int, width: int, palette: Palette) -> list[Strip]:
        if self.is_open or total <= limit + 1:
            return rows
        hidden = plural(total - limit, "more line")
        return [*rows[:limit], lines.strip(lines.text(f"… {hidden} (Ctrl+O opens)", palette.faint), width)]
