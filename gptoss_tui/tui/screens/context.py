"""What the context contains, as a chart: one bar for all tokens, and a row for each kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.style import Style
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from gptoss_tui.tui import lines

if TYPE_CHECKING:
    from gptoss_tui.agent.commands import ContextReport
    from gptoss_tui.tui.theme import Palette

BAR_CELLS = 64
_FREE, _CACHED = "░", "▔"


def shares(sizes: list[int], total: int, cells: int) -> list[int]:
    """Divide `cells` in proportion to `sizes`, out of `total`. Sizes above 0 get at least one cell where possible."""
    if total <= 0:
        return [0 for _ in sizes]
    ends, done = [], 0
    for size in sizes:
        done += size
        ends.append(round(min(done, total) / total * cells))
    found = [end - start for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    for index, size in enumerate(sizes):
        if size and not found[index]:
            widest = max(range(len(found)), key=found.__getitem__)
            if found[widest] > 1:
                found[widest] -= 1
                found[index] = 1
    return found


def context_rows(report: ContextReport, palette: Palette, cells: int = BAR_CELLS) -> list[Text]:
    """The chart, row by row."""
    kinds = _kinds(report, palette)
    limit = report.limit or report.used or 1
    widths = shares([size for _, size, _, _ in kinds], limit, cells)
    bar = Text(end="")
    for (_, _, mark, style), width in zip(kinds, widths, strict=True):
        bar.append(mark * width, style)
    bar.append(_FREE * (cells - bar.cell_len), palette.faint)
    cached = shares([report.cached], limit, cells)[0]
    under = lines.text(_CACHED * cached, palette.ok)
    free = max(0, limit - report.used)
    share = f"{report.used / limit:.0%}" if report.limit else ""
    head = lines.text(f"{report.used:,}", palette.strong)
    head.append(f" of {limit:,} tokens  {share}" if report.limit else " tokens", palette.muted)
    out = [head, Text(end=""), bar, under]
    out += [_row(name, size, mark, style, limit, palette) for name, size, mark, style in kinds]
    out.append(_row("Free", free, _FREE, palette.faint, limit, palette))
    out += [Text(end=""), _row("In the cache, read already", report.cached, _CACHED, palette.ok, limit, palette)]
    return out


def _kinds(report: ContextReport, palette: Palette) -> list[tuple[str, int, str, Style]]:
    """Name, tokens, mark and colour of each part. The marks differ, too, for people who cannot tell the colours."""
    plain = Style(italic=False)
    return [
        ("System message", report.system, "▓", palette.muted),
        ("Instructions and tools", report.developer, "▒", palette.muted),
        ("You", report.user, "█", palette.user + Style(bold=False)),
        ("Reasoning of the last turn", report.reasoning, "▚", palette.reasoning + plain),
        ("Tool calls", report.calls, "▞", palette.warning),
        ("Tool results", report.tool_results, "▤", palette.accent),
        ("Answers", report.answers, "▇", palette.ok),
    ]


def _row(name: str, size: int, mark: str, style: Style, limit: int, palette: Palette) -> Text:
    row = lines.text(f"{mark * 2} ", style)
    row.append(f"{name:<28}", palette.text if size else palette.faint)
    row.append(f"{size:>10,}", palette.text if size else palette.faint)
    row.append(f"{size / limit:>8.1%}", palette.muted if size else palette.faint)
    return row


class ContextScreen(ModalScreen[None]):
    """Shows the chart over the conversation; any of its keys closes it."""

    CSS_PATH = "../styles/context.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q,ctrl+c", "dismiss", "Close the context", id="context.close", priority=True),
    ]

    def __init__(self, report: ContextReport, palette: Palette) -> None:
        super().__init__()
        self._report = report
        self._palette = palette

    def compose(self) -> ComposeResult:
        with Vertical(id="context"):
            yield Static("", id="context-picture", markup=False)
            yield Static(lines.text(self._advice(), self._palette.muted), id="context-advice", markup=False)

    def on_mount(self) -> None:
        """Draw the chart at the available width."""
        self.query_one("#context").border_title = Text("Context")
        cells = max(16, min(BAR_CELLS, self.app.size.width - 12))
        rows = context_rows(self._report, self._palette, cells)
        self.query_one("#context-picture", Static).update(Text("\n").join(rows))

    def _advice(self) -> str:
        return "/compact sums the conversation up.  Esc closes."
