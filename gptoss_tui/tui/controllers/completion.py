"""Completion in the composer: commands after `/`, files after `@`. Files are searched in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gptoss_tui.sanitize import to_terminal_line
from gptoss_tui.tui.composing.mentions import OpenMention, open_mention, shown_path, spell
from gptoss_tui.tui.slash.complete import Suggestion, suggest
from gptoss_tui.tui.widgets.choices import Choice, ChoiceList

if TYPE_CHECKING:
    from gptoss_tui.tui.composing.files import FileFinder
    from gptoss_tui.tui.composing.fuzzy import Match
    from gptoss_tui.tui.slash.port import SlashPort
    from gptoss_tui.tui.widgets.composer import Composer

MAX_FILES = 40
WAIT_SECONDS = 0.4
"""How long Tab and Enter wait for a search in progress."""

Kind = Literal["", "command", "file"]
_SPECIAL = ("tab", "enter", "up", "down", "escape")


@dataclass(slots=True)
class _Open:
    """The current offers: suggestions for commands; for files, the matches and the mention that they complete."""

    kind: Kind = ""
    suggestions: list[Suggestion] | None = None
    files: list[Match] | None = None
    mention: OpenMention | None = None


class CompletionController:
    """Owns the list above the composer. Keys come here first; those that the list does not use go to the composer.

    `turned` is called when the list was opened or closed.
    """

    def __init__(
        self,
        composer: Composer,
        view: ChoiceList,
        port: SlashPort,
        make_finder: Callable[[], FileFinder],
        turned: Callable[[], None],
    ) -> None:
        self._composer = composer
        self._view = view
        self._port = port
        self._make_finder = make_finder
        self._turned = turned
        self._was_open = False
        self._finder: FileFinder | None = None
        self._open = _Open()
        self._seen: tuple[str, tuple[int, int]] = ("", (0, 0))
        self._recalled = ""
        self._dismissed: int | None = None
        self._search: asyncio.Task[None] | None = None

    @property
    def kind(self) -> Kind:
        """What is offered; empty while the list is closed."""
        return self._open.kind

    @property
    def is_open(self) -> bool:
        """Whether the list is shown."""
        return bool(self._open.kind)

    def recalled(self) -> None:
        """Note that the draft was set and not typed: nothing is offered until it changes."""
        self._recalled = self._composer.text
        self._close()

    def follow(self) -> None:
        """Offer completions for the current draft and cursor."""
        composer = self._composer
        if not composer.is_typing:
            self._close()
            return
        now = (composer.text, composer.cursor_location)
        if now == self._seen:
            return
        self._seen = now
        if composer.text == self._recalled and self._recalled:
            self._close()
            return
        self._recalled = ""
        if self._is_command(composer.text):
            self._offer_commands(composer.text)
            return
        mention = open_mention(composer.before_cursor())
        if mention is None:
            self._dismissed = None
            self._close()
        elif mention.start != self._dismissed:
            self._offer_files(mention)

    async def take_key(self, key: str) -> bool:
        """Handle a key before the composer gets it. Returns True if the list used it."""
        if key not in _SPECIAL:
            return False
        self.follow()
        if key in ("tab", "enter") and self._search is not None and not self._search.done():
            await asyncio.wait({self._search}, timeout=WAIT_SECONDS)
        if not self.is_open:
            return False
        match key:
            case "up":
                self._view.move(-1)
            case "down":
                self._view.move(1)
            case "escape":
                self._dismissed = self._open.mention.start if self._open.mention else -1
                self._close()
            case _:
                return self._take(self._view.selected, run=key == "enter")
        return True

    def take_row(self, index: int) -> None:
        """Take the row that was clicked."""
        self._take(index, run=False)
        self._composer.focus()

    def close(self) -> None:
        """Close the list and stop searching."""
        self._close()

    def _is_command(self, text: str) -> bool:
        """Whether a command is being typed: one row, the cursor at its end, the list not closed by Escape."""
        if not text.startswith("/"):
            if self._dismissed == -1:
                self._dismissed = None
            return False
        at_end = self._composer.cursor_location == self._composer.document.end
        return "\n" not in text and at_end and self._dismissed != -1

    def _offer_commands(self, text: str) -> None:
        self._stop_search()
        if text == "/":
            self._port.reload()
        found = suggest(text, self._port.registry, self._port)
        if found:
            self._open = _Open("command", suggestions=found)
            self._show([one.choice for one in found])
        else:
            self._close()

    def _offer_files(self, mention: OpenMention) -> None:
        self._stop_search()
        self._search = asyncio.create_task(self._find(mention))

    async def _find(self, mention: OpenMention) -> None:
        if self._finder is None:
            self._finder = self._make_finder()
        found = await asyncio.to_thread(self._finder.search, mention.query, MAX_FILES)
        if found:
            self._open = _Open("file", files=found, mention=mention)
            self._show([_file_row(match) for match in found])
        else:
            self._close()

    def _show(self, rows: list[Choice]) -> None:
        self._view.show(rows)
        below = self._composer.screen.size.height - self._composer.region.y  # it is docked at the bottom
        self._view.styles.offset = (0, -below)
        self._view.display = True
        self._tell()

    def _close(self) -> None:
        self._stop_search()
        self._open = _Open()
        self._view.display = False
        self._tell()

    def _tell(self) -> None:
        if self.is_open != self._was_open:
            self._was_open = self.is_open
            self._turned()

    def _stop_search(self) -> None:
        task, self._search = self._search, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    def _take(self, index: int, *, run: bool) -> bool:
        """Put a row into the draft. Returns False if the key should go on, to `run` an entry that is complete."""
        opened = self._open
        if opened.suggestions:
            return self._take_command(opened.suggestions[index], run=run)
        if opened.files and opened.mention:
            return self._take_file(opened.files[index].text, opened.mention, run=run)
        return False

    def _take_command(self, suggestion: Suggestion, *, run: bool) -> bool:
        if run and suggestion.complete:
            if self._composer.text.rstrip() != suggestion.text.rstrip():
                self._composer.set_draft(suggestion.text.rstrip())
            self._close()
            return False
        self._composer.set_draft(suggestion.text)
        self._seen, self._recalled = ("", (0, 0)), ""
        self.follow()
        return True

    def _take_file(self, path: str, mention: OpenMention, *, run: bool) -> bool:
        written = spell(path)
        typed = self._composer.before_cursor()[mention.start :]
        if run and typed == written:
            self._close()
            return False
        if path.endswith("/"):
            written = written.removesuffix('"')  # the path continues
        else:
            written += " "
        self._composer.replace_before_cursor(mention.start, written)
        self._close()
        return True


def _file_row(match: Match) -> Choice:
    """A row for a path; if it is shown with escapes, no letters are highlighted."""
    shown = to_terminal_line(shown_path(match.text))
    return Choice(shown, positions=match.positions if shown == match.text else ())
