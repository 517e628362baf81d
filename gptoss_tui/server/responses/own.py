"""Items of the server's own tools: `web_search_call` and `code_interpreter_call`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Protocol

Told = Sequence[tuple[str, dict[str, Any]]]
"""Types of events, and their fields besides the item's id and index."""


class OwnItem(Protocol):
    """The item of one call while it is being written and run. `fields` are its current fields."""

    prefix: str
    kind: str
    opens_early: bool
    fields: dict[str, Any]

    def delta(self, text: str) -> Told:
        """Handle more of the call's text."""
        ...

    def begins(self, arguments: str) -> Told:
        """The call is complete and starts to run."""
        ...

    def ran(self, output: str, sources: Sequence[str]) -> Told:
        """The call has run."""
        ...


def begin_own(recipient: str, include: frozenset[str]) -> OwnItem:
    """Create the item for a call to `recipient`."""
    return CodeItem(include) if recipient == "python" else SearchItem(recipient, include)


class SearchItem:
    """A search, opening a page, or searching in a page. It is reported only once the call is complete."""

    prefix, kind, opens_early = "ws", "web_search_call", False

    def __init__(self, recipient: str, include: frozenset[str]) -> None:
        self._function = recipient.removeprefix("browser.")
        self._sources = "web_search_call.action.sources" in include
        self.fields: dict[str, Any] = {}

    def delta(self, text: str) -> Told:
        return ()

    def begins(self, arguments: str) -> Told:
        self.fields = {"action": _action(self._function, arguments)}
        return [("response.web_search_call.in_progress", {}), ("response.web_search_call.searching", {})]

    def ran(self, output: str, sources: Sequence[str]) -> Told:
        action = self.fields["action"]
        if action["type"] == "search" and self._sources:
            action["sources"] = [{"type": "url", "url": url} for url in sources]
        elif action["type"] != "search" and sources and not action.get("url"):
            action["url"] = sources[0]
        return [("response.web_search_call.completed", {})]


class CodeItem:
    """Python that the server runs in its sandbox."""

    prefix, kind, opens_early = "ci", "code_interpreter_call", True

    def __init__(self, include: frozenset[str]) -> None:
        self._outputs = "code_interpreter_call.outputs" in include
        self._begun = False
        self.fields: dict[str, Any] = {"code": "", "container_id": "cntr_sandbox", "outputs": None}

    def delta(self, text: str) -> Told:
        self.fields["code"] += text
        begun, self._begun = self._begun, True
        told = ("response.code_interpreter_call_code.delta", {"delta": text})
        return [told] if begun else [("response.code_interpreter_call.in_progress", {}), told]

    def begins(self, arguments: str) -> Told:
        code = self.fields["code"] = arguments
        return [
            ("response.code_interpreter_call_code.done", {"code": code}),
            ("response.code_interpreter_call.interpreting", {}),
        ]

    def ran(self, output: str, sources: Sequence[str]) -> Told:
        if self._outputs:
            self.fields["outputs"] = [{"type": "logs", "logs": output}]
        return [("response.code_interpreter_call.completed", {})]


def _action(function: str, arguments: str) -> dict[str, Any]:
    """The action of a browser call, in the form of the API."""
    try:
        values = json.loads(arguments)
    except ValueError:
        values = None
    values = values if isinstance(values, dict) else {}
    if function == "search":
        query = str(values.get("query", ""))
        return {"type": "search", "query": query, "queries": [query]}
    if function == "find":
        return {"type": "find_in_page", "pattern": str(values.get("pattern", "")), "url": ""}
    link = values.get("id")
    return {"type": "open_page", "url": link if isinstance(link, str) else ""}
