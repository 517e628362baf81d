"""Calls that the user changes before allowing them: creates the changed call and tells the model what ran instead."""

from __future__ import annotations

import difflib
from typing import Final

from gptoss_tui.agent.commands import Decision
from gptoss_tui.errors import ToolError
from gptoss_tui.tools.base import PreparedCall, RevisableCall, SelectableCall

_MAX_WORDS: Final = 4000
"""The maximum number of characters of a changed call that is repeated to the model; for longer ones a diff is."""

_CHANGED: Final = "[The user changed this call before allowing it. This is what ran instead of yours:]"


async def revised(call: PreparedCall, decision: Decision) -> PreparedCall:
    """Apply the user's change to `call`. Raises ToolError, with a message for the user, when that is not possible."""
    if decision.leave_out:
        if not isinstance(call, SelectableCall):
            raise ToolError("No part of this call can be left out.")
        return await call.without(decision.leave_out)
    if not isinstance(call, RevisableCall) or not call.source:
        raise ToolError("This call cannot be edited.")
    return await call.revise(decision.text)


def source_of(call: PreparedCall) -> str:
    """The text that the user may edit; empty when there is none."""
    return call.source if isinstance(call, RevisableCall) else ""


def selectable(call: PreparedCall) -> bool:
    """Whether the user may leave some of the call's files out."""
    effect = call.effect
    return isinstance(call, SelectableCall) and bool(source_of(call)) and effect is not None and len(effect.paths) > 1


def tell_revision(old: str, new: str) -> str:
    """The text in front of the result of a changed call that tells the model what ran instead of its own call.

    `old` and `new` are the sources of the two calls.
    """
    told = new
    if len(new) > _MAX_WORDS:
        lines = difflib.unified_diff(old.splitlines(), new.splitlines(), "yours", "what ran", lineterm="", n=1)
        told = "\n".join(lines)[:_MAX_WORDS]
    return f"{_CHANGED}\n{told}\n[Its result:]\n"
