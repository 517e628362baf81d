"""The patch language: parse, match, plan, apply as one transaction, diff. Pure: no agent, no model in it.

planned = plan(parse(text), root)   # reads the files, writes nothing, collects every error
print(unified_diff(planned))        # what a person approves; `digest(planned)` binds the answer to these bytes
apply(planned)                      # every file, or none
undo(planned)                       # every file as it was
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
