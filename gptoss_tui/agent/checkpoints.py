"""Tracks what each turn changes in the workspace, so that files can be undone together with the conversation."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence

from gptoss_tui.agent.commands import TurnSummary
from gptoss_tui.agent.events import Notice
from gptoss_tui.errors import UndoError
from gptoss_tui.tools.watch import Changes, Watch
from gptoss_tui.undo import Choice, UndoReport, UndoStore

_NAMED = 5
"""The maximum number of files that a notice names."""

Choices = Mapping[str, Choice]


class Checkpoints:
    """Stores the edits of each turn under a name in the undo store, and undoes them by that name.

    Without a store, does nothing.
    """

    def __init__(self, store: UndoStore | None) -> None:
        self._store = store
        self._unsaved = secrets.token_hex(6)
        self._recovered = False
        self._watch = Watch(store.root) if store is not None else None
        self._told_cut = False
        self._looking: asyncio.Future[None] | None = None

    def begin(self, session_id: str | None, turn_id: str) -> str:
        """Assign all following edits to this turn. Returns the name under which they are stored."""
        name = f"{session_id or self._unsaved}/{turn_id}"
        if self._store is not None:
            self._store.begin(name)
        return name

    async def recover(self) -> tuple[Notice, ...]:
        """Finish what a killed process left unfinished in the undo store; called before the first edit.

        Returns notices about what was done, or why it could not be done.
        """
        if self._store is None or self._recovered:
            return ()
        self._recovered = True
        try:
            return tuple(Notice(text=text) for text in await asyncio.to_thread(self._store.recover))
        except UndoError as error:
            return (Notice(text=error.message, hint=error.hint or ""),)

    def begin_looking(self) -> None:
        """Start `look` in the background, so that the later `look` has less to read."""
        if self._watch is not None:
            self._looking = asyncio.ensure_future(asyncio.to_thread(self._watch.look))

    async def look(self) -> None:
        """Take a snapshot of the files before a command or another program may change them."""
        if self._watch is not None:
            await asyncio.to_thread(self._watch.look)

    async def keep_changes(self) -> tuple[tuple[str, ...], tuple[Notice, ...]]:
        """Store what changed since `look` as an edit of the turn. Returns its files, and notices for the user."""
        if self._watch is None or self._store is None:
            return (), ()
        changes = await asyncio.to_thread(self._watch.changes)
        if changes.writes:
            try:
                await asyncio.to_thread(self._store.note, changes.writes, changes.folders)
            except UndoError as error:
                what = f"What the command changed cannot be taken back: {error.message}"
                return (), (Notice(text=what, hint=error.hint or ""),)
        notices = tuple(_not_kept(changes, told=self._told_cut))
        self._told_cut = self._told_cut or changes.cut
        return changes.paths, notices

    def undo(self, name: str, files: Sequence[str], choices: Choices) -> UndoReport | None:
        """Undo the edits with that name. Returns None when there are none, or when they are already undone.

        `files` are the files that the turn is known to have changed. Raises UndoError, also when the turn's edits are
        no longer stored.
        """
        undone = self._undone(name)
        if undone is None and files:
            raise UndoError(
                f"The turn's changes are no longer stored: {', '.join(files)}; nothing was changed",
                hint="a rewind drops the turn and leaves the files as they are",
            )
        return self._store.undo(name, choices) if self._store is not None and undone is False else None

    def redo(self, name: str, choices: Choices) -> UndoReport | None:
        """Redo the edits with that name. Returns None when none are undone. Raises UndoError."""
        return self._store.redo(name, choices) if self._store is not None and self._undone(name) else None

    def _undone(self, name: str) -> bool | None:
        """Whether the edits with that name are undone; None when none are stored."""
        kept = self._store.turns() if self._store is not None else ()
        return next((edits.undone for edits in kept if edits.turn == name), None)


def _not_kept(changes: Changes, *, told: bool) -> Iterator[Notice]:
    """Notices about changes that cannot be undone. `told`: the user already knows that the workspace is too large."""
    if changes.missed:
        named = ", ".join(changes.missed[:_NAMED])
        more = f" and {len(changes.missed) - _NAMED} more" if len(changes.missed) > _NAMED else ""
        yield Notice(
            text=f"/undo cannot restore these changes: {named}{more}",
            hint="files over 2 MiB, with several names, or beyond the first 64 MiB of a workspace are not stored",
        )
    if changes.cut and not told:
        yield Notice(text="The workspace is too large to scan completely: /undo knows only some of the changes")


class GoingBack:
    """Undoes or redoes the edits of several turns, up to the first turn with conflicts for the user to resolve.

    `edits_of` returns the name of a turn's edits. `settled` has the numbers of the turns that are done, also after an
    error; `reports` has a report for each turn that had edits.
    """

    def __init__(self, checkpoints: Checkpoints, edits_of: Callable[[int], str], choices: Choices) -> None:
        self._checkpoints = checkpoints
        self._edits_of = edits_of
        self._choices = choices
        self.settled: list[int] = []
        self.reports: list[UndoReport] = []

    async def undo(self, turns: Sequence[TurnSummary]) -> bool:
        """Undo `turns`, newest first. Returns whether all of them are settled. Raises UndoError."""
        for turn in reversed(turns):
            name = self._edits_of(turn.number)
            report = await asyncio.to_thread(self._checkpoints.undo, name, turn.files, self._choices)
            if not self._settle(turn, report):
                return False
        return True

    async def redo(self, turns: Sequence[TurnSummary]) -> bool:
        """Redo `turns`, oldest first. Returns whether all of them are settled. Raises UndoError."""
        for turn in turns:
            report = await asyncio.to_thread(self._checkpoints.redo, self._edits_of(turn.number), self._choices)
            if not self._settle(turn, report):
                return False
        return True

    def _settle(self, turn: TurnSummary, report: UndoReport | None) -> bool:
        if report is not None:
            self.reports.append(report)
            if not report.done:
                return False
        self.settled.append(turn.number)
        return True
