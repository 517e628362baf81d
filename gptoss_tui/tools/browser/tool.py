"""`browser.search`, `browser.open` and `browser.find` as the agent sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from gptoss_tui.errors import ToolError
from gptoss_tui.harmony.builtin import browser_namespace
from gptoss_tui.harmony.messages import FunctionDeclaration, ToolNamespace
from gptoss_tui.tools.arguments import parse_arguments
from gptoss_tui.tools.base import Citation, Effect, Tool, ToolResult
from gptoss_tui.tools.browser.backend import Backend
from gptoss_tui.tools.browser.citations import resolve_citations
from gptoss_tui.tools.browser.links import host
from gptoss_tui.tools.browser.page import (
    MAX_PATTERN_WORDS,
    Page,
    document_page,
    matches_page,
    results_page,
    shown_page,
    view,
)
from gptoss_tui.tools.browser.pages import PageStack
from gptoss_tui.tools.browser.permission import Ledger
from gptoss_tui.tools.net.urls import parse_web_url

SOURCE = "web"
"""The source of pages that the models are told, whichever backend is active: nano was trained with it."""

MAX_RESULTS = 20
_DEFAULT_RESULTS = 10

_INTEGER = {"type": "integer", "default": -1}
_SOURCE = {"type": "string"}

# The accepted arguments. The model itself reads the namespace description that it was trained on.
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


Act = Callable[[], Awaitable[ToolResult]]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a call will do: `act` does it, and `effect` is what the user has to allow first.

    `asked` names the service that receives the query.
    """

    act: Act
    effect: Effect | None = None
    asked: str = ""


class Browser:
    """The `browser` namespace of one conversation over `backend`. `count_tokens` returns a text's number of tokens."""

    def __init__(self, backend: Backend, count_tokens: Callable[[str], int]) -> None:
        self._backend = backend
        self._count_tokens = count_tokens
        self._stack = PageStack()
        self._ledger = Ledger()
        self._tools = (
            BrowserTool(_SEARCH, self._plan_search),
            BrowserTool(_OPEN, self._plan_open),
            BrowserTool(_FIND, self._plan_find),
        )

    @property
    def namespace(self) -> ToolNamespace:
        return browser_namespace(SOURCE)

    @property
    def tools(self) -> tuple[Tool, ...]:
        return self._tools

    @property
    def source(self) -> str:
        """Where pages come from: `local documents`, `DuckDuckGo`."""
        return self._backend.name

    def cite(self, answer: str) -> tuple[Citation, ...]:
        """The citations in an answer, resolved against the pages that were shown."""
        return tuple(resolve_citations(answer, self._stack.pages))

    def page_text(self, citation: Citation) -> tuple[str, ...]:
        """The lines of the page that a citation points at; empty if it points at nothing or the page was forgotten."""
        page = self._stack.pages.get(citation.cursor) if citation.number else None
        return page.lines if page is not None and page.url == citation.url else ()

    def reset(self) -> None:
        """Forget the pages, and which addresses were read."""
        self._stack.clear()
        self._ledger.clear()

    def restore(self, replies: Iterable[tuple[str, str]]) -> None:
        """Restore a saved conversation: its cursors are in use again, and the lines that were shown can be cited.

        `replies` are pairs of function name and the reply that the model read.
        """
        self.reset()
        for name, text in replies:
            shown = shown_page(text) if name.removeprefix("functions.").startswith("browser.") else None
            if shown is not None:
                self._stack.restore(*shown)

    # -- what a call will do ----------------------------------------------------------------------------------------

    def _plan_search(self, values: dict[str, Any]) -> Plan:
        query = values["query"].strip()
        if not query:
            raise ToolError("browser.search: the query is empty.")
        topn = min(max(1, values["top_n"] or values["topn"]), MAX_RESULTS)
        return Plan(lambda: self._search(query, topn), asked=self._backend.name if self._backend.remote else "")

    def _plan_open(self, values: dict[str, Any]) -> Plan:
        link, line, source = values["id"], max(0, values["loc"]), bool(values["view_source"])
        if isinstance(link, str):
            return self._plan_fetch(link, line, values["num_lines"], source=source)
        if link < 0:
            page = self._stack.page(values["cursor"])
            if page.kind == "document" and (source or not page.whole):
                return self._plan_fetch(page.url, line, values["num_lines"], source=source)
            return Plan(lambda: self._show(page, line, values["num_lines"]))
        target = self._stack.target(values["cursor"], link)
        line = target.line if values["loc"] < 0 else line
        if target.page is None:
            return self._plan_fetch(target.url, line, values["num_lines"], source=source)
        seen = target.page
        return Plan(lambda: self._show(seen, line, values["num_lines"]))

    def _plan_find(self, values: dict[str, Any]) -> Plan:
        pattern = values["pattern"]
        if not pattern.strip():
            raise ToolError("browser.find: the pattern is empty.")
        if len(pattern.split()) > MAX_PATTERN_WORDS:  # a malicious page can make each word cost a scan of all of it
            raise ToolError(f"browser.find: the pattern has more than {MAX_PATTERN_WORDS} words. Send fewer of them.")
        page = self._stack.page(values["cursor"])
        if not page.whole:
            raise ToolError("The page is not kept any more. Open it again, then find.")
        if page.kind == "matches":
            raise ToolError("Cannot run `find` on find results; give the cursor of the page itself.")
        return Plan(lambda: self._find(page, pattern))

    def _plan_fetch(self, url: str, line: int, num_lines: int, *, source: bool) -> Plan:
        """Plan to read `url`. The address that is requested is exactly the one that was shown."""
        web = self._backend.web_url(url)
        if web is None:
            return Plan(lambda: self._fetch(url, line, num_lines, source=source))

        async def act() -> ToolResult:
            self._ledger.allowed(web)
            return await self._fetch(web.text, line, num_lines, source=source)

        return Plan(act, self._ledger.effect(web))

    # -- doing it ---------------------------------------------------------------------------------------------------

    async def _search(self, query: str, topn: int) -> ToolResult:
        return await self._show(results_page(query, await self._backend.search(query, topn)))

    async def _find(self, page: Page, pattern: str) -> ToolResult:
        return await self._show(await asyncio.to_thread(matches_page, page, pattern))

    async def _fetch(self, url: str, line: int, num_lines: int, *, source: bool) -> ToolResult:
        document = await self._backend.fetch(url)
        if self._backend.remote:
            self._ledger.arrived(parse_web_url(document.url, ports=None))
        page = await asyncio.to_thread(document_page, document, source=source)
        return await self._show(page, line, num_lines)

    async def _show(self, page: Page, line: int = 0, num_lines: int = -1) -> ToolResult:
        text = await asyncio.to_thread(view, page, self._stack.next_cursor, line, num_lines, self._count_tokens)
        self._stack.push(page)
        self._ledger.learn(target.url for target in page.targets if target.url)
        stranger = (host(page.url) or self._backend.name) if self._backend.remote else ""
        return ToolResult(text, data={"title": page.title, "url": page.url}, source=stranger)


