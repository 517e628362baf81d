"""A tool call as a card: which tool, what it will do, its state and its result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.strip import Strip

from gptoss_tui.sanitize import to_terminal_text
from gptoss_tui.tui import lines
from gptoss_tui.tui.blocks.base import SPINNER, Block, plural, seconds
from gptoss_tui.tui.blocks.draft import Draft, said
from gptoss_tui.tui.blocks.output import draw_ends, ends_for, extent, fold
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
"""How much output of a running tool is kept for the screen. The rest is only counted, except for its end."""
KEEP_END = 4000

WORTH_SAYING = 0.05
"""Calls shorter than this, in seconds, show no duration."""

_READERS = ("read_file", "list_files", "search_files")

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
    """One call from its first token to its result. Collapsed cards show the ends of the output; a click opens them.

    For output that is meant for the model, files of the workspace and (with `is_page`) pages of a browser, a collapsed
    card only says how much there is.
    """

    is_step = True

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
        """One character for the state; it spins while the call is written or runs."""
        return _MARKS.get(self.state) or SPINNER[self._frame % len(SPINNER)]

    @property
    def label(self) -> str:
        """The state in words."""
        return _LABELS[self.state]

    def show_preview(self, preview: str, *, is_diff: bool) -> None:
        """Set the preview of what the call will do, when it is asked about or run."""
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
        """Set the result; `exit_code` is that of a command."""
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

    @property
    def is_row(self) -> bool:
        return self._is_quiet and self.state in ("ok", "running", "writing")

    @property
    def _is_quiet(self) -> bool:
        """Whether the output is meant for the model and the user has not opened it."""
        return not self.is_open and (self.is_page or self.tool in _READERS)

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
        left = Text.assemble((self.tool or "tool", palette.strong), ("  ", palette.text), end="")
        left.append(self.title(), palette.muted)
        return lines.spread(left, lines.text(f"{self.mark} {self._outcome()}", self.colour(palette)), width)

    def _outcome(self) -> str:
        """`waits for your answer`, `300 lines`, `exit 1 · 1.4 s`; just `ok` if the duration is negligible."""
        if self.state not in ("ok", "error"):
            return self.label
        parts = [f"exit {self.exit_code}" if self.exit_code else "error"] if self.state == "error" else []
        if self.state == "ok" and self._is_quiet and self.output:
            parts.append(extent(self.output))
        if self.seconds >= WORTH_SAYING:
            parts.append(seconds(self.seconds))
        return " · ".join(parts) or self.label

    def title(self) -> str:
        """What the call does, without the name of the tool."""
        title = self._path()
        if self.state == "writing" and not title:
            return self._draft.progress()
        return "{}  +{} -{}".format(title, *self._changes).strip() if self._is_diff else title

    def _path(self) -> str:
        return self.summary.removeprefix(self.tool).strip()

    def _body(self, width: int, palette: Palette) -> list[Strip]:
        """The diff if there is one, else the arguments while they are of interest."""
        if self.state == "waiting" and not self.is_open:
            return []  # the approval panel shows it in full
        if self._is_diff:
            rows = self._diff_rows(width, palette)
            return self._limit(rows, DIFF_ROWS, len(rows), width, palette)
        if self.state == "writing" and not self.is_open and not self._is_quiet:
            return fold(self._draft.last_lines(ARGUMENT_ROWS), width, palette.muted)[-ARGUMENT_ROWS:]
        if not self.is_open:
            return []
        told = said(self.arguments)
        return [] if self.title() in (told, told.partition(": ")[2]) else fold(told.split("\n"), width, palette.muted)

    def _diff_rows(self, width: int, palette: Palette) -> list[Strip]:
        """The rows of the diff, cached, because it does not change while the spinner above it turns."""
        if self._drawn is None or self._drawn[0] != width or self._drawn[1] is not palette:
            strips = diff.render_diff(self.preview, width, palette)
            if strips and strips[0].text.strip() == self._path():
                del strips[0]  # the head names the file already
            self._drawn = (width, palette, strips)
        return self._drawn[2]

    def _result(self, width: int, palette: Palette) -> list[Strip]:
        if not self.output or (self._is_diff and self.state == "ok" and not self.is_open):
            return []
        style = palette.muted if self.state == "ok" else palette.text
        text = self.output.strip("\n")
        if self.is_open:
            return fold([*text.split("\n"), *([f"[{self._cut} more characters]"] if self._cut else [])], width, style)
        if self.is_row:
            return []
        ends = ends_for(self.tool, self.state)
        return draw_ends((text + self._end).strip("\n"), ends, width, style, palette.faint)

    def _limit(self, rows: list[Strip], limit: int, total: int, width: int, palette: Palette) -> list[Strip]:
        if self.is_open or total <= limit + 1:
            return rows
        hidden = plural(total - limit, "more line")
        return [*rows[:limit], lines.strip(lines.text(f"… {hidden} (Ctrl+O opens)", palette.faint), width)]
