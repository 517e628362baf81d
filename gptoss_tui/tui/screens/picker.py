"""A list to choose from, over the conversation: type to filter, arrows to move, with an optional preview."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.timer import Timer
from textual.widgets import Input, Static

from gptoss_tui.errors import GptOssError
from gptoss_tui.sanitize import to_terminal_line, to_terminal_text
from gptoss_tui.tui import lines
from gptoss_tui.tui.composing.fuzzy import match
from gptoss_tui.tui.widgets.choices import Choice, ChoiceList
from gptoss_tui.tui.widgets.hints import Hint, HintLine

if TYPE_CHECKING:
    from gptoss_tui.tui.theme import Palette

MAX_ROWS = 18
SHARE = 0.9
FIXED_ROWS = 8
"""The rows for border, filter, note and keys, and the gaps between them."""
REST_SECONDS = 0.08
PREVIEW_WIDTH = 92
"""The minimum width, in columns, for the preview beside the list; on less it is below the list."""


@dataclass(frozen=True, slots=True)
class Item:
    """A choice. Its texts may be untrusted; they are made safe for the terminal here.

    `value` is returned if it is chosen. `refusal` says why it cannot be. `preview` is evaluated when it is selected.
    """

    value: str
    label: str
    detail: str = ""
    tail: str = ""
    preview: Callable[[], str] | str = ""
    refusal: str = ""
    searched: str = ""


@dataclass(frozen=True, slots=True)
class Action:
    """Another key of a picker: `key` in Textual's spelling, `shown` for people, `what` it does, and its `name`."""

    key: str
    shown: str
    what: str
    name: str


@dataclass(frozen=True, slots=True)
class Picked:
    """The value that was picked, and how: `choose` for Enter, otherwise the name of the action."""

    value: str
    action: str = "choose"


Load = Callable[[], Awaitable[Sequence[Item]]]


@dataclass(frozen=True, slots=True)
class Picker:
    """A list to choose from. `load` runs while the list is shown already; `empty` is shown if it returns nothing.

    `try_out` is called with the value that the selection rests on, and returns the palette from then on.
    """

    title: str
    load: Load
    what: str = "choose"
    empty: str = "Nothing here."
    selected: str = ""
    preview: bool = False
    actions: tuple[Action, ...] = field(default=())
    query: str = ""
    keep_order: bool = True
    try_out: Callable[[str], Palette] | None = None


def loaded(items: Sequence[Item]) -> Load:
    """A `Load` for items that are already known."""

    async def load() -> Sequence[Item]:
        return items

    return load


