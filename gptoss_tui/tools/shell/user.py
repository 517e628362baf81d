"""Commands that the user types after `!` in the composer: run with their own shell, rights and environment."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from gptoss_tui.errors import ToolError, UsageError
from gptoss_tui.tools.base import Effect
from gptoss_tui.tools.shell.process import Launch, Limits, Outcome, run_process
from gptoss_tui.tools.shell.sandbox import BASH
from gptoss_tui.tools.shell.wrappers import command_words

USER_LIMITS = Limits(seconds=600.0)


def user_effect(command: str, directory: Path) -> Effect:
    """The effect that the policy decides about: the words of the command, as for the model's commands.

    It counts as sandboxed, although it is not: the user wrote the command and may use all that it can reach. A rule
    made from the answer therefore never lets one of the model's commands out of its sandbox. Raises UsageError when
    there is no command.
    """
    _require_command(command)
    bound = json.dumps(["user", command, str(directory)])
    return Effect(
        kind="command",
        title="Run your command",
        preview=command,
        preview_type="command",
        digest=hashlib.sha256(bound.encode(errors="surrogatepass")).hexdigest(),
        reach="sandbox",
        commands=command_words(command),
        details=(("in", str(directory)), ("sandbox", "none: you typed it, and it has your rights")),
    )


async def run_for_user(
    command: str, directory: Path, on_output: Callable[[str], None], limits: Limits = USER_LIMITS
) -> Outcome:
    """Run a command that the user typed, unsandboxed as in their own terminal, but without stdin.

    This asks for no approval: see `user_effect`. The output is streamed. Cancelling ends the command and its process
    group. Raises UsageError when there is no command, and ToolError when it cannot be started.
    """
    _require_command(command)
    try:
        return await run_process(user_launch(command, directory), limits, on_output)
    except OSError as error:
        raise ToolError(f"The command could not be started: {error}") from error


def _require_command(command: str) -> None:
    if not command.strip() or "\0" in command:
        raise UsageError("There is no command", hint="write one after the !, for example `!git status`")


def user_launch(command: str, directory: Path) -> Launch:
    """Return how to start `command` in the user's shell, with all of their rights."""
    shell = os.environ.get("SHELL", "")
    program = shell if os.path.basename(shell) in ("bash", "zsh", "dash", "ksh") and os.access(shell, os.X_OK) else BASH
    environment = {**os.environ, "PAGER": "cat", "GIT_PAGER": "cat", "TERM": "dumb"}
    return Launch([program, "-c", command], directory, environment, group=True)
