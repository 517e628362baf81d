"""`browser.search`, `browser.open` and `browser.find` as the agent sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from gptoss_tui.errors import ToolError
from gptoss_tui.harmony.builtin import browser_namespace
from gptoss_tui.harmony.messages import FunctionDeclaration, ToolNamespace
from gptoss_tui.tools.arguments import parse_arguments
from gptoss_tui.tools.base import Citation, Effect, Tool, ToolResult
from gptoss_tui.tools.browser.backend import Backend
from gptoss_tui.tools.browser.citations import resolve_citations
from gptoss_tui.tools.browser.page import Page, document_page, matches_page, results_page, view
from gptoss_tui.tools.browser.pages import PageStack

SOURCE = "web"
"""What the models are told about where pages come from, whichever backend is active: nano was trained on it."""

MAX_RESULTS = 20
_DEFAULT_RESULTS = 10

_INTEGER = {"type": "integer", "default": -1}
_SOURCE = {"type": "string"}

# What arguments are accepted; what the model is told is the namespace in the words that it was trained on.
_SEARCH = FunctionDeclaration(
    "browser.search",
    "",
    {
        "properties": {
            "query": {"type": "string"},
            "topn": {"type": "integer", "default": _DEFAULT_RESULTS},
            "top_n": {"type": "integer"},
            "source": _SOURCE,
        },
        "required": ["query"],
    },
)
_OPEN = FunctionDeclaration(
    "browser.open",
    "",
    {
        "properties": {
            "id": {"default": -1},
            "cursor": _INTEGER,
            "loc": _INTEGER,
            "num_lines": _INTEGER,
            "view_source": {"default": False},
            "source": _SOURCE,
        }
    },
)
_FIND = FunctionDeclaration(
    "browser.find",
    "",
    {"properties": {"pattern": {"type": "string"}, "cursor": _INTEGER}, "required": ["pattern"]},
)


class Browser:
    """The browser namespace of one conversation over `backend`. `count_tokens` measures what a text takes."""

    def __init__(self, backend: Backend, count_tokens: Callable[[str], int]) -> None:
        self._backend = backend
        self._count_tokens = count_tokens
        self._stack = PageStack()
        self._tools = (
            BrowserTool(_SEARCH, self._search),
            BrowserTool(_OPEN, self._open),
            BrowserTool(_FIND, self._find),
        )

    @property
    def namespace(self) -> ToolNamespace:
        return browser_namespace(SOURCE)

    @property
    def tools(self) -> tuple[Tool, ...]:
        return self._tools

    def cite(self, answer: str) -> tuple[Citation, ...]:
        """The citations in an answer, resolved against the pages that were shown."""
        return tuple(resolve_citations(answer, self._stack.pages))

    def reset(self) -> None:
        """Forget the pages."""
        self._stack.clear()

    async def _search(self, values: dict[str, Any]) -> ToolResult:
        query = values["query"].strip()
        if not query:
            raise ToolError("browser.search: the query is empty.")
        topn = min(max(1, values["top_n"] or values["topn"]), MAX_RESULTS)
        return await self._show(results_page(query, await self._backend.search(query, topn)))

    async def _open(self, values: dict[str, Any]) -> ToolResult:
        link, line = values["id"], max(0, values["loc"])
        if isinstance(link, str):
            page = await self._fetch(link, source=bool(values["view_source"]))
        elif link < 0:
            page = self._stack.page(values["cursor"])
            if values["view_source"] and page.kind == "document":
                page = await self._fetch(page.url, source=True)
        else:
            target = self._stack.target(values["cursor"], link)
            page = target.page or await self._fetch(target.url, source=bool(values["view_source"]))
            line = target.line if values["loc"] < 0 else line
        return await self._show(page, line, values["num_lines"])

    async def _find(self, values: dict[str, Any]) -> ToolResult:
        pattern = values["pattern"]
        if not pattern.strip():
            raise ToolError("browser.find: the pattern is empty.")
        page = self._stack.page(values["cursor"])
        if page.kind == "matches":
            raise ToolError("Cannot run `find` on find results; give the cursor of the page itself.")
        return await self._show(await asyncio.to_thread(matches_page, page, pattern))

    async def _fetch(self, url: str, *, source: bool) -> Page:
        document = await self._backend.fetch(url)
        return await asyncio.to_thread(document_page, document, source=source)

    async def _show(self, page: Page, line: int = 0, num_lines: int = -1) -> ToolResult:
        text = await asyncio.to_thread(view, page, self._stack.next_cursor, line, num_lines, self._count_tokens)
        self._stack.push(page)
        return ToolResult(text, data={"title": page.title, "url": page.url})


@dataclass(frozen=True, slots=True)
class BrowserTool:
    """One function of the namespace. `accepted` says which arguments it takes."""

    accepted: FunctionDeclaration
    act: Callable[[dict[str, Any]], Awaitable[ToolResult]]

    @property
    def name(self) -> str:
        return self.accepted.name

    async def prepare(self, arguments: str) -> BrowserCall:
        """Raises ToolError for wrong arguments."""
        values = parse_arguments(arguments, self.accepted)
        if "id" in values:
            values["id"] = _link(values["id"])
        return BrowserCall(self.name, values, self.act)


@dataclass(frozen=True, slots=True)
class BrowserCall:
    """A call with its arguments checked."""

    name: str
    values: dict[str, Any]
    act: Callable[[dict[str, Any]], Awaitable[ToolResult]]

    @property
    def summary(self) -> str:
        """`browser.search how to scroll`, `browser.open 3`, `browser.find "keys"`."""
        what = self.values.get("query") or self.values.get("pattern") or self.values.get("id", "")
        if what == -1:
            what = f"line {max(0, self.values['loc'])}"
        elif isinstance(what, int):
            what = f"link {what}"
        return f"{self.name} {what}"

    @property
    def effect(self) -> Effect | None:
        """None: the documents were put into the browser's folder by the user."""
        return None

    async def run(self, on_output: Callable[[str], None]) -> ToolResult:
        """Raises ToolError."""
        return await self.act(self.values)


def _link(value: object) -> int | str:
    """A link's number, also when it was sent as a text; or a URL."""
    if isinstance(value, str):
        stripped = value.strip()
        return int(stripped) if stripped.removeprefix("-").isdecimal() and len(stripped) < 10 else stripped
    if isinstance(value, int | float) and not isinstance(value, bool) and float(value).is_integer():
        return int(value)
    raise ToolError("browser.open: id is the number of a link, or a URL.")
