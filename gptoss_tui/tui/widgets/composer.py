"""The editor for prompts: Enter sends, Shift+Enter or Ctrl+J adds a line, Up and Down step through the history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Protocol

from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.document._document import EditResult, Location, Selection
from textual.document._edit import Edit
from textual.geometry import Offset
from textual.message import Message
from textual.widgets import TextArea

from gptoss_tui.sanitize import to_terminal_text
from gptoss_tui.tui.bindings import COMPOSER_KEYS
from gptoss_tui.tui.composing.chips import Chips, span_around
from gptoss_tui.tui.composing.mentions import find_mentions
from gptoss_tui.tui.composing.undo import GroupedHistory

if TYPE_CHECKING:
    from gptoss_tui.tui.history import PromptHistory
    from gptoss_tui.tui.widgets.vim_keys import VimKeys

PLACEHOLDER = "Ask something, or say what to change"
GROWTH = 0.4
"""The share of the screen that a long draft may take; beyond that it scrolls."""
MIN_ROWS = 5
LARGE_DRAFT = 20_000
"""How many characters the editor handles without a noticeable pause."""
BLINKS = 20
"""After this many half seconds without input, the cursor stops blinking, so that an idle app does nothing."""
_ELSEWHERE = ("ctrl+c", "super+c", "ctrl+d")
"""Keys with another meaning when there is nothing to edit, which is why the screen handles them."""
_EDITING_KEYS = {
    **{"alt+left": "cursor_word_left", "alt+b": "cursor_word_left", "alt+d": "delete_word_right"},
    **{"alt+right": "cursor_word_right", "alt+f": "cursor_word_right"},
} | {
    key: binding.action
    for binding in TextArea.BINDINGS
    if isinstance(binding, Binding)
    for key in binding.key.split(",")
    if key not in _ELSEWHERE
}


class ComposerListener(Protocol):
    """What the composer reports besides its messages: calls that need an answer, or that happen on every key."""

    async def take_key(self, key: str) -> bool:
        """Handle a key before the composer gets it. Returns True if it was used."""
        ...

    def changed(self) -> None:
        """The text or the cursor changed."""
        ...

    def recalled(self) -> None:
        """The draft was set and not typed."""
        ...

    def search_history(self) -> None:
        """The user wants to search earlier prompts."""
        ...

    def edit_outside(self) -> None:
        """The user wants to open the draft in their own editor."""
        ...

    def emptied(self) -> None:
        """Backspace was pressed in the empty composer."""
        ...

    def vim_changed(self) -> None:
        """Vim keys were switched on or off, or their mode has changed."""
        ...


class Composer(TextArea):
    """A multi-line editor with history. Large pastes become chips, which keeps typing fast; they are sent in full."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"composer--chip", "composer--mention", "composer--command"}
    DEFAULT_CSS = """
    Composer .composer--chip { color: $accent; background: $panel; }
    Composer .composer--mention { color: $primary; }
    Composer .composer--command { color: $secondary; text-style: bold; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [*COMPOSER_KEYS]

    class Submitted(Message):
        """A prompt was sent; `text` has its chips expanded. `later` asks to wait for the running turn."""

        def __init__(self, text: str, *, later: bool = False) -> None:
            super().__init__()
            self.text = text
            self.later = later

    class TakeQueued(Message):
        """Up was pressed in the empty composer, to take back the last queued prompt for editing."""

    def __init__(self, history: PromptHistory, *, id: str | None = None) -> None:
        self.chips = Chips()
        self.vim: VimKeys | None = None
        super().__init__(id=id, compact=True, highlight_cursor_line=False, placeholder=PLACEHOLDER)
        self.history = self.steps = GroupedHistory()
        self.prompts = history
        self.has_queue = False
        self.busy = False
        self._blinks = 0
        self.listener: ComposerListener | None = None
        self.match_cursor_bracket = False
        self.own_keys = {
            key: binding.action
            for binding in self.BINDINGS
            if isinstance(binding, Binding)
            for key in binding.key.split(",")
        }

    @property
    def is_empty(self) -> bool:
        """Whether nothing is typed."""
        return not self.text

    @property
    def is_typing(self) -> bool:
        """Whether letters are inserted: always, except in Vim's other modes."""
        return self.vim is None or self.vim.mode == "insert"

    @property
    def marked_text(self) -> str:
        """The selected text; in Vim's visual modes the character under the cursor belongs to it."""
        start, end = self.selection
        if start != end and start < end and not self.is_typing:
            end = (end[0], end[1] + 1)
        return self.get_text_range(start, end) if start != end else ""

    @property
    def expanded(self) -> str:
        """The draft with its chips expanded."""
        return self.chips.expand(self.text)

    def set_draft(self, text: str) -> None:
        """Replace the draft and put the cursor at its end. The text is made safe for the terminal. Can be undone.

        Pasted text in a message that comes back is turned into its chips again; a large text becomes a chip as a whole.
        """
        self.steps.end_group()
        safe = self.chips.refold(to_terminal_text(text), self.chips.pasted)
        if len(safe) > LARGE_DRAFT:
            safe = self.chips.fold(safe)
        self.replace(safe, (0, 0), self.document.end, maintain_selection_offset=False)
        self.move_cursor(self.document.end)
        if self.listener is not None:
            self.listener.recalled()

    def type_text(self, text: str) -> None:
        """Insert text at the cursor, as if typed."""
        self._start_typing()
        self.insert(to_terminal_text(text))

    def replace_before_cursor(self, start: int, text: str) -> None:
        """Replace the text on the cursor's row between column `start` and the cursor by `text`."""
        row, column = self.cursor_location
        result = self.replace(to_terminal_text(text), (row, start), (row, column), maintain_selection_offset=False)
        self.move_cursor(result.end_location)

    def before_cursor(self) -> str:
        """The text on the cursor's row up to the cursor."""
        row, column = self.cursor_location
        return self.document.get_line(row)[:column]

    # Sending

    def action_submit(self) -> None:
        """Send the draft, if any. After a backslash insert a newline, for terminals that send no other key for it."""
        before = self.before_cursor()
        if before.endswith("\\") and not self.selected_text:
            self.history.checkpoint()
            self.replace_before_cursor(len(before) - 1, "\n")
        else:
            self._submit(later=False)

    def action_submit_later(self) -> None:
        """While something is running, send the draft to the queue; otherwise do nothing."""
        if self.busy:
            self._submit(later=True)

    def _submit(self, *, later: bool) -> None:
        text = self.expanded
        if not text.strip():
            return
        self.prompts.add(self.text, text)
        self.steps.end_group()
        self.clear()
        self._start_typing()
        self.post_message(self.Submitted(text, later=later))

    # Editing

    def action_newline(self) -> None:
        """Insert a newline at the cursor."""
        self._replace_via_keyboard("\n", *self.selection)

    async def action_delete_or_leave(self) -> None:
        """Handle Ctrl+D as a shell does: delete to the right, or quit if the draft is empty."""
        if self.is_empty:
            await self.run_action("screen.quit_empty")
        else:
            self.action_delete_right()

    async def action_help_or_type(self) -> None:
        """Open the help, but only if `?` cannot be part of a prompt."""
        if self.is_empty:
            await self.run_action("screen.help")
        else:
            self._replace_via_keyboard("?", *self.selection)

    def action_search_history(self) -> None:
        """Search the prompts sent before."""
        if self.listener is not None:
            self.listener.search_history()

    def action_edit_outside(self) -> None:
        """Open the draft in the user's editor."""
        if self.listener is not None:
            self.listener.edit_outside()

    def action_spell_out(self) -> None:
        """Replace the chip at the cursor by the pasted text itself."""
        row, column = self.cursor_location
        line = self.document.get_line(row)
        for start, end in self.chips.spans(line):
            if start <= column <= end:
                self.history.checkpoint()
                self.replace(
                    self.chips.pasted[line[start:end]], (row, start), (row, end), maintain_selection_offset=False
                )
                return

    def action_delete_left(self) -> None:
        if self.is_empty and self.listener is not None:
            self.listener.emptied()
        super().action_delete_left()

    def _undo_batch(self, edits: Sequence[Edit]) -> None:
        """Undo edit by edit: the toolkit wraps the wrong lines when several edits of a batch have newlines."""
        for edit in reversed(edits):
            super()._undo_batch([edit])

    def _redo_batch(self, edits: Sequence[Edit]) -> None:
        for edit in edits:
            super()._redo_batch([edit])

    def _delete_via_keyboard(self, start: Location, end: Location) -> EditResult | None:
        """Delete chips only as a whole."""
        first, last = sorted((start, end))
        return super()._delete_via_keyboard(self._outside(first, before=True), self._outside(last, before=False))

    def _replace_via_keyboard(self, insert: str, start: Location, end: Location) -> EditResult | None:
        first, last = sorted((start, end))
        return super()._replace_via_keyboard(
            insert, self._outside(first, before=True), self._outside(last, before=False)
        )

    def _outside(self, location: Location, *, before: bool) -> Location:
        """`location`, moved to the start or the end of the chip that it is inside of."""
        row, column = location
        if row >= self.document.line_count:
            return location
        span = span_around(self.chips.spans(self.document.get_line(row)), column)
        return location if span is None else (row, span[0] if before else span[1])

    def _validate_selection(self, selection: Selection) -> Selection:
        """Keep the cursor out of chips: it jumps over them in its direction of movement."""
        start, end = super()._validate_selection(selection)
        is_cursor, forward = start == end, end > self.selection.end
        start, end = self._outside(start, before=start <= end), self._outside(end, before=not forward)
        if is_cursor and self.vim is not None and self.vim.mode == "normal":
            return Selection.cursor(self._on_character(end))
        return Selection(start, end)

    def _on_character(self, location: Location) -> Location:
        """`location`, but not behind the last character or chip of its line, where Vim has no cursor."""
        row, column = location
        line = self.document.get_line(row)
        if column < len(line) or not line:
            return location
        return row, next((start for start, end in self.chips.spans(line) if end == len(line)), len(line) - 1)

    def action_cursor_up(self, select: bool = False) -> None:
        if select or not self.navigator.is_first_wrapped_line(self.cursor_location):
            super().action_cursor_up(select)
        elif self.is_empty and self.has_queue:
            self.post_message(self.TakeQueued())
        elif (earlier := self.prompts.earlier(self.text)) is not None:
            self.set_draft(earlier)

    def action_cursor_down(self, select: bool = False) -> None:
        if select or not self.navigator.is_last_wrapped_line(self.cursor_location):
            super().action_cursor_down(select)
        elif (later := self.prompts.later(self.text)) is not None:
            self.set_draft(later)

    # Vim keys

    def use_vim(self, on: bool) -> None:
        """Switch Vim keys on or off. They begin in insert mode."""
        if on == (self.vim is not None):
            return
        from gptoss_tui.tui.widgets.vim_keys import VimKeys

        self.steps.end_group()
        self.vim = VimKeys(self, self._vim_changed) if on else None
        self._vim_changed()

    def _start_typing(self) -> None:
        if self.vim is not None:
            self.vim.start_typing()

    def _vim_changed(self) -> None:
        if self.listener is not None:
            self.listener.vim_changed()

    # Keys, pastes and the pointer

    async def take_key(self, event: events.Key) -> None:
        """Handle a key that arrived while nothing had the focus, as at start: it belongs to the draft."""
        self.focus()
        await self._on_key(event)

    async def take_paste(self, event: events.Paste) -> None:
        """Handle a paste that arrived while something else had the focus."""
        await self._on_paste(event)

    async def _on_key(self, event: events.Key) -> None:
        """Handle keys that depend on the draft here, so that they run in the order in which they were typed.

        Priority bindings would run before letters that were typed just before them.
        """
        if await self._is_taken(event):
            event.stop()
            event.prevent_default()
            return
        action = self.own_keys.get(event.key) or _EDITING_KEYS.get(event.key)
        if action is None:
            await super()._on_key(event)
            return
        event.stop()
        event.prevent_default()
        await self.run_action(action)

    async def _is_taken(self, event: events.Key) -> bool:
        """Whether the completion or Vim used the key. Esc is for both: it closes the list and ends insert mode."""
        taken = self.listener is not None and await self.listener.take_key(event.key)
        if self.vim is None or (taken and event.key != "escape"):
            return taken
        self._restart_blink()
        return await self.vim.take_key(event) or taken

    async def _on_paste(self, event: events.Paste) -> None:
        event.stop()
        event.prevent_default()
        text = to_terminal_text(event.text.replace("\r\n", "\n").replace("\r", "\n"))
        self.history.checkpoint()
        self._replace_via_keyboard(self.chips.fold(text), *self.selection)

    async def _on_mouse_down(self, event: events.MouseDown) -> None:
        await self.unmark()
        await super()._on_mouse_down(event)

    async def unmark(self) -> None:
        """End the selection that Vim keys made."""
        if self.vim is not None:
            await self.vim.stop_selecting()

    def on_click(self, event: events.Click) -> None:
        """Expand a chip on a double click."""
        if event.chain == 2:
            self.action_spell_out()

    def on_text_area_changed(self) -> None:
        """Report that the text has changed."""
        if self.listener is not None:
            self.listener.changed()

    def on_text_area_selection_changed(self) -> None:
        """Report that the cursor has moved."""
        if self.listener is not None:
            self.listener.changed()

    # Appearance

    def _restart_blink(self) -> None:
        self._blinks = 0
        super()._restart_blink()

    def _toggle_cursor_blink_visible(self) -> None:
        self._blinks += 1
        if self._blinks < BLINKS:
            super()._toggle_cursor_blink_visible()
        else:
            self._pause_blink()

    def on_resize(self, event: events.Resize) -> None:
        """Adapt the maximum height to the new size."""
        self.fit_screen()

    def fit_screen(self) -> None:
        """Set the maximum height that the size of the screen allows."""
        rows = max(MIN_ROWS, int(self.app.size.height * GROWTH))
        if self.styles.max_height is None or self.styles.max_height.value != rows:
            self.styles.max_height = rows

    def scroll_cursor_visible(self, center: bool = False, animate: bool = False) -> Offset:
        """Skip scrolling while the cursor is past the end, as during an undo; it is corrected before the next frame."""
        if self.cursor_location[0] >= self.wrapped_document.document.line_count:
            return Offset()
        return super().scroll_cursor_visible(center, animate)

    def get_line(self, line_index: int) -> Text:
        """A line with its chips, mentions and command highlighted."""
        line = super().get_line(line_index)
        plain = line.plain
        for start, end in self.chips.spans(plain):
            line.stylize(self._look("composer--chip"), start, end)
        if "@" in plain:
            for mention in find_mentions(plain):
                line.stylize(self._look("composer--mention"), mention.start, mention.end)
        if line_index == 0 and plain[:1] in ("/", "!"):
            end = plain.find(" ") if plain[0] == "/" and " " in plain else len(plain) if plain[0] == "/" else 1
            line.stylize(self._look("composer--command"), 0, end)
        return line

    def _look(self, name: str) -> Style:
        return self.get_component_rich_style(name, partial=True)
