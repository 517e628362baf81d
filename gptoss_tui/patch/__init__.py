"""The patch language: parse, match, plan, apply as one transaction, diff. Independent of the agent and the model.

planned = plan(parse(text), root)   # reads the files, writes nothing, collects every error
print(unified_diff(planned))        # what the user approves; `digest(planned)` ties the approval to these bytes
apply(planned)                      # writes every file, or none
undo(planned)                       # restores every file
"""

from gptoss_tui.patch.apply import apply, undo
from gptoss_tui.patch.diff import unified_diff
from gptoss_tui.patch.parse import parse
from gptoss_tui.patch.plan import digest, plan
from gptoss_tui.patch.types import FileChange, OutdatedPlanError, Patch, Plan, ReplaceText

__all__ = [
    "FileChange",
    "OutdatedPlanError",
    "Patch",
    "Plan",
    "ReplaceText",
    "apply",
    "digest",
    "parse",
    "plan",
    "undo",
    "unified_diff",
]
