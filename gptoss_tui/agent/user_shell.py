"""`!`: the user's own commands, shown in the conversation and offered to the model with the next message.

They run as in the user's terminal, with all of the user's rights. The mode and the rules decide whether they run, as
for commands of the model; if neither decides, the user is asked to confirm.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from pathlib import Path

from gptoss_tui.agent import events as ev
from gptoss_tui.agent.attached import OWN_TOOL, RAN, Note
from gptoss_tui.agent.commands import AgentPort
from gptoss_tui.errors import GptOssError, UsageError

Listener = Callable[[ev.Event], None]
READ_ONLY = "The approval mode is read-only: no command runs. Other modes ask first."


class UserShell:
    """Runs one command at a time. `show` is called with its events, `offer` with the note for the model."""

    def __init__(
        self, directory: Path, agent: Callable[[], AgentPort | None], show: Listener, offer: Callable[[Note], None]
    ) -> None:
        self._directory = directory
        self._agent = agent
        self._show = show
        self._offer = offer
        self._numbers = itertools.count(1)
        self._running: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """Whether a command is running."""
        return self._running is not None

    def interrupt(self) -> bool:
        """Stop the running command. Returns False when none is running."""
        if self._running is None:
            return False
        self._running.cancel()
        return True

    async def run(self, line: str) -> None:
        """Run a line in the shell, after the command that may be running. Raises UsageError before the agent exists."""
        agent = self._agent()
        if agent is None:
            raise UsageError(
                "Commands cannot run before the model is loaded",
                hint="the mode and the rules decide whether they may run",
            )
        while self._running is not None:
            await asyncio.wait({self._running})
        self._running = asyncio.create_task(self._permit_and_run(agent, line))
        try:
            await asyncio.wait({self._running})
            if not self._running.cancelled():
                self._running.result()
        finally:
            self._running.cancel()
            self._running = None

    async def _permit_and_run(self, agent: AgentPort, line: str) -> None:
        from gptoss_tui.tools.shell.user import user_effect

        item = f"user-{next(self._numbers)}"
        self._show(ev.ToolCall(item_id=item, tool=OWN_TOOL, arguments=line, summary=line))
        try:
            resolved = await agent.permit(item, OWN_TOOL, user_effect(line, self._directory), self._show)
        except asyncio.CancelledError:  # also withdraws an open question
            self._show(ev.ApprovalResolved(item_id=item, decision="deny", by="user"))
            self._finish(item, "cancelled", "[stopped by the user]", 0.0)
            raise
        if resolved.decision == "deny":
            why = READ_ONLY if resolved.by == "policy" else resolved.why or "You denied it."
            self._finish(item, "denied", why, 0.0)
        else:
            await self._run(item, line)

    async def _run(self, item: str, line: str) -> None:
        from gptoss_tui.tools.shell.user import run_for_user

        started = time.monotonic()
        self._show(ev.ToolStarted(item_id=item, tool=OWN_TOOL))

        def printed(text: str) -> None:
            self._show(ev.ToolOutputDelta(item_id=item, text=text))

        status: ev.ToolStatus = "error"
        text, ending, code = "", "", None
        try:
            outcome = await run_for_user(line, self._directory, printed)
            text, code = outcome.text, outcome.code
            ending = f"exit code {code}" if code is not None else "stopped: it took too long"
            status = "ok" if code == 0 else "error"
        except asyncio.CancelledError:
            status, ending = "cancelled", "stopped by the user"
            raise
        except GptOssError as error:
            text, ending = error.message, "not started"
        finally:
            shown = text if status == "ok" else f"{text.rstrip()}\n[{ending}]".lstrip()
            self._finish(item, status, shown, time.monotonic() - started, code)
            first = line.split("\n")[0]
            self._offer(Note(f"{RAN}{first} ({ending})", text))

    def _finish(self, item: str, status: ev.ToolStatus, output: str, seconds: float, code: int | None = None) -> None:
        ended = ev.ToolFinished(
            item_id=item, tool=OWN_TOOL, status=status, output=output, seconds=seconds, exit_code=code
        )
        self._show(ended)
