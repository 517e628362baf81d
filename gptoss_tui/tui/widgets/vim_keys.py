"""Vim keys for the composer: passes keys to `Vim` and does in the text area what it answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from textual import events
from textual.document._document import Location, Selection

from gptoss_tui.tui.vim.changes import Change
from gptoss_tui.tui.vim.editor import Mode, Step, Vim

if TYPE_CHECKING:
    from gptoss_tui.tui.widgets.composer import Composer

LABELS: dict[Mode, str] = {"insert": "INSERT", "normal": "NORMAL", "visual": "VISUAL", "lines": "VISUAL LINE"}


class VimKeys:
    """The Vim of one composer. `changed` is called when `label` has changed."""

    def __init__(self, composer: Composer, changed: Callable[[], None]) -> None:
        self._composer = composer
        self._changed = changed
        self._vim = Vim()
        self._label = self.label
        composer.steps.begin_group()

    @property
    def label(self) -> str:
        """The mode and the keys of an unfinished command."""
        return f"{LABELS[self._vim.mode]} {self._vim.pending}".rstrip()

    @property
    def mode(self) -> Mode:
        """The current mode."""
        return self._vim.mode

    def start_typing(self) -> None:
        """Go to insert mode: what comes next is new text."""
        self._vim.start_typing()
        self._composer.steps.begin_group()
        self._tell()

    async def stop_selecting(self) -> None:
        """Go from the visual modes to normal mode, because the selection is gone or was used."""
        if self.mode in ("visual", "lines"):
            await self._press("escape")

    async def take_key(self, event: events.Key) -> bool:
        """Handle a key. Returns False if it means what it means without Vim."""
        letter = event.key.removeprefix("alt+")
        if (
            self.mode == "insert"
            and letter != event.key
            and len(letter) == 1
            and event.key not in self._composer.own_keys
        ):
            # Esc and a letter pressed at once arrive as Alt with the letter.
            return await self._press("escape") and await self._press(letter)
        key = event.character if event.is_printable and event.character else event.key
        return await self._press(key)

    async def _press(self, key: str) -> bool:
        composer = self._composer
        text, was = composer.text, self.mode
        step = self._vim.press(key, text, self._offset(composer.cursor_location), composer.chips.spans(text))
        if step is not None:
            await self._do(step, was)
        self._tell()
        return step is not None

    async def _do(self, step: Step, was: Mode) -> None:
        composer = self._composer
        if self.mode == "insert" or step.change is not None:
            composer.steps.begin_group()
        if step.change is not None:
            self._edit(step.change)
        elif step.cursor is not None:
            start = step.cursor if step.selection is None else step.selection
            composer.selection = Selection(self._location(start), self._location(step.cursor))
            composer.record_cursor_width()
        if self.mode == "normal" or was == "insert":
            composer.steps.end_group()
        for _ in range(step.times if step.action else 0):
            await composer.run_action(step.action)
        composer.scroll_cursor_visible()

    def _edit(self, change: Change) -> None:
        composer = self._composer
        if change.edits:
            start, end = self._location(change.start), self._location(change.end)
            composer.replace(change.text, start, end, maintain_selection_offset=False)
        composer.selection = Selection.cursor(self._location(change.cursor))
        composer.record_cursor_width()

    def _tell(self) -> None:
        if self.label != self._label:
            self._label = self.label
            self._changed()

    def _offset(self, location: Location) -> int:
        return self._composer.document.get_index_from_location(location)  # type: ignore[attr-defined, no-any-return]

    def _location(self, offset: int) -> Location:
        return self._composer.document.get_location_from_index(offset)  # type: ignore[attr-defined, no-any-return]
