"""The loop of the plain app: load, read a line, run a turn, ask, until the input ends."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from contextlib import aclosing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from gptoss_tui.agent import events as ev
from gptoss_tui.agent.attached import Note, join_message, note_block
from gptoss_tui.agent.commands import AgentPort
from gptoss_tui.agent.user_shell import UserShell
from gptoss_tui.errors import GptOssError, UsageError
from gptoss_tui.plain.commands import COMMANDS, run_command, turn_number
from gptoss_tui.plain.console import Console
from gptoss_tui.plain.prompts import saved_message
from gptoss_tui.plain.questions import Choice, decision, question, read_answer
from gptoss_tui.plain.speaker import Speaker
from gptoss_tui.plain.undoing import settle

if TYPE_CHECKING:
    from gptoss_tui.engine.types import Engine
    from gptoss_tui.settings import Settings

GRACE_SECONDS = 0.3
"""A line that a person ends sooner than this after a question was printed was not written in answer to it."""

_PROGRESS_STEP = 0.25
DONE, INTERRUPTED = 0, 130


class PlainFront:
    """One conversation on `agent`, in lines."""

    def __init__(self, agent: AgentPort, console: Console, workspace: Path | None = None) -> None:
        self._agent = agent
        self._console = console
        self._speaker = Speaker(console.say)
        self._queue: deque[str] = deque()
        self._request: ev.ApprovalRequest | None = None
        self._asked = 0.0
        self._why: Choice | None = None
        self._running = False
        self._over = False
        self._notes: list[Note] = []
        self._workspace = workspace or Path.cwd()
        self._shell = UserShell(self._workspace, lambda: agent, self._hear, self._notes.append)

    async def run(self, prompt: str | None = None) -> int:
        """Talk until the input ends or the person quits."""
        if prompt:
            self._queue.append(prompt)
        with _sigint(self.interrupt):
            while not self._over:
                if self._queue:
                    await self._turn(self._follow(self._agent.submit(self._with_notes(self._queue.popleft()))))
                else:
                    await self._wait_for_line("You: ")
        self._console.say()
        return DONE

    def interrupt(self) -> None:
        """Ctrl+C: stop the turn; without one say how to leave."""
        if self._shell.interrupt():
            pass
        elif self._running:
            self._agent.interrupt()
        else:
            self._console.say("")
            self._console.say("Ctrl+D or /quit ends the app.")
            self._console.prompt("You: ")

    async def _wait_for_line(self, prompt: str) -> None:
        self._console.prompt(prompt)
        line = await self._console.take()
        if line is None:
            self._over = True
        elif line.strip():
            await self._take(line)

    async def _turn(self, work: Coroutine[object, object, None]) -> None:
        """Run a turn or a command. A person's lines are taken meanwhile, those of a pipe where there is a question."""
        self._running = True
        turn = asyncio.ensure_future(work)
        try:
            while not turn.done():
                asks = self._request is not None
                waits: set[asyncio.Future[object]] = {cast("asyncio.Future[object]", turn)}
                if (asks or self._console.interactive) and not self._over:
                    waits.add(cast("asyncio.Future[object]", self._console.line()))
                await asyncio.wait(waits, timeout=0.1, return_when=asyncio.FIRST_COMPLETED)
                if len(waits) > 1 and self._console.line().done() and not turn.done():
                    await self._take_while_running(await self._console.take())
            await turn
        finally:
            self._running, self._request, self._why = False, None, None

    async def _follow(self, events: AsyncIterator[ev.Event]) -> None:
        try:
            async with aclosing(cast("AsyncGenerator[ev.Event, None]", events)) as stream:
                async for event in stream:
                    self._hear(event)
        except GptOssError as error:
            self._complain(error)

    def _hear(self, event: ev.Event) -> None:
        self._speaker.apply(event)
        match event:
            case ev.ApprovalRequest():
                self._request = event
                for line in question(event):
                    self._console.say(line)
                self._console.prompt("Your answer: ")
                self._asked = time.monotonic()
            case ev.ApprovalResolved():
                self._request = self._why = None
            case ev.TurnFinished():
                if event.reason == "interrupted":
                    for text in (*event.unsent, *self._queue):
                        self._console.say(f"Not sent: {text}")
                    self._queue.clear()
                else:
                    self._queue.extendleft(reversed(event.unsent))

    async def _take_while_running(self, line: str | None) -> None:
        if line is None:
            self._over = True
            if self._request is not None:
                self._agent.interrupt()
        elif self._request is not None:
            self._answer(self._request, line)
        elif line.strip():
            await self._take(line)

    def _answer(self, request: ev.ApprovalRequest, line: str) -> None:
        if self._console.interactive and time.monotonic() - self._asked < GRACE_SECONDS:
            self._console.say("You wrote that before you could read the question. Nothing was decided.")
            self._console.prompt("Your answer: ")
            return
        choice = self._why or read_answer(request, line)
        if choice is None:
            self._console.say("That is none of the answers. Nothing was decided.")
            self._console.prompt("Your answer: ")
        elif choice.asks_why and self._why is None:
            self._why = choice
            self._console.prompt("Why not: ")
        else:
            self._decide(request, choice, line if self._why else "")

    def _decide(self, request: ev.ApprovalRequest, choice: Choice, why: str) -> None:
        self._request = self._why = None
        try:
            self._agent.decide(request.item_id, decision(request, choice, why))
        except UsageError as error:
            self._complain(error)
        if choice.ends_turn:
            self._agent.interrupt()

    async def _take(self, line: str) -> None:
        """A line that is a command or a message."""
        word, _, rest = line.strip().partition(" ")
        try:
            if word == "/quit":
                self._over = True
                self._agent.interrupt()
            elif word == "/stop":
                self._agent.interrupt()
            elif word == "/queue" and rest:
                self._queue.append(rest)
            elif word == "/compact" and not self._running:
                await self._turn(self._follow(self._agent.compact(rest)))
            elif word.startswith("!"):
                await self._command(line.strip()[1:].strip())
            elif word in ("/undo", "/redo"):
                await self._undo(word, rest.strip())
            elif word.startswith("/") and word[1:] not in COMMANDS and (saved := self._saved(line)) is not None:
                self._send(saved)
            elif word.startswith("/"):
                await run_command(self._agent, self._console.say, line.strip(), running=self._running)
            else:
                self._send(line)
        except GptOssError as error:
            self._complain(error)

    def _saved(self, line: str) -> str | None:
        """The message of a saved prompt, empty when its text was only shown; None for other commands."""
        return saved_message(line.strip(), self._workspace, self._console.say)

    def _send(self, text: str) -> None:
        if self._running and text:
            self._agent.steer(text)
            self._console.say("The model gets this before its next step.")
        elif text:
            self._queue.append(text)

    async def _command(self, line: str) -> None:
        """Run a command of the person's own; what it printed goes with the next message."""
        if self._running:
            raise UsageError("Commands are not available while the model works", hint="/stop stops it")
        await self._turn(self._shell.run(line))

    def _with_notes(self, text: str) -> str:
        notes, self._notes[:] = list(self._notes), []
        return join_message(text, [note_block(note) for note in notes])

    async def _undo(self, word: str, argument: str) -> None:
        if self._running:
            raise UsageError(f"{word} is not available while the model works", hint="/stop stops it")
        if word == "/redo":
            await settle(self._agent.redo, self._console.say, self._ask, "back again")
            return
        turn = turn_number(argument)
        await settle(lambda choices: self._agent.undo(turn, choices), self._console.say, self._ask, "undone")

    async def _ask(self, prompt: str) -> str | None:
        self._console.prompt(prompt)
        line = await self._console.take()
        self._over = self._over or line is None
        return line

    def _complain(self, error: GptOssError) -> None:
        self._console.say(f"Error: {error.message}" + (f". {error.hint}" if error.hint else ""))


