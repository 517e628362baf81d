"""Keeps the edits of a workspace, so that they can be undone and redone and survive a crash. No git needed.

store = UndoStore(root)
notices = store.recover()        # finishes or rolls back what a killed process began
store.begin("turn 7")
store.apply(planned)             # journaled, and kept under that turn
report = store.undo("turn 7")    # any turn, in any order; `report.conflicts` lists what the user must decide
"""

from gptoss_tui.undo.store import UndoStore, undo_directory
from gptoss_tui.undo.types import Choice, Conflict, TurnEdits, UndoReport

__all__ = ["Choice", "Conflict", "TurnEdits", "UndoReport", "UndoStore", "undo_directory"]
