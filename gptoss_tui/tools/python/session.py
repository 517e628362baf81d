"""Python for one conversation: an interpreter that is started when it is needed and replaced when it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from gptoss_tui.errors import ToolError
from gptoss_tui.tools.base import ToolResult
from gptoss_tui.tools.python.interpreter import Interpreter, Outcome
from gptoss_tui.tools.python.sandbox import Limits, Sandbox, SandboxError

NO_OUTPUT = "[No output. Print what you want to see.]"
_LOST = "variables, imports and files are gone"


class PythonSession:
    """Runs cells one at a time in the sandbox that `choose` gives. The choice is made once, at the first need."""

    def __init__(self, choose: Callable[[], Awaitable[Sandbox]], limits: Limits) -> None:
        self._choose = choose
        self._limits = limits
        self._sandbox: Sandbox | None = None
        self._interpreter: Interpreter | None = None
        self._choosing = asyncio.Lock()
        self._turnstile = asyncio.Lock()
        self._lost = False

    async def sandbox(self) -> Sandbox:
        """Where code will run. Raises ToolError when there is no sandbox."""
        async with self._choosing:
            if self._sandbox is None:
                self._sandbox = await self._choose()
            return self._sandbox

    async def run(self, code: str, on_output: Callable[[str], None]) -> ToolResult:
        """Run a cell. Raises ToolError when no interpreter can be had; cancelling ends the interpreter."""
        async with self._turnstile:
            interpreter = await self._started()
            lost, self._lost = self._lost, True
            self._interpreter = None
            outcome = await interpreter.run(code, on_output)
            self._lost = not outcome.alive
            if outcome.alive:
                self._interpreter = interpreter
        notes = [f"[Python was restarted before this call: {_LOST}.]"] if lost else []
        text = "\n".join((*notes, _report(outcome, self._limits)))
        return ToolResult(text, ok=outcome.ending == "ok", data={"ending": outcome.ending, "state_lost": self._lost})

    def reset(self) -> None:
        """Forget everything. What runs is ended."""
        if self._interpreter is not None:
            self._interpreter.kill()
        self._interpreter, self._lost = None, False

    async def _started(self) -> Interpreter:
        if self._interpreter is not None:
            return self._interpreter
        try:
            return await Interpreter.start(await self.sandbox(), self._limits)
        except SandboxError as error:
            raise ToolError(error.message, hint=error.hint) from error


def _report(outcome: Outcome, limits: Limits) -> str:
    """What the model reads: the output, and what it cannot see from it."""
    notes = []
    if outcome.dropped:
        notes.append(f"[{outcome.dropped} more bytes of output were dropped. Print less.]")
    if outcome.ending == "timeout":
        lost = "Variables are kept." if outcome.alive else f"Python had to be ended: {_LOST}."
        notes.append(f"[Stopped: the code ran for more than {limits.seconds:g} seconds. {lost}]")
    elif outcome.ending == "died":
        why = f" ({outcome.why})" if outcome.why else ""
        notes.append(f"[The Python process ended{why}: {_LOST}.]")
    text = outcome.text
    if notes:
        return "\n".join((text.rstrip("\n"), *notes)) if text else "\n".join(notes)
    return text or NO_OUTPUT
