"""One session of a client: its agent, the running turn, and the open approval question."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final, cast

from acp import RequestError
from acp.interfaces import Client
from acp.schema import (
    AvailableCommand,
    AvailableCommandInput,
    AvailableCommandsUpdate,
    ConfigOptionUpdate,
    CurrentModeUpdate,
    PromptResponse,
    SessionConfigOptionSelect,
    SessionInfoUpdate,
    SessionModeState,
    StopReason,
    UnstructuredCommandInput,
    Usage,
)

from gptoss_tui.acp.content import Block, message_of, room_for
from gptoss_tui.acp.loading import show_load
from gptoss_tui.acp.options import EFFORT, MODE, MODEL, config_options, mode_state
from gptoss_tui.acp.permission import decision, options, question
from gptoss_tui.acp.undoing import ask_editor, go_back
from gptoss_tui.acp.updates import Translator, with_hint
from gptoss_tui.agent import events as ev
from gptoss_tui.agent.agent import Agent
from gptoss_tui.agent.attached import split_message
from gptoss_tui.agent.commands import Decision, ResumedSession
from gptoss_tui.agent.policy.modes import MODES
from gptoss_tui.agent.saved_prompts import own_prompts_folder, saved_prompts
from gptoss_tui.agent.sessions import title_of
from gptoss_tui.engine.shared import EngineSeat
from gptoss_tui.errors import GptOssError, UndoError, UsageError
from gptoss_tui.harmony.messages import EFFORTS
from gptoss_tui.plain.commands import COMMANDS, run_command
from gptoss_tui.plain.prompts import saved_message
from gptoss_tui.sanitize import to_terminal_line, to_terminal_text
from gptoss_tui.settings import Settings
from gptoss_tui.undo import Choice, Conflict

_SHARED: Final = ("context", "turns", "tools", "skills", "rules", "revoke", "effort", "mode")
"""The commands of the other user interfaces that make sense here, where the client keeps the list of sessions."""

_OWN: Final = {
    "compact": ("[what matters]", "let the model sum the conversation up"),
    "undo": ("[turn]", "take the last turn back, with its files"),
    "redo": ("", "bring back what was undone"),
}
_NO_TOKENS: Final = (0, 0, 0)

Build = Callable[[Settings], tuple[Agent, EngineSeat]]


class AcpSession:
    """Talks to `client` as session `session_id`.

    `build` makes the agent for given settings; `models` are those that can be chosen. `terminals` means that the client
    can draw command output as a terminal.
    """

    def __init__(
        self,
        session_id: str,
        settings: Settings,
        build: Build,
        client: Client,
        *,
        models: Sequence[str] = (),
        terminals: bool = False,
    ) -> None:
        self.id = session_id
        self._settings = settings
        self._build = build
        self._client = client
        self._models = models
        self._agent, self._seat = build(settings)
        self._root = settings.workspace.resolve()
        self._translator = Translator(self._root, terminals=terminals)
        self._turn: asyncio.Task[PromptResponse] | None = None
        self._waiting: asyncio.Task[Any] | None = None
        self._question: asyncio.Task[None] | None = None
        self._cancelled = False
        self._loads = self._commands = 0
        self._spent = _NO_TOKENS

    # -- what the client asks for -----------------------------------------------------------------------------------

    async def prompt(self, blocks: Sequence[Block]) -> PromptResponse:
        """Run a turn or a slash command. Raises RequestError, also while another turn is running and not cancelled."""
        while self._turn is not None:
            if not self._cancelled:
                raise RequestError(-32600, "A turn is running in this session; cancel it or wait for its end")
            await asyncio.wait({self._turn})
        self._cancelled, self._spent = False, _NO_TOKENS
        self._turn = turn = asyncio.create_task(self._run(blocks), name=f"prompt {self.id}")
        try:
            return await asyncio.shield(turn)
        except asyncio.CancelledError:  # the client is gone
            turn.cancel()
            await asyncio.wait({turn})
            raise
        finally:
            if self._turn is turn:
                self._turn = None

    @property
    def busy(self) -> bool:
        """Whether a turn is running."""
        return self._turn is not None

    def cancel(self) -> None:
        """Cancel the running turn, whose prompt is then answered with `cancelled`. Without a turn, do nothing."""
        if self._turn is not None:
            self._cancelled = True
            self._agent.interrupt()
            if self._waiting is not None:
                self._waiting.cancel()

    def resume(self, session_id: str) -> ResumedSession:
        """Load a saved conversation into the agent. Raises UsageError or SessionError."""
        return self._agent.resume(session_id)

    async def replay(self, resumed: ResumedSession) -> None:
        """Send the client what was said and done before."""
        for event in resumed.events:
            for update in self._translator.apply(event, replay=True):
                await self._send(update)
        for notice in resumed.notices:
            await self._show(ev.Notice(text=notice))

    @property
    def modes(self) -> SessionModeState:
        """The approval modes, with the current one."""
        return mode_state(self._agent.mode, self._agent.modes)

    @property
    def config_options(self) -> list[SessionConfigOptionSelect]:
        """All options that can be set, with their current values."""
        agent = self._agent
        return config_options(agent.mode, agent.modes, self._settings.model, self._models, agent.effort)

    async def choose(self, option: str, value: str) -> None:
        """Set a mode, a model or an effort. Raises UsageError, with nothing changed."""
        if option == MODE and (mode := next((one for one in MODES if one == value), None)):
            self._agent.mode = mode
        elif option == EFFORT and (effort := next((one for one in EFFORTS if one == value), None)):
            self._agent.effort = effort
        elif option == MODEL and value in (*self._models, self._settings.model):
            self._use_model(value)
        else:
            raise UsageError(f"There is no {to_terminal_line(option)} {to_terminal_line(value)!r} to choose")

    async def announce(self) -> None:
        """Send the client the list of slash commands."""
        shared = {name: (COMMANDS[name].form, COMMANDS[name].help) for name in _SHARED}
        prompts = await asyncio.to_thread(saved_prompts, own_prompts_folder(), self._root)
        saved = {prompt.name: (prompt.takes, prompt.about) for prompt in prompts}
        known = [
            AvailableCommand(name=name, description=about, input=_input(form))
            for name, (form, about) in (saved | _OWN | shared).items()
        ]
        with contextlib.suppress(ConnectionError):
            await self._send(
                AvailableCommandsUpdate(session_update="available_commands_update", available_commands=known)
            )

    async def close(self) -> None:
        """End the turn, and the processes that tools keep running."""
        self.cancel()
        if self._turn is not None:
            await asyncio.wait({self._turn})
        self._agent.close()

    # -- a turn -----------------------------------------------------------------------------------------------------

    async def _run(self, blocks: Sequence[Block]) -> PromptResponse:
        try:
            info = await self._seat.info()
            text = message_of(blocks, self._root, room_for(info.context if info else None))
            name, _, argument = text.strip().removeprefix("/").partition(" ")
            if text.strip().startswith("/") and name in (*_OWN, *_SHARED):
                return await self._run_command(name, argument.strip())
            lines: list[str] = []
            saved = await asyncio.to_thread(saved_message, text.strip(), self._root, lines.append)
            if saved == "":  # a project's prompt that is new to the user: its text was only shown
                return await self._say(lines)
            text = saved or text
            await self._load()
            return await self._follow(self._agent.submit(text))
        except asyncio.CancelledError:
            if not self._cancelled:
                raise
            return self._response("cancelled")
        except ConnectionError:  # the client is gone
            return self._response("cancelled")
        except GptOssError as error:
            raise as_request_error(error) from error

    async def _run_command(self, name: str, argument: str) -> PromptResponse:
        if name == "compact":
            await self._load()
            return await self._follow(self._agent.compact(argument))
        lines: list[str] = []
        try:
            if name in _OWN:
                lines = await go_back(self._agent, name, argument, self._ask_about_file)
            else:
                await run_command(self._agent, lines.append, f"/{name} {argument}", running=False)
        except (UsageError, UndoError) as error:
            lines.append(with_hint(error.message, error.hint))
        if name == "mode":
            await self._send(CurrentModeUpdate(session_update="current_mode_update", current_mode_id=self._agent.mode))
        if name in ("mode", "effort"):
            await self._send(
                ConfigOptionUpdate(session_update="config_option_update", config_options=[*self.config_options])
            )
        return await self._say(lines)

    async def _say(self, lines: Sequence[str]) -> PromptResponse:
        """Send the output of a command, which is not a turn."""
        self._commands += 1
        item_id = f"command.{self._commands}"
        await self._show(ev.AnswerDone(item_id=item_id, text="\n\n".join(lines), tokens=0, seconds=0.0))
        return self._response("end_turn")

    async def _load(self) -> None:
        """Make sure that the model is loaded. If it has to be loaded, the client sees the progress."""
        if await self._seat.info() is not None:
            return
        self._loads += 1
        load = show_load(self._seat, self._settings.model, f"load.{self._loads}", self._send)
        self._waiting = asyncio.create_task(load)
        try:
            if self._cancelled:
                self._waiting.cancel()
            await self._waiting
        finally:
            self._waiting.cancel()
            await asyncio.gather(self._waiting, return_exceptions=True)
            self._waiting = None

    async def _follow(self, events: AsyncIterator[ev.Event]) -> PromptResponse:
        """Show a turn's events until it is over. Closing this early, as when the client is gone, interrupts it."""
        reason: StopReason = "end_turn"
        calls_ended = False
        try:
            async with aclosing(cast("AsyncGenerator[ev.Event, None]", events)) as stream:
                async for event in stream:
                    await self._show(event)
                    self._ask_or_count(event)
                    match event:
                        case ev.TurnStarted():
                            await self._begin(event)
                        case ev.CompactionStarted(automatic=False) if self._cancelled:
                            self._agent.interrupt()
                        case ev.RunawayDetected(asked=True) | ev.ToolFinished(status="cancelled"):
                            calls_ended = True
                        case ev.TurnFinished():
                            reason = _stop_reason(event, calls_ended)
        finally:
            await self._drop_question()
        return self._response("cancelled" if self._cancelled else reason)

    async def _begin(self, event: ev.TurnStarted) -> None:
        """Handle the start of a turn: from now on it can be interrupted, and the first turn names the session."""
        if self._cancelled:
            self._agent.interrupt()
        if len(self._agent.turns()) == 1:
            title = to_terminal_line(title_of(split_message(event.text)[0]))
            await self._send(SessionInfoUpdate(session_update="session_info_update", title=title))

    def _ask_or_count(self, event: ev.Event) -> None:
        match event:
            case ev.ApprovalRequest():
                self._question = asyncio.create_task(self._ask(event), name=f"question {self.id}")
            case ev.StepFinished():
                read, written, cached = self._spent
                self._spent = (
                    read + event.prompt_tokens,
                    written + event.generated_tokens,
                    cached + event.cached_tokens,
                )

    async def _ask(self, request: ev.ApprovalRequest) -> None:
        """Ask the client for approval and apply its answer. If the client cannot ask, the call is denied."""
        asked = question(request, self._translator.call_id(request), self._root)
        try:
            response = await self._client.request_permission(self.id, asked, options(request))
            answer = decision(request, response.outcome)
            stops = response.outcome.outcome == "cancelled"
        except (RequestError, ValueError, ConnectionError):
            answer, stops = Decision("deny", request.digest, "The editor could not ask."), False
        with contextlib.suppress(UsageError):  # it was decided meanwhile
            self._agent.decide(request.item_id, answer)
        if stops:
            self._cancelled = True
            self._agent.interrupt()

    async def _ask_about_file(self, conflict: Conflict) -> Choice | None:
        """Ask what to do with a file that was changed since the turn; None if the client cannot ask."""
        self._commands += 1
        question = ask_editor(self._client, self.id, self._root, f"undo.{self._commands}", conflict)
        self._waiting = asking = asyncio.create_task(question)
        try:
            return await asking
        except (RequestError, ValueError, ConnectionError):
            return None
        finally:
            self._waiting = None

    async def _drop_question(self) -> None:
        """Cancel the open approval question, because its answer is no longer needed."""
        if self._question is not None:
            self._question.cancel()
            await asyncio.gather(self._question, return_exceptions=True)
            self._question = None

    def _response(self, reason: StopReason) -> PromptResponse:
        read, written, cached = self._spent
        usage = Usage(total_tokens=read + written, input_tokens=read, output_tokens=written, cached_read_tokens=cached)
        return PromptResponse(stop_reason=reason, usage=usage)

    async def _show(self, event: ev.Event) -> None:
        for update in self._translator.apply(event):
            await self._send(update)

    async def _send(self, update: Any) -> None:
        await self._client.session_update(self.id, update)

    def _use_model(self, name: str) -> None:
        """Switch to another model and keep the conversation. Raises UsageError during a turn, or ModelNotFoundError."""
        if name == self._settings.model:
            return
        if self._turn is not None:
            raise UsageError("A turn is running", hint="switch models when it has ended")
        settings = replace(self._settings, model=name)
        saved = self._agent.session_id if self._agent.turns() else None
        mode, effort = self._agent.mode, self._agent.effort
        agent, seat = self._build(settings)
        self._agent.close()
        self._agent, self._seat, self._settings = agent, seat, settings
        if saved is not None:
            agent.resume(saved)
        agent.mode, agent.effort = mode, effort


def as_request_error(error: GptOssError) -> RequestError:
    """Convert one of our errors to one of the protocol."""
    code = -32602 if isinstance(error, UsageError) else -32603
    return RequestError(code, to_terminal_text(with_hint(error.message, error.hint)))


def _input(form: str) -> AvailableCommandInput | None:
    return AvailableCommandInput(root=UnstructuredCommandInput(hint=form.strip("[]"))) if form else None


def _stop_reason(event: ev.TurnFinished, calls_ended: bool) -> StopReason:
    """The protocol's stop reason for a turn. Raises RequestError if it failed; the conversation can still continue."""
    match event.reason:
        case "interrupted":
            return "cancelled"
        case "limit":
            return "max_turn_requests" if calls_ended and not event.incomplete else "max_tokens"
        case "failed":
            raise RequestError(-32603, to_terminal_text(with_hint(event.error, event.hint)))
    return "end_turn"