@dataclass(frozen=True, slots=True)
class BrowserTool:
    """One function of the namespace. `accepted` declares its arguments."""

    accepted: FunctionDeclaration
    plan: Callable[[dict[str, Any]], Plan]

    @property
    def name(self) -> str:
        return self.accepted.name

    async def prepare(self, arguments: str) -> BrowserCall:
        """Plan a call. Raises ToolError for wrong arguments, unknown pages and refused addresses."""
        values = parse_arguments(arguments, self.accepted)
        if "id" in values:
            values["id"] = _link(values["id"])
        return BrowserCall(self.name, values, self.plan(values))


@dataclass(frozen=True, slots=True)
class BrowserCall:
    """A call with checked arguments, and the plan of what it will do."""

    name: str
    values: dict[str, Any]
    plan: Plan

    @property
    def summary(self) -> str:
        """`browser.search how to scroll (Exa)`, `browser.open link 3`, `browser.find keys`."""
        what = self.values.get("query") or self.values.get("pattern") or self.values.get("id", "")
        if what == -1:
            what = f"line {max(0, self.values['loc'])}"
        elif isinstance(what, int):
            what = f"link {what}"
        return f"{self.name} {what}" + (f" ({self.plan.asked})" if self.plan.asked else "")

    @property
    def effect(self) -> Effect | None:
        """The effect to allow; None when nothing leaves the machine."""
        return self.plan.effect

    async def run(self, on_output: Callable[[str], None]) -> ToolResult:
        """Raises ToolError."""
        return await self.plan.act()


def _link(value: object) -> int | str:
    """Read the `id` argument: a link's number, which may be given as text, or a URL."""
    if isinstance(value, str):
        stripped = value.strip()
        return int(stripped) if stripped.removeprefix("-").isdecimal() and len(stripped) < 10 else stripped
    if isinstance(value, int | float) and not isinstance(value, bool) and float(value).is_integer():
        return int(value)
    raise ToolError("browser.open: id is the number of a link, or a URL.")
