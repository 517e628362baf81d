"""Python for one conversation: an interpreter that is started on first use and replaced when it is lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from gptoss_tui.errors import ToolError
from gptoss_tui.tools.base import Artefact, ToolResult
from gptoss_tui.tools.python.interpreter import Interpreter, Outcome
from gptoss_tui.tools.python.sandbox import Limits, Sandbox, SandboxError

NO_OUTPUT = "[No output. Print what you want to see.]"
_FIGURE_TYPE = "image/png"
_LOST = "variables, imports and files are gone"


class PythonSession:
    """Runs cells one at a time in the sandbox that `choose` returns; it is called once, on first use.

    Unless `stateful`, every cell gets its own interpreter. `figures` is the folder that pictures are written to; it is
    created when there is a picture.
    """

    def __init__(
        self,
        choose: Callable[[], Awaitable[Sandbox]],
        limits: Limits,
        *,
        stateful: bool = True,
        figures: Path | None = None,
    ) -> None:
        self._choose = choose
        self._limits = limits
        self._stateful = stateful
        self._figures = figures
        self._drawn = 0
        self._sandbox: Sandbox | None = None
        self._interpreter: Interpreter | None = None
        self._starting: asyncio.Task[Interpreter] | None = None
        self._recovery: asyncio.Task[None] | None = None
        self._choosing = asyncio.Lock()
        self._turnstile = asyncio.Lock()
        self._lost = False
        self._interrupted = False

    async def sandbox(self) -> Sandbox:
        """The sandbox in which code will run. Raises ToolError when there is none."""
        async with self._choosing:
            if self._sandbox is None:
                self._sandbox = await self._choose()
            return self._sandbox

    def warm(self) -> None:
        """Start the interpreter for the next cell while the user still reads the code. Errors surface in `run`."""
        if self._interpreter is None and self._starting is None and self._recovery is None:
            self._starting = asyncio.create_task(self._start())
            self._starting.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def run(self, code: str, on_output: Callable[[str], None]) -> ToolResult:
        """Run a cell. Raises ToolError when no interpreter can be started.

        Cancelling interrupts the cell, as Ctrl+C would. The state is kept if the cell then ends soon, else it is lost.
        """
        async with self._turnstile:
            await self._recovered()
            interpreter = await self._started()
            notes = self._notes()
            self._interpreter, self._lost = None, self._stateful
            try:
                outcome = await interpreter.run(code, on_output)
            except asyncio.CancelledError:
                self._recovery = asyncio.create_task(self._recover(interpreter))
                raise
            self._keep(interpreter, alive=outcome.alive)
        files = await asyncio.to_thread(self._write, outcome.figures)
        text = "\n".join((*notes, _report(outcome, self._limits, files)))
        data = {"ending": outcome.ending, "state_lost": self._lost, "files": files}
        artefacts = tuple(Artefact(path, _FIGURE_TYPE, len(d)) for path, d in zip(files, outcome.figures, strict=False))
        return ToolResult(text, ok=outcome.ending == "ok", data=data, artefacts=artefacts)

    def reset(self) -> None:
        """Forget all state and end whatever is running."""
        if self._recovery is not None:
            self._recovery.cancel()
        if self._interpreter is not None:
            self._interpreter.kill()
        if self._starting is not None and not self._starting.cancel() and not self._starting.exception():
            self._starting.result().kill()
        self._interpreter = self._starting = self._recovery = None
        self._lost = self._interrupted = False

    async def _start(self) -> Interpreter:
        return await Interpreter.start(await self.sandbox(), self._limits)

    async def _started(self) -> Interpreter:
        """Raises ToolError."""
        if self._interpreter is not None:
            return self._interpreter
        starting, self._starting = self._starting, None
        try:
            return await (starting or self._start())
        except SandboxError as error:
            raise ToolError(error.message, hint=error.hint) from error

    def _keep(self, interpreter: Interpreter, *, alive: bool) -> None:
        """Keep or discard an interpreter after its cell."""
        if alive and self._stateful:
            self._interpreter, self._lost = interpreter, False
        elif alive:
            interpreter.kill()
        else:
            self._lost = self._stateful

    async def _recover(self, interpreter: Interpreter) -> None:
        """Interrupt a cancelled cell. If this is cancelled as well, the interpreter is killed."""
        try:
            alive = await interpreter.interrupt()
        except asyncio.CancelledError:
            interpreter.kill()
            raise
        self._interrupted = alive and self._stateful
        self._keep(interpreter, alive=alive)

    async def _recovered(self) -> None:
        if self._recovery is not None:
            recovery, self._recovery = self._recovery, None
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.shield(recovery)

    def _notes(self) -> list[str]:
        """Notes that the model must read before the output."""
        notes = []
        if self._lost:
            notes.append(f"[Python was restarted before this call: {_LOST}.]")
        elif self._interrupted:
            notes.append("[The user interrupted the call before this one. Variables are kept.]")
        self._interrupted = False
        return notes

    def _write(self, figures: tuple[bytes, ...]) -> list[str]:
        """Write figures to files that only their owner can read. Returns the paths."""
        files = []
        for data in figures:
            if self._figures is None:
                break
            self._figures.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._drawn += 1
            path = self._figures / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-{self._drawn}.png"
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
                file.write(data)
            files.append(str(path))
        return files


def _report(outcome: Outcome, limits: Limits, files: list[str]) -> str:
    """The text that the model reads: the output, and notes on what the output does not show."""
    notes = [f"[The figure is shown to the user, as {path}]" for path in files]
    if outcome.dropped:
        notes.append(f"[{outcome.dropped} more bytes of output were dropped. Print less.]")
    if outcome.ending == "timeout":
        lost = "Variables are kept." if outcome.alive else f"Python had to be ended: {_LOST}."
        notes.append(f"[Stopped: the code ran for more than {limits.seconds:g} seconds. {lost}]")
    elif outcome.ending == "memory":
        lost = "Variables are kept." if outcome.alive else f"Python had to be ended: {_LOST}."
        notes.append(f"[Stopped: more than {limits.memory >> 20} MiB of memory were needed. {lost}]")
    elif outcome.ending == "died":
        why = f" ({outcome.why})" if outcome.why else ""
        notes.append(f"[The Python process ended{why}: {_LOST}.]")
    text = outcome.text
    if notes:
        return "\n".join((text.rstrip("\n"), *notes)) if text else "\n".join(notes)
    return text or NO_OUTPUT
