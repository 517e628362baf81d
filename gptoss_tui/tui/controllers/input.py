"""From the composer to the agent: commands, shell lines and messages, saved drafts, the external editor."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from textual.content import Content
from textual.timer import Timer

from gptoss_tui.errors import GptOssError
from gptoss_tui.sanitize import to_terminal_line
from gptoss_tui.tui.composing.draft import Draft, DraftStore
from gptoss_tui.tui.composing.mentions import find_mentions
from gptoss_tui.tui.composing.message import Note, people_say
from gptoss_tui.tui.composing.requests import typed as typed_of
from gptoss_tui.tui.slash.registry import parse_call

if TYPE_CHECKING:
    from gptoss_tui.tui.blocks.notice import NoticeKind
    from gptoss_tui.tui.widgets.composer import Composer

DRAFT_SECONDS = 0.3
"""The delay from the last key until the draft is saved."""

KEPT_MESSAGES = 32

Spawn = Callable[[Coroutine[Any, Any, None], str], object]
RunCommand = Callable[[str, str], Coroutine[Any, Any, None]]
RunShell = Callable[[str], Coroutine[Any, Any, None]]


class InputView(Protocol):
    """What the controller needs from the screen around it."""

    def say(self, kind: NoticeKind, message: str, hint: str = "") -> None:
        """Show a message in the conversation."""
        ...


class Send(Protocol):
    """Sends a message to the model unchanged."""

    def __call__(self, text: str, *, later: bool) -> None: ...


Outside = Callable[[Callable[[], str]], str]
"""Runs a function that needs the terminal for itself. Raises EditorError where that is impossible."""


class InputController:
    """Sends what was typed to where it belongs, in the order in which it was typed."""

    def __init__(
        self,
        composer: Composer,
        view: InputView,
        spawn: Spawn,
        send: Send,
        outside: Outside,
        run_command: RunCommand,
        run_shell: RunShell,
        root: Path,
        context: Callable[[], int],
        drafts: DraftStore | None,
    ) -> None:
        self._composer = composer
        self._view = view
        self._spawn = spawn
        self._send = send
        self._outside = outside
        self._run_command = run_command
        self._run_shell = run_shell
        self._root = root
        self._context = context
        self._drafts = drafts
        self._notes: list[Note] = []
        self._sent: dict[str, tuple[str, tuple[Note, ...]]] = {}
        self._in_order = asyncio.Lock()
        self._timer: Timer | None = None
        if drafts is not None:
            self._restore(drafts.load())

    # Sending

    def submitted(self, text: str, *, later: bool) -> None:
        """Handle a draft that was sent."""
        call = parse_call(text)
        if call is not None:
            self._spawn(self._run_command(call.name, call.argument), "command")
        elif text.startswith("!") and text[1:].strip():
            self._spawn(self._shell(text), "shell")
        elif not self._notes and not find_mentions(text) and not self._in_order.locked():
            self._send(text, later=later)
        else:
            notes, self._notes = tuple(self._notes), []
            self._show_notes()
            self._spawn(self._compose(text, notes, later), "message")

    async def _shell(self, text: str) -> None:
        try:
            await self._run_shell(text[1:].strip())
        except GptOssError as error:
            self._view.say("warning", error.message, error.hint or "")
            if self._composer.is_empty:
                self._composer.set_draft(text)

    def offer(self, note: Note) -> None:
        """Attach a note to the next message, unless the user removes it."""
        self._notes.append(note)
        self._show_notes()

    def drop_note(self) -> None:
        """Remove the newest note: Backspace was pressed in the empty composer."""
        if self._notes:
            self._notes.pop()
            self._show_notes()

    def take_back(self, message: str) -> str:
        """The typed text of a message that was not sent; its notes are attached to the next message again."""
        typed, notes = self._sent.pop(message, (typed_of(message), ()))
        self._notes[:0] = notes
        self._show_notes()
        return typed

    async def _compose(self, text: str, notes: tuple[Note, ...], later: bool) -> None:
        from gptoss_tui.tui.composing.attachments import compose, room_for

        async with self._in_order:
            message = await asyncio.to_thread(compose, text, self._root, notes, room_for(self._context()))
            self._sent[message] = (text, notes)
            while len(self._sent) > KEPT_MESSAGES:
                del self._sent[next(iter(self._sent))]
            self._send(message, later=later)

    def _show_notes(self) -> None:
        titles = ", ".join(to_terminal_line(people_say(note.title)) for note in self._notes)
        shown = f" goes with the next message (Backspace drops it): {titles} " if titles else ""
        self._composer.border_title = Content(shown)

    # The draft on disk

    def changed(self) -> None:
        """Save the draft soon, because something was typed."""
        self._composer.set_class(self._composer.text.startswith("!"), "-shell")
        if self._drafts is None:
            return
        if self._timer is not None:
            self._timer.stop()
        self._timer = self._composer.set_timer(DRAFT_SECONDS, self._save_soon)

    def close(self) -> None:
        """Save the draft and release its slot."""
        if self._drafts is not None:
            self._drafts.save(self._draft())
            self._drafts.close()
            self._drafts = None

    def _save_soon(self) -> None:
        if self._drafts is not None:
            self._spawn(self._save(self._drafts, self._draft()), "draft")

    async def _save(self, drafts: DraftStore, draft: Draft) -> None:
        await asyncio.to_thread(drafts.save, draft)

    def _draft(self) -> Draft:
        text = self._composer.text
        return Draft(text, self._composer.chips.used(text))

    def _restore(self, draft: Draft) -> None:
        if draft.text:
            self._composer.chips.restore(draft.chips)
            self._composer.set_draft(draft.text + self._composer.text)

    # The external editor

    def edit_outside(self) -> None:
        """Open the draft, with chips expanded, in the user's editor, and replace it by the result."""
        from gptoss_tui.tui.composing.editor import EditorError, edit_text, editor_command

        chips, before = self._composer.chips, self._composer.text
        try:
            command = editor_command()
            edited = self._outside(lambda: edit_text(chips.expand(before), command))
        except EditorError as error:
            self._view.say("warning", error.message, error.hint or "")
            return
        self._composer.set_draft(chips.refold(edited, chips.used(before)))
        self._composer.focus()