class PickerScreen(ModalScreen[Picked | None]):
    """Shows a `Picker` and returns what was picked, or None."""

    CSS_PATH = "../styles/picker.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "The one before", id="picker.up", priority=True),
        Binding("down", "move(1)", "The next one", id="picker.down", priority=True),
        Binding("pageup", "page(-1)", "A page back", id="picker.page_up", priority=True),
        Binding("pagedown", "page(1)", "A page on", id="picker.page_down", priority=True),
        Binding("enter", "choose", "Choose", id="picker.choose", priority=True),
        Binding("escape,ctrl+c", "close", "Close without choosing", id="picker.close", priority=True),
    ]

    def __init__(self, picker: Picker, palette: Palette) -> None:
        super().__init__()
        self.picker = picker
        self._palette = palette
        self._items: Sequence[Item] = ()
        self._shown: list[Item] = []
        self._tried: str | None = None
        self._resting: Timer | None = None

    def compose(self) -> ComposeResult:
        with Vertical(id="picker"):
            yield Input(self.picker.query, placeholder="Type to filter", id="picker-filter", compact=True)
            with Horizontal(id="picker-body"):
                yield ChoiceList(self._palette, max_rows=MAX_ROWS, id="picker-list")
                if self.picker.preview:
                    with VerticalScroll(id="picker-preview", can_focus=False):
                        yield Static("", id="picker-text", markup=False)
            yield Static("", id="picker-note", markup=False)
            yield HintLine(self._palette, self._hints(), id="picker-hints")

    def on_mount(self) -> None:
        """Show the frame at once, and load the items."""
        self.query_one("#picker").border_title = Text(self.picker.title)
        self._note("Looking …")
        self.query_one(Input).focus()
        self._arrange()
        self._load()

    @work
    async def _load(self) -> None:
        try:
            self._items = await self.picker.load()
        except GptOssError as error:
            self._note(f"{error.message}\n{error.hint or ''}".strip())
            return
        self._arrange()
        self._filter()
        for number, item in enumerate(self._shown):
            if item.value == self.picker.selected and not self.picker.query:
                self.query_one(ChoiceList).select(number)
        self._tried = self.picker.selected
        self._selection_changed()

    @on(Input.Changed)
    def _filter(self) -> None:
        query = self.query_one(Input).value
        found = []
        for number, item in enumerate(self._items):
            label = to_terminal_line(item.label)
            best = match(query, label)
            if best is not None or match(query, item.searched or f"{item.label} {item.detail}") is not None:
                score = best.score if best is not None else -1000
                order = (0, number) if self.picker.keep_order else (-score, number)
                found.append((order, item, best.positions if best is not None else ()))
        found.sort(key=lambda one: one[0])
        self._shown = [item for _, item, _ in found]
        rows = [
            Choice(
                to_terminal_line(item.label),
                to_terminal_line(item.detail),
                to_terminal_line(item.tail),
                places,
                bool(item.refusal),
            )
            for _, item, places in found
        ]
        self.query_one(ChoiceList).show(rows)
        self._selection_changed()

    @property
    def _selected(self) -> Item | None:
        index = self.query_one(ChoiceList).selected
        return self._shown[index] if 0 <= index < len(self._shown) else None

    @on(ChoiceList.Hovered)
    def _selection_changed(self) -> None:
        item = self._selected
        if not self._items:
            self._note(self.picker.empty)
        elif item is None:
            self._note("Nothing matches.")
        else:
            self._note(item.refusal)
            self._try_out(item.value)
        if self.picker.preview:
            text = "" if item is None else item.preview if isinstance(item.preview, str) else item.preview()
            view = self.query_one("#picker-text", Static)
            view.update(lines.text(to_terminal_text(text), self._palette.text))
            self.query_one("#picker-preview").scroll_home(animate=False)

    def _try_out(self, value: str) -> None:
        """Show a value as soon as the selection rests on it: a held key would otherwise wait for each on its way."""
        if self.picker.try_out is None or self._tried in (None, value):
            return
        self._tried = value
        if self._resting is not None:
            self._resting.stop()
        self._resting = self.set_timer(REST_SECONDS, partial(self._show, self.picker.try_out, value))

    def _show(self, try_out: Callable[[str], Palette], value: str) -> None:
        self._palette = try_out(value)
        for widget in (self.query_one(ChoiceList), self.query_one(HintLine)):
            widget.palette = self._palette
            widget.refresh(layout=False)

    def _note(self, text: str) -> None:
        note = self.query_one("#picker-note", Static)
        note.update(lines.text(to_terminal_text(text), self._palette.muted))
        note.display = bool(text)

    def _hints(self) -> list[Hint]:
        more = [(action.shown, action.what, f"screen.pick('{action.name}')") for action in self.picker.actions]
        return [("Enter", self.picker.what, "screen.choose"), *more, ("Esc", "close", "screen.close")]

    @on(events.Resize)
    def _arrange(self) -> None:
        """Put the preview beside the list if both have room, else below it."""
        size = self.app.size
        stacked = self.picker.preview and size.width < PREVIEW_WIDTH
        self.query_one("#picker").set_class(self.picker.preview, "-wide")
        self.query_one("#picker-body").set_class(stacked, "-stacked")
        rows = max(3, int(size.height * SHARE) - FIXED_ROWS)
        least = max(2, rows // 3)  # of the list; the preview below it gets the rest
        room = max(least, min(rows - len(self._items) - 1, MAX_ROWS)) if stacked else min(rows, MAX_ROWS)
        preview = self._preview_rows(room, beside=not stacked)
        choices = self.query_one(ChoiceList)
        choices.max_rows = max(2, min(MAX_ROWS, rows - preview - 1 if stacked else rows))
        choices.refresh(layout=True)
        if self.picker.preview:
            self.query_one("#picker-preview").styles.height = preview + stacked  # one more for the rule above it

    def _preview_rows(self, most: int, *, beside: bool) -> int:
        """The rows needed by the longest preview, and by the list if `beside` it; `most` if they are not known."""
        texts = [item.preview for item in self._items if isinstance(item.preview, str)]
        if not self.picker.preview or not texts or len(self._items) != len(texts) or len(texts) > most:
            return most
        width = max(1, self.query_one("#picker-text").size.width)
        heights = (len(lines.wrap(lines.text(text, self._palette.text), width)) for text in texts)
        return min(most, max(len(texts) if beside else 2, *heights))

    @on(ChoiceList.Chosen)
    def _clicked(self) -> None:
        self.action_choose()

    def on_key(self, event: events.Key) -> None:
        """Handle the keys of the picker's own actions."""
        for action in self.picker.actions:
            if event.key == action.key:
                event.stop()
                event.prevent_default()
                self.action_pick(action.name)

    def action_move(self, step: int) -> None:
        """Select the next or the previous row."""
        self.query_one(ChoiceList).move(step)
        self._selection_changed()

    def action_page(self, step: int) -> None:
        """Move by one screenful."""
        rows = self.query_one(ChoiceList)
        rows.move(step * max(1, rows.size.height - 1), around=False)
        self._selection_changed()

    def action_choose(self) -> None:
        """Close with the selected row, unless that cannot be chosen."""
        item = self._selected
        if item is not None and not item.refusal:
            self.dismiss(Picked(item.value))

    def action_pick(self, name: str) -> None:
        """Close with the selected row and the action `name`."""
        item = self._selected
        if item is not None:
            self.dismiss(Picked(item.value, name))

    def action_close(self) -> None:
        """Close without a choice."""
        self.dismiss(None)
