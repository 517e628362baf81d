"""All built-in commands."""

from __future__ import annotations

from gptoss_tui.tui.slash import conversation, files, model, output, skills, status, tools, view

BUILTIN = (
    *model.COMMANDS,
    *conversation.COMMANDS,
    *status.COMMANDS,
    *files.COMMANDS,
    *output.COMMANDS,
    *tools.COMMANDS,
    *skills.COMMANDS,
    *view.COMMANDS,
)
"""In the order of the help."""
