"""Undoing typed text in larger steps than the toolkit's: everything between two points at once."""

from __future__ import annotations

from textual.document._edit import Edit
from textual.document._history import EditHistory

STEPS = 100


class GroupedHistory(EditHistory):
    """Edits between `begin_group` and `end_group` are undone together; all others as in any text area."""

    def __init__(self) -> None:
        super().__init__(max_checkpoints=STEPS, checkpoint_timer=2.0, checkpoint_max_characters=100)
        self._grouping = False
        self._group: list[Edit] | None = None

    def begin_group(self) -> None:
        """Undo what follows as one."""
        self.checkpoint()
        self._grouping, self._group = True, None

    def end_group(self) -> None:
        """End the group, if there is one."""
        self.checkpoint()
        self._grouping, self._group = False, None

    def record(self, edit: Edit) -> None:
        before = self._undo_stack[-1] if self._undo_stack else None
        super().record(edit)
        newest = self._undo_stack[-1] if self._undo_stack else None
        if not self._grouping or newest is before or newest is None:
            return
        if self._group is not None and self._group is before:
            self._group += self._undo_stack.pop()
        else:
            self._group = newest