@contextmanager
def _sigint(call: Callable[[], None]) -> Iterator[None]:
    """Ctrl+C calls a function as long as the block runs."""
    loop = asyncio.get_running_loop()
    with suppress(NotImplementedError, RuntimeError):  # not the main thread
        loop.add_signal_handler(signal.SIGINT, call)
    try:
        yield
    finally:
        with suppress(NotImplementedError, RuntimeError):
            loop.remove_signal_handler(signal.SIGINT)


def run_plain(settings: Settings, prompt: str | None = None, resume: str | None = None) -> int:
    """The plain app on stdin and stdout; the exit code. `resume` is the id of a saved conversation."""
    try:
        return asyncio.run(_until_told(_run(settings, prompt, resume, Console(sys.stdin, sys.stdout))))
    except KeyboardInterrupt:  # while the model was loading
        return INTERRUPTED


async def _until_told(work: Coroutine[Any, Any, int]) -> int:
    """`work`, which a hang-up or SIGTERM ends in good order: what a command made by then is held back."""
    task, loop = asyncio.ensure_future(work), asyncio.get_running_loop()
    told: list[int] = []

    def end(number: int) -> None:
        told.append(number)
        task.cancel()

    for name in ("SIGTERM", "SIGHUP"):
        with suppress(NotImplementedError, RuntimeError, AttributeError):  # Windows, or not the main thread
            if signal.getsignal(number := getattr(signal, name)) != signal.SIG_IGN:  # as by nohup
                loop.add_signal_handler(number, end, number)
    try:
        return await task
    except asyncio.CancelledError:
        if not told:
            raise
        return 128 + told[0]


async def _run(settings: Settings, prompt: str | None, resume: str | None, console: Console) -> int:
    from gptoss_tui.agent.engines import open_engine
    from gptoss_tui.agent.factory import build_agent
    from gptoss_tui.harmony.tokenizer import load_tokenizer

    console.say("gptoss-tui, plain mode. /help lists what can be typed.")
    console.say(f"Workspace: {settings.workspace}")
    engine = open_engine(settings.engine_spec())
    try:
        await _load(engine, console, settings.model)
        agent = build_agent(settings, engine, load_tokenizer())
        try:
            if resume is not None:
                await run_command(agent, console.say, f"/resume {resume}", running=False)
            console.say(f"Mode: {agent.mode}. Effort: {agent.effort}.")
            return await PlainFront(agent, console, settings.workspace).run(prompt)
        finally:
            agent.close()
    finally:
        await engine.close()


async def _load(engine: Engine, console: Console, model: str) -> None:
    """Bring the model up, and say how far it is at every quarter."""
    console.say(f"Loading {model}.")
    due = _PROGRESS_STEP
    async for progress in engine.load():
        if progress.done and progress.info is not None:
            console.say(f"{progress.info.model} is ready on {progress.info.device}.")
        elif progress.fraction >= due:
            console.say(f"{progress.stage}: {progress.fraction:.0%}")
            due = progress.fraction + _PROGRESS_STEP
