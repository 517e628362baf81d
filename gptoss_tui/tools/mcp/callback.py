"""The address on this machine that the browser comes back to after a login. It exists only during the login."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, urlsplit

from gptoss_tui.errors import ToolError

if TYPE_CHECKING:
    from aiohttp import web
    from mcp.shared.auth import AuthorizationCodeResult

PATH: Final = "/callback"

_CLOSING_SECONDS: Final = 1.0
"""How long the browser has to read the last page."""

_DONE: Final = "You can close this page and go back to gptoss-tui."
_MAX_REASON: Final = 200


class Callback:
    """Listens on 127.0.0.1 and accepts a single answer. `address` is known once it listens."""

    address: str

    def __init__(self) -> None:
        self._state: str | None = None
        self._answered: asyncio.Future[AuthorizationCodeResult] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Callback:
        from aiohttp import web

        self._runner = web.ServerRunner(web.Server(self._visited, access_log=None), shutdown_timeout=_CLOSING_SECONDS)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.address = f"http://127.0.0.1:{self._runner.addresses[0][1]}{PATH}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._answered.cancel()
        await self._runner.cleanup()

    def expect(self, page: str) -> None:
        """Accept the answer for the login page `page` only. Its state tells it from visits by others."""
        self._state = next(iter(parse_qs(urlsplit(page).query).get("state", ())), None)

    async def answer(self) -> AuthorizationCodeResult:
        """Wait for the browser's answer. Raises ToolError when it is a refusal."""
        return await self._answered

    async def _visited(self, request: web.BaseRequest) -> web.Response:
        from aiohttp import web

        status, text = self._take(request)
        response = web.Response(status=status, text=text, headers={"Cache-Control": "no-store"})
        response.force_close()
        return response

    def _take(self, request: web.BaseRequest) -> tuple[int, str]:
        """The status and the text for a request. Only one request is the expected answer."""
        from mcp.shared.auth import AuthorizationCodeResult

        said = request.query
        if request.method != "GET" or request.path != PATH or not ("code" in said or "error" in said):
            return 404, "There is nothing here."
        if self._state is None or not secrets.compare_digest(said.get("state", "").encode(), self._state.encode()):
            return 403, "This belongs to another login."
        if self._answered.done():
            return 410, "This login is over."
        if "code" in said:
            answer = AuthorizationCodeResult(code=said["code"], state=said.get("state"), iss=said.get("iss"))
            self._answered.set_result(answer)
        else:
            why = said.get("error_description") or said["error"]
            self._answered.set_exception(ToolError(f"it was refused: {why[:_MAX_REASON]}"))
        return 200, _DONE
