"""What one request of a host can do before its answer: report progress, and ask the host's user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

from mcp import MCPError
from mcp.server import ServerRequestContext
from mcp.types import CallToolRequestParams, ElicitRequest, ElicitRequestFormParams, ElicitResult, InputRequiredResult

_KEY: Final = "decision"


class AnswerNeeded(Exception):
    """The host has to call again with the user's answer; protocol versions from 2026-07-28 on ask in this way."""

    def __init__(self, result: InputRequiredResult) -> None:
        super().__init__("the host has to ask")
        self.result = result


class Asker(Protocol):
    """Receives a call's progress, and can be asked questions while it runs."""

    @property
    def can_ask(self) -> bool:
        """Whether the user can be asked at any time while the call runs."""
        ...

    async def tell(self, message: str) -> None:
        """Report progress to the host, if it wants to know."""
        ...

    async def ask(self, message: str, choices: Sequence[str]) -> str:
        """Ask a question. Returns one of `choices`, or an empty string if the user chose none."""
        ...


class Host:
    """The host behind the request of `context`, whose parameters are `params`."""

    def __init__(self, context: ServerRequestContext[Any, Any], params: CallToolRequestParams) -> None:
        self._session = context.session
        self._params = params
        self._told = 0

    @property
    def can_ask(self) -> bool:
        """Whether the user can be asked at any time while the request is served."""
        return self._takes_forms and self._session.can_send_request

    @property
    def can_ask_by_retry(self) -> bool:
        """Whether the user can be asked by having the host call again, before anything is done."""
        return self._takes_forms and not self._session.can_send_request

    async def tell(self, message: str) -> None:
        """Report progress to the host, if it wants to know."""
        self._told += 1
        await self._session.report_progress(self._told, message=message)

    async def ask(self, message: str, choices: Sequence[str]) -> str:
        """Ask a question. Returns one of `choices`, or an empty string if the user chose none."""
        try:
            result = await self._session.elicit_form(message, _schema(choices))
        except MCPError:
            return ""
        return _chosen(result, choices)

    @property
    def state(self) -> str:
        """The state that an earlier response of ours asked the host to send back; empty in a first call."""
        return self._params.request_state or ""

    def ask_by_retry(self, message: str, choices: Sequence[str], state: str, *, again: bool = False) -> str:
        """Return the answer that this request has for `state`. Raises AnswerNeeded if it has none, or if `again`."""
        answers = self._params.input_responses or {}
        answer = answers.get(_KEY)
        if self.state == state and isinstance(answer, ElicitResult) and not again:
            return _chosen(answer, choices)
        request = ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=_schema(choices)))
        raise AnswerNeeded(InputRequiredResult(input_requests={_KEY: request}, request_state=state))

    @property
    def _takes_forms(self) -> bool:
        known = self._session.client_capabilities
        if known is None or known.elicitation is None:
            return False
        return known.elicitation.form is not None or known.elicitation.url is None


def _schema(choices: Sequence[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {_KEY: {"type": "string", "title": "Decision", "enum": list(choices)}},
        "required": [_KEY],
    }


def _chosen(result: ElicitResult, choices: Sequence[str]) -> str:
    chosen = (result.content or {}).get(_KEY) if result.action == "accept" else None
    return chosen if isinstance(chosen, str) and chosen in choices else ""
