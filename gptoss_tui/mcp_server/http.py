"""The server over streamable HTTP: only on this machine, only with the token, and not for web pages in a browser."""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import secrets
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import uvicorn
from mcp.server.transport_security import TransportSecuritySettings
from mcp.types import UNSUPPORTED_PROTOCOL_VERSION
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from platformdirs import user_state_path
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from gptoss_tui.errors import UsageError
from gptoss_tui.mcp_server.catalog import Group
from gptoss_tui.mcp_server.server import IDLE_SECONDS, SESSION_HEADER, Sessions, make_server

TOKEN_VARIABLE: Final = "GPTOSS_TUI_MCP_TOKEN"
PATH: Final = "/mcp"
MAX_SESSIONS: Final = 64
_HOST: Final = "127.0.0.1"


def load_token(environ: Mapping[str, str] = os.environ) -> tuple[str, Path | None]:
    """Return the token from the environment; else the one in a file of the user's, which is created if missing.

    Also returns the file's path, to show it to the user. Raises UsageError when it cannot be read or created.
    """
    if given := environ.get(TOKEN_VARIABLE):
        return given, None
    path = user_state_path("gptoss-tui", appauthor=False) / "mcp-token"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            token = path.read_text(encoding="utf-8").strip()
        else:
            token = secrets.token_urlsafe(32)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(token + "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}", hint=f"or give a token in {TOKEN_VARIABLE}") from error
    if len(token) < 16:
        raise UsageError(f"{path} holds no token", hint="delete it, and another one is made")
    return token, path


class Guard:
    """Middleware around the SDK's application: requires the token, and forgets sessions that the host ended.

    Protocol versions without sessions are refused, because pages and variables belong to a session. Hosts then use an
    older version.
    """

    def __init__(self, app: ASGIApp, token: str, sessions: Sessions) -> None:
        self._app = app
        self._token = f"Bearer {token}".encode()
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if not hmac.compare_digest(headers.get("authorization", "").encode(errors="replace"), self._token):
            refusal = Response("A token is needed.", 401, {"WWW-Authenticate": "Bearer"}, "text/plain")
            await refusal(scope, receive, send)
            return
        version = headers.get("mcp-protocol-version")
        if version is not None and version not in HANDSHAKE_PROTOCOL_VERSIONS:
            await _unsupported(version)(scope, receive, send)
            return
        await self._app(scope, receive, send)
        if scope["method"] == "DELETE" and (session_id := headers.get(SESSION_HEADER)):
            self._sessions.forget(session_id)


def _unsupported(version: str) -> Response:
    data = {"supported": list(HANDSHAKE_PROTOCOL_VERSIONS), "requested": version}
    error = {"code": UNSUPPORTED_PROTOCOL_VERSION, "message": "Unsupported protocol version", "data": data}
    return Response(json.dumps({"jsonrpc": "2.0", "id": None, "error": error}), 400, media_type="application/json")


def make_app(sessions: Sessions, groups: tuple[Group, ...], token: str) -> ASGIApp:
    """Make the application: one path, only local Host and Origin headers, limited body sizes and number of sessions."""
    names = ("127.0.0.1", "localhost", "[::1]")
    security = TransportSecuritySettings(
        allowed_hosts=[host for name in names for host in (name, f"{name}:*")],
        allowed_origins=[f"http://{name}:*" for name in names],
    )
    server: Any = make_server(sessions, groups)
    app = server.streamable_http_app(
        streamable_http_path=PATH,
        transport_security=security,
        session_idle_timeout=IDLE_SECONDS,
        max_sessions=MAX_SESSIONS,
    )
    return Guard(app, token, sessions)


async def serve_http(
    sessions: Sessions, groups: tuple[Group, ...], port: int, token: str, listening: Callable[[str], None]
) -> None:
    """Serve until the process is told to stop. `listening` gets the URL. Raises UsageError if the port is in use."""
    try:
        bound = socket.create_server((_HOST, port))
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"Port {port} cannot be used: {error}", hint="choose another one, or 0 for a free one"
        ) from error
    config = uvicorn.Config(
        make_app(sessions, groups, token),
        log_level="warning",
        access_log=False,
        ws="none",
        timeout_graceful_shutdown=2,
    )
    try:
        listening(f"http://{_HOST}:{bound.getsockname()[1]}{PATH}")
        await _serve(uvicorn.Server(config), bound)
    finally:
        bound.close()
        await sessions.close()


async def _serve(server: uvicorn.Server, bound: socket.socket) -> None:
    """Serve on `bound`. When cancelled, let the server exit by itself, because uvicorn would print a traceback."""
    serving = asyncio.ensure_future(server.serve(sockets=[bound]))
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        server.should_exit = True
        await serving
        raise
