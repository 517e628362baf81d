"""Resolves what a client names: folders, saved sessions, MCP servers. Raises readable errors for what is invalid."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from acp import RequestError
from acp.schema import AcpMcpServer, HttpMcpServer, McpServerStdio, SseMcpServer

from gptoss_tui import __version__
from gptoss_tui.acp.updates import with_hint
from gptoss_tui.agent.commands import SessionSummary
from gptoss_tui.agent.session import SessionStore, load_session
from gptoss_tui.agent.sessions import find_session, list_sessions, shown_records
from gptoss_tui.errors import UsageError
from gptoss_tui.sanitize import to_terminal_line
from gptoss_tui.tools.mcp.config import ServerConfig

McpServers = Sequence[HttpMcpServer | SseMcpServer | AcpMcpServer | McpServerStdio]

_NOT_FOUND: Final = -32002
_ID: Final = re.compile(r"[\w-]{1,100}", re.ASCII)


def not_found(error: UsageError) -> RequestError:
    """The protocol's error for an unknown session, on which clients start a new one."""
    return RequestError(_NOT_FOUND, to_terminal_line(with_hint(error.message, error.hint)))


def folder_of(cwd: str) -> Path:
    """The folder that a client names. Raises UsageError for what cannot be an absolute path."""
    try:
        if Path(cwd).is_absolute() and b"\0" not in os.fsencode(cwd):
            return Path(cwd)
    except UnicodeEncodeError:
        pass
    raise UsageError("cwd is not an absolute path")


def saved_in(cwd: str | None) -> tuple[SessionSummary, ...]:
    """The saved conversations of a folder, or of all folders. Raises UsageError."""
    return list_sessions(SessionStore().directory, folder_of(cwd).resolve() if cwd else None)


def whole_id(session_id: str) -> str:
    """Check that a session id exists and is not abbreviated, as only users may do. Raises UsageError."""
    if _ID.fullmatch(session_id) is None or not (SessionStore().directory / f"{session_id}.jsonl").is_file():
        raise UsageError(f"There is no session {session_id[:80]!r}")
    return session_id


def copy_of(session_id: str) -> str:
    """Copy the valid part of a saved session, which may be open, to a new one. Returns its id. Raises SessionError."""
    store = SessionStore()
    try:
        state = load_session(find_session(store.directory, whole_id(session_id)))
    except UsageError as error:
        raise not_found(error) from error
    header = state.header
    file = store.create(
        app=__version__,
        model=header.model,
        workspace=Path(header.workspace),
        date=header.date,
        parent=header.id,
        records=shown_records(state),
    )
    file.close()
    return file.path.stem


def server_configs(servers: McpServers, cwd: str) -> tuple[ServerConfig, ...]:
    """Convert the client's MCP servers to our own configuration. Raises UsageError."""
    configs = []
    for server in servers:
        match server:
            case McpServerStdio():
                env = {variable.name: variable.value for variable in server.env}
                configs.append(ServerConfig(server.name, server.command, tuple(server.args), env, cwd))
            case HttpMcpServer():
                headers = {header.name: header.value for header in server.headers}
                configs.append(ServerConfig(server.name, url=server.url, headers=headers))
            case _:
                raise UsageError(
                    f"The MCP server {to_terminal_line(server.name)} has a transport that is not supported"
                )
    return tuple(configs)
