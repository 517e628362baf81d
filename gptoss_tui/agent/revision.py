"""A call that a person changed before allowing it: making the changed call, and telling the model what ran instead."""

from __future__ import annotations

import difflib
from typing import Final

from gptoss_tui.agent.commands import Decision
from gptoss_tui.errors import ToolError
from gptoss_tui.tools.base import PreparedCall, RevisableCall, SelectableCall

_MAX_WORDS: Final = 4000
"""Characters of a changed call that are repeated to the model; a longer one is told as a difference."""

_CHANGED: Final = "[The user changed this call before allowing it. This is what ran instead of yours:]"


async def revised(call: PreparedCall, decision: Decision) -> PreparedCall:
    """The call that the person made of `call`. Raises ToolError when it cannot be made, in words for the person."""
    if decision.leave_out:
        if not isinstance(call, SelectableCall):
            raise ToolError("No part of this call can be left out.")
        return await call.without(decision.leave_out)
    if not isinstance(call, RevisableCall) or not call.source:
        raise ToolError("This call cannot be edited.")
    return await call.revise(decision.text)


def source_of(call: PreparedCall) -> str:
    """The text that a person may edit; empty when there is none."""
    return call.source if isinstance(call, RevisableCall) else ""


def selectable(call: PreparedCall) -> bool:
    """Whether a person may leave some files out."""
    effect = call.effect
    return isinstance(call, SelectableCall) and bool(source_of(call)) and effect is not None and len(effect.paths) > 1


def tell_revision(old: str, new: str) -> str:
    """What the model reads above the result of a call that is not the one that it made, by the sources of both."""
    told = new
    if len(new) > _MAX_WORDS:
        lines = difflib.unified_diff(old.splitlines(), new.splitlines(), "yours", "what ran", lineterm="", n=1)
        told = "\n".join(lines)[:_MAX_WORDS]
    return f"{_CHANGED}\n{told}\n[Its result:]\n"
