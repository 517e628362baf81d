"""The pages of a conversation by cursor. Every call that shows a page adds one, and pages never change."""

from __future__ import annotations

from collections.abc import Mapping

from gptoss_tui.errors import ToolError
from gptoss_tui.tools.browser.page import Page, Target

KEPT = 500
"""How many of the newest pages are kept. In a longer conversation the oldest have left the model's context anyway."""


class PageStack:
    """Pages by cursor, counted from 0."""

    def __init__(self) -> None:
        self._pages: dict[int, Page] = {}
        self._next = 0

    @property
    def pages(self) -> Mapping[int, Page]:
        """The pages that are kept, by cursor."""
        return self._pages

    @property
    def next_cursor(self) -> int:
        """The cursor of the next page."""
        return self._next

    def push(self, page: Page) -> None:
        """Give `page` the next cursor."""
        self._pages[self._next] = page
        self._pages.pop(self._next - KEPT, None)
        self._next += 1

    def restore(self, cursor: int, page: Page) -> None:
        """Give `page` its old cursor back; the next page gets a later one."""
        self._pages[cursor] = page
        self._next = max(self._next, cursor + 1)

    def page(self, cursor: int) -> Page:
        """Return the page of a cursor; a negative one means the newest. Raises ToolError when there is none."""
        if not self._next:
            raise ToolError("No pages to access!")
        found = self._pages.get(self._next - 1 if cursor < 0 else cursor)
        if found is None:
            first = min(self._pages)
            raise ToolError(
                f"Cursor `{cursor}` is out of range. Available cursor indices: [{first} - {self._next - 1}]."
            )
        return found

    def target(self, cursor: int, link: int) -> Target:
        """Return where link `link` on the page of `cursor` leads. Raises ToolError when there is no such link."""
        page = self.page(cursor)
        targets = page.targets
        if not page.whole:
            raise ToolError(f"The links of page `{cursor}` are not kept any more. Open the page, or search, again.")
        if link >= len(targets):
            raise ToolError(f"Invalid link id `{link}`.")
        return targets[link]

    def clear(self) -> None:
        """Forget all pages and count from 0 again."""
        self._pages.clear()
        self._next = 0
