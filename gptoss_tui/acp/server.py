"""The agent's side of the protocol: the sessions of one client, all sharing one engine that is loaded on first use."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from acp import PROTOCOL_VERSION, RequestError, run_agent
from acp.interfaces import Client
from acp.schema import (
    AgentCapabilities,
    AuthenticateResponse,
    ClientCapabilities,
    CloseSessionResponse,
    ForkSessionResponse,
    Implementation,
    InitializeResponse,
    ListSessionsResponse,
    LoadSessionResponse,
    McpCapabilities,
    NewSessionResponse,
    PromptCapabilities,
    PromptResponse,
    ResumeSessionResponse,
    SessionCapabilities,
    SessionCloseCapabilities,
    SessionForkCapabilities,
    SessionInfo,
    SessionListCapabilities,
    SessionResumeCapabilities,
    SetSessionConfigOptionResponse,
    SetSessionModeResponse,
)

from gptoss_tui import __version__
from gptoss_tui.acp.content import Block
from gptoss_tui.acp.named import McpServers, copy_of, folder_of, not_found, saved_in, server_configs, whole_id
from gptoss_tui.acp.options import MODE
from gptoss_tui.acp.session import AcpSession, as_request_error
from gptoss_tui.acp.transport import LineTransport
from gptoss_tui.agent.agent import Agent
from gptoss_tui.agent.commands import ResumedSession
from gptoss_tui.agent.factory import build_agent
from gptoss_tui.agent.session import SessionStore
from gptoss_tui.engine.shared import EngineSeat, SharedEngine
from gptoss_tui.engine.types import Engine, EngineSpec
from gptoss_tui.errors import GptOssError, UsageError
from gptoss_tui.harmony.tokenizer import load_tokenizer
from gptoss_tui.sanitize import to_terminal_line
from gptoss_tui.settings import Settings

_PAGE: Final = 50


class AcpServer:
    """Implements `acp.Agent` for one client. `settings` come from the command line and apply to every session."""

    def __init__(self, settings: Settings, engine: SharedEngine) -> None:
        self._settings = settings
        self._engine = engine
        self._sessions: dict[str, AcpSession] = {}
        self._client: Client | None = None
        self._terminals = False
        self._models: tuple[str, ...] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def on_connect(self, conn: Client) -> None:
        """Remember the client that connected."""
        self._client = conn

    async def close(self) -> None:
        """End every turn and then the engine, after the client has gone."""
        await asyncio.gather(*(session.close() for session in self._sessions.values()))
        await self._engine.close()

    # -- the connection ---------------------------------------------------------------------------------------------

    async def initialize(
        self,
        protocol_version: int,
        client_capabilities: ClientCapabilities | None = None,
        client_info: Implementation | None = None,
        **meta: Any,
    ) -> InitializeResponse:
        """Report this agent's capabilities."""
        told = client_capabilities.field_meta if client_capabilities else None
        self._terminals = bool(told and told.get("terminal_output") is True)
        return InitializeResponse(
            protocol_version=PROTOCOL_VERSION,
            agent_info=Implementation(name="gptoss-tui", title="gptoss-tui", version=__version__),
            agent_capabilities=AgentCapabilities(
                load_session=True,
                prompt_capabilities=PromptCapabilities(image=False, audio=False, embedded_context=True),
                mcp_capabilities=McpCapabilities(http=True, sse=False),
                session_capabilities=SessionCapabilities(
                    list=SessionListCapabilities(),
                    resume=SessionResumeCapabilities(),
                    fork=SessionForkCapabilities(),
                    close=SessionCloseCapabilities(),
                ),
            ),
            auth_methods=[],
        )

    async def authenticate(self, method_id: str, **meta: Any) -> AuthenticateResponse | None:
        """Raise RequestError: there is nothing to log in to."""
        raise RequestError(-32602, "This agent needs no authentication")

    # -- sessions ---------------------------------------------------------------------------------------------------

    async def new_session(
        self,
        cwd: str,
        additional_directories: list[str] | None = None,
        mcp_servers: McpServers | None = None,
        **meta: Any,
    ) -> NewSessionResponse:
        """Start a conversation in a folder."""
        with _errors():
            store = SessionStore()
            session = await self._open(store.reserve(), cwd, additional_directories, mcp_servers, store)
        return NewSessionResponse(session_id=session.id, modes=session.modes, config_options=[*session.config_options])

    async def load_session(
        self,
        cwd: str,
        session_id: str,
        mcp_servers: McpServers | None = None,
        additional_directories: list[str] | None = None,
        **meta: Any,
    ) -> LoadSessionResponse:
        """Continue a saved conversation, and replay all of it to the client."""
        session, resumed = await self._resume(session_id, cwd, additional_directories, mcp_servers)
        await session.replay(resumed)
        return LoadSessionResponse(modes=session.modes, config_options=[*session.config_options])

    async def resume_session(
        self,
        session_id: str,
        cwd: str,
        additional_directories: list[str] | None = None,
        mcp_servers: McpServers | None = None,
        **meta: Any,
    ) -> ResumeSessionResponse:
        """Continue a saved conversation that the client already knows, without replaying it."""
        session, _ = await self._resume(session_id, cwd, additional_directories, mcp_servers)
        return ResumeSessionResponse(modes=session.modes, config_options=[*session.config_options])

    async def fork_session(
        self,
        session_id: str,
        cwd: str,
        additional_directories: list[str] | None = None,
        mcp_servers: McpServers | None = None,
        **meta: Any,
    ) -> ForkSessionResponse:
        """Continue in a copy of a saved conversation, leaving the original as it is."""
        if (live := self._sessions.get(session_id)) is not None and live.busy:
            raise RequestError(-32600, "A turn is running in this session; cancel it or wait for its end")
        with _errors():
            copy = await asyncio.to_thread(copy_of, session_id)
        session, _ = await self._resume(copy, cwd, additional_directories, mcp_servers)
        return ForkSessionResponse(session_id=session.id, modes=session.modes, config_options=[*session.config_options])

    async def list_sessions(
        self, cwd: str | None = None, cursor: str | None = None, **meta: Any
    ) -> ListSessionsResponse:
        """List the saved conversations of a folder, or of all folders, newest first."""
        with _errors():
            if cursor is not None and not (cursor.isdecimal() and len(cursor) < 10):
                raise UsageError("The cursor is not one of this agent's")
            found = await asyncio.to_thread(saved_in, cwd)
        begin = int(cursor or 0)
        page = found[begin : begin + _PAGE]
        return ListSessionsResponse(
            sessions=[
                SessionInfo(
                    session_id=one.id, cwd=one.workspace, title=to_terminal_line(one.title), updated_at=one.updated
                )
                for one in page
            ],
            next_cursor=str(begin + _PAGE) if begin + _PAGE < len(found) else None,
        )

    async def close_session(self, session_id: str, **meta: Any) -> CloseSessionResponse:
        """End a session. The conversation stays saved."""
        await self._session(session_id).close()
        self._sessions.pop(session_id, None)
        return CloseSessionResponse()

    # -- a session --------------------------------------------------------------------------------------------------

    async def prompt(self, session_id: str, prompt: Sequence[Block], **meta: Any) -> PromptResponse:
        """Run a turn to its end."""
        return await self._session(session_id).prompt(prompt)

    async def cancel(self, session_id: str, **meta: Any) -> None:
        """Cancel the running turn of a session, if there is one."""
        if session := self._sessions.get(session_id):
            session.cancel()

    async def set_session_mode(self, session_id: str, mode_id: str, **meta: Any) -> SetSessionModeResponse:
        """Set the approval mode: how much may happen without asking."""
        with _errors():
            await self._session(session_id).choose(MODE, mode_id)
        return SetSessionModeResponse()

    async def set_config_option(
        self, config_id: str, session_id: str, value: str | bool, **meta: Any
    ) -> SetSessionConfigOptionResponse:
        """Set a session's mode, model or effort."""
        session = self._session(session_id)
        with _errors():
            await session.choose(config_id, str(value))
        return SetSessionConfigOptionResponse(config_options=[*session.config_options])

    async def ext_method(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Raise RequestError: there are no extension methods."""
        raise RequestError.method_not_found(f"_{method}")

    async def ext_notification(self, method: str, params: dict[str, Any]) -> None:
        """Ignore extension notifications."""

    # -- parts ------------------------------------------------------------------------------------------------------

    def _session(self, session_id: str) -> AcpSession:
        session = self._sessions.get(session_id)
        if session is None:
            raise not_found(UsageError(f"There is no session {session_id[:80]!r}", hint="load it, or start a new one"))
        return session

    async def _open(
        self,
        session_id: str,
        cwd: str,
        additional: list[str] | None,
        servers: McpServers | None,
        store: SessionStore,
    ) -> AcpSession:
        """Open an empty session in `cwd`. Raises UsageError, or ModelNotFoundError."""
        if additional:
            raise UsageError("A session has one folder; additional directories are not supported")
        settings = replace(self._settings, workspace=folder_of(cwd))
        configs = server_configs(servers or (), cwd)

        def build(chosen: Settings) -> tuple[Agent, EngineSeat]:
            seat = self._engine.seat(chosen.engine_spec())
            return build_agent(chosen, seat, load_tokenizer(), session_store=store, servers=configs), seat

        if self._models is None:
            self._models = await asyncio.to_thread(_model_names)
        assert self._client is not None, "requests come from a client"
        session = AcpSession(session_id, settings, build, self._client, models=self._models, terminals=self._terminals)
        self._sessions[session.id] = session
        self._announce(session)
        return session

    async def _resume(
        self,
        session_id: str,
        cwd: str,
        additional: list[str] | None,
        servers: McpServers | None,
    ) -> tuple[AcpSession, ResumedSession]:
        if (before := self._sessions.pop(session_id, None)) is not None:
            await before.close()
        with _errors():
            session = await self._open(session_id, cwd, additional, servers, SessionStore())
            try:
                resumed = session.resume(whole_id(session_id))
            except GptOssError as error:
                self._sessions.pop(session_id, None)
                await session.close()
                if isinstance(error, UsageError):
                    raise not_found(error) from error
                raise
        return session, resumed

    def _announce(self, session: AcpSession) -> None:
        """Announce the slash commands in a task, after the client knows the session."""
        task = asyncio.create_task(session.announce())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """Convert our errors to those of the protocol."""
    try:
        yield
    except GptOssError as error:
        raise as_request_error(error) from error


def _model_names() -> tuple[str, ...]:
    """The installed models that can be loaded."""
    from gptoss_tui.engine.catalog import installed_models

    return tuple(model.name for model in installed_models() if model.problem is None)


async def serve(settings: Settings, transport: LineTransport, make_engine: Callable[[EngineSpec], Engine]) -> None:
    """Serve one client until it is gone, then end everything that was started for it."""
    server = AcpServer(settings, SharedEngine(make_engine))
    try:
        await run_agent(server, transport, use_unstable_protocol=True)
    finally:
        await server.close()
