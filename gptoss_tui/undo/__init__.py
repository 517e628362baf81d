"""What was edited in a workspace, kept so that it can be taken back, made again, and survive a crash. No git needed.

store = UndoStore(root)
notices = store.recover()        # ends what a killed process began
store.begin("turn 7")
store.apply(planned)             # journaled, and kept under that turn
report = store.undo("turn 7")    # any turn, in any order; `report.conflicts` asks what cannot be told
"""

from gptoss_tui.undo.store import UndoStore, undo_directory
from gptoss_tui.undo.types import Choice, Conflict, TurnEdits, UndoReport

__all__ = ["Choice", "Conflict", "TurnEdits", "UndoReport", "UndoStore", "undo_directory"]
