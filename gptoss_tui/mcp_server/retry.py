"""A call that outlives its request: from protocol version 2026-07-28 on, a question is the response to a request.

The host then calls again with the answer, and the waiting call continues for the new request.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from mcp.types import CallToolResult

from gptoss_tui.mcp_server.host import Asker, Host

ANSWER_SECONDS: Final = 900.0
"""How long a call waits for the user's answer; after that it counts as a no."""


class RetriedCall:
    """A running call. Call `serve` for each request that belongs to it; in between, `state` identifies it."""

    def __init__(self, start: Callable[[Asker], Coroutine[Any, Any, CallToolResult]]) -> None:
        self.state = secrets.token_urlsafe(16)
        self._host: Host | None = None
        self._question: tuple[str, Sequence[str]] | None = None
        self._answer: asyncio.Future[str] | None = None
        self._asked = asyncio.Event()
        self.task = asyncio.create_task(start(self))

    # -- for the call -----------------------------------------------------------------------------------------------

    @property
    def can_ask(self) -> bool:
        """Always True: a question is asked by a retry."""
        return True

    async def tell(self, message: str) -> None:
        """Report progress to the current request, if there is one."""
        if self._host is not None:
            await self._host.tell(message)

    async def ask(self, message: str, choices: Sequence[str]) -> str:
        """Wait until a request brings the answer. Returns an empty string if none does in time."""
        self._question, self._answer = (message, choices), asyncio.get_running_loop().create_future()
        self._asked.set()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._answer
        except TimeoutError:
            return ""
        finally:
            self._question = self._answer = None

    # -- for the requests -------------------------------------------------------------------------------------------

    async def serve(self, host: Host) -> CallToolResult:
        """Continue the call for this request, to its end or its next question. Cancelling ends the call.

        Raises AnswerNeeded for a question, and whatever the call raises.
        """
        if self._question is not None and self._answer is not None and not self._answer.done():
            self._answer.set_result(host.ask_by_retry(*self._question, self.state))
        self._host = host
        self._asked.clear()
        asked = asyncio.create_task(self._asked.wait())
        try:
            await asyncio.wait({self.task, asked}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self.task.cancel()
            raise
        finally:
            asked.cancel()
            self._host = None
        if self._question is not None and not self.task.done():
            host.ask_by_retry(*self._question, self.state, again=True)
        return await self.task
