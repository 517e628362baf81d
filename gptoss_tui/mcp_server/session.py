"""One session of a host: its browser pages, its Python, its conversation with the agent, and its granted approvals."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

from mcp.types import CallToolResult, InputRequiredResult, TextContent

from gptoss_tui.agent.agent import Agent
from gptoss_tui.agent.approvals import Approvals
from gptoss_tui.agent.factory import build_agent, build_approvals, build_registry
from gptoss_tui.engine.shared import EngineSeat, SharedEngine
from gptoss_tui.errors import GptOssError, ToolError
from gptoss_tui.harmony.tokenizer import load_tokenizer
from gptoss_tui.mcp_server.asking import ask, read_question
from gptoss_tui.mcp_server.catalog import ASK, REGISTERED
from gptoss_tui.mcp_server.host import AnswerNeeded, Asker, Host
from gptoss_tui.mcp_server.permission import permit
from gptoss_tui.mcp_server.retry import RetriedCall
from gptoss_tui.sanitize import to_terminal_text
from gptoss_tui.settings import APPROVE_MODES, Settings
from gptoss_tui.tools.workspace import open_workspace
from gptoss_tui.undo import UndoStore

T = TypeVar("T")

_HOST_MODEL = "host"
"""Stands for the host's unknown model in settings that depend on the model."""


class HostSession:
    """The state of one session. Nothing is started before the first call. Raises UsageError for invalid settings."""

    def __init__(self, settings: Settings, engine: SharedEngine, approve: str = "none") -> None:
        self._settings = settings
        self._engine = engine
        self._approve = approve
        workspace = open_workspace(settings.workspace)
        tools = replace(
            settings,
            model=_HOST_MODEL,
            browser=True,
            python=True,
            apply_patch=True,
            shell=False,
            edit_file=False,
            plan=False,
        )
        self._registry = build_registry(tools, workspace, UndoStore(workspace.root).apply)
        self._approvals: Approvals = build_approvals(workspace, APPROVE_MODES[approve], allow_all=approve == "all")
        self._agent: tuple[Agent, EngineSeat] | None = None
        self._asking = asyncio.Lock()
        self._running: set[asyncio.Task[Any]] = set()
        self._retried: dict[str, RetriedCall] = {}
        self._closed = False

    @property
    def idle(self) -> bool:
        """Whether no call is running."""
        return not self._running

    async def call(self, name: str, arguments: dict[str, Any], host: Host) -> CallToolResult | InputRequiredResult:
        """Run a tool. Errors become a result that the host's model reads."""
        try:
            if name == ASK and host.can_ask_by_retry:
                return await self._ask_with_retries(arguments, host)
            if name == ASK:
                return await self._in_task(self._ask(arguments, host))
            return await self._in_task(self._run(name, arguments, host))
        except AnswerNeeded as needed:
            return needed.result
        except GptOssError as error:
            what = f"{error.message}\n{error.hint}" if error.hint else error.message
            return CallToolResult(content=[TextContent(text=to_terminal_text(what))], is_error=True)

    async def close(self) -> None:
        """End all running calls, and the processes that tools keep."""
        self._closed = True
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._registry.reset()
        if self._agent is not None:
            self._agent[0].close()

    async def _in_task(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` in its own task, so that it has time to clean up when the request is cancelled."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.cancel()
            raise

    async def _run(self, name: str, arguments: dict[str, Any], host: Host) -> CallToolResult:
        tool = self._registry.find(REGISTERED[name])
        assert tool is not None, "all of them are registered"
        prepared = await tool.prepare(_raw(name, arguments))
        await permit(self._approvals, prepared.effect, host)
        result = await prepared.run(lambda _: None)
        if result.source:
            self._approvals.saw(result.source)
        text = to_terminal_text(result.text)
        return CallToolResult(content=[TextContent(text=text)], is_error=not result.ok)

    async def _ask_with_retries(self, arguments: dict[str, Any], host: Host) -> CallToolResult:
        """Start a call, or continue the one for which the host brings an answer."""
        call = self._retried.get(host.state)
        if call is None:
            call = RetriedCall(lambda asker: self._ask(arguments, asker))
            self._retried[call.state] = call
            self._running.add(call.task)
            call.task.add_done_callback(functools.partial(self._forget, call.state))
        return await call.serve(host)

    def _forget(self, state: str, task: asyncio.Task[Any]) -> None:
        self._retried.pop(state, None)
        self._running.discard(task)

    async def _ask(self, arguments: dict[str, Any], host: Asker) -> CallToolResult:
        question = read_question(arguments)
        async with self._asking:
            if self._closed:
                raise ToolError("The session is over.")
            if self._agent is None:
                seat = self._engine.seat(self._settings.engine_spec())
                agent = build_agent(
                    self._settings,
                    seat,
                    load_tokenizer(),
                    mode=APPROVE_MODES[self._approve],
                    allow_all=self._approve == "all",
                )
                self._agent = agent, seat
            return await ask(*self._agent, question, host)


def _raw(name: str, arguments: dict[str, Any]) -> str:
    """The arguments as our own model would write them. Raises ToolError."""
    key = {"python": "code", "apply_patch": "input"}.get(name)
    if key is None:
        return json.dumps(arguments)
    text = arguments.get(key)
    if not isinstance(text, str):
        raise ToolError(f"{name}: {key} is missing, or no text.")
    return text
