"""Commands of the person, from the composer's `!`: with their own shell, rights and environment, and no question."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from gptoss_tui.errors import ToolError, UsageError
from gptoss_tui.tools.shell.process import Launch, Limits, Outcome, run_process
from gptoss_tui.tools.shell.sandbox import BASH

USER_LIMITS = Limits(seconds=600.0)


async def run_for_user(
    command: str, directory: Path, on_output: Callable[[str], None], limits: Limits = USER_LIMITS
) -> Outcome:
    """Run a command that the person typed, unsandboxed as in their own terminal, without its stdin.

    Streams what it prints. Cancelling ends it and its process group. Raises UsageError when there is no command, and
    ToolError when it cannot be started.
    """
    if not command.strip() or "\0" in command:
        raise UsageError("There is no command", hint="write one after the !, for example `!git status`")
    try:
        return await run_process(user_launch(command, directory), limits, on_output)
    except OSError as error:
        raise ToolError(f"The command could not be started: {error}") from error


def user_launch(command: str, directory: Path) -> Launch:
    """`command` for the person's shell, with all of their rights."""
    shell = os.environ.get("SHELL", "")
    program = shell if os.path.basename(shell) in ("bash", "zsh", "dash", "ksh") and os.access(shell, os.X_OK) else BASH
    environment = {**os.environ, "PAGER": "cat", "GIT_PAGER": "cat", "TERM": "dumb"}
    return Launch([program, "-c", command], directory, environment, group=True)
