"""The offline backend: a folder of Markdown, text and HTML documents, with URLs such as `local://docs/keys.md`."""

from __future__ import annotations

import posixpath
import threading
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote, urlsplit

from platformdirs import user_cache_path

import gptoss_tui
from gptoss_tui.errors import ToolError, UsageError
from gptoss_tui.patch.confine import PathError, Tree
from gptoss_tui.tools.browser.backend import Document, SearchResult
from gptoss_tui.tools.browser.html import read_html
from gptoss_tui.tools.browser.index import Index, cache_file
from gptoss_tui.tools.browser.links import plain
from gptoss_tui.tools.browser.markdown import read_markdown
from gptoss_tui.tools.net.urls import WebUrl
from gptoss_tui.tools.suggest import similar_paths
from gptoss_tui.tools.workspace import Budget, Walk, in_thread

SCHEME = "local"
MAX_BYTES = 1 << 20
"""Larger documents are neither found nor opened."""

_MARKDOWN = (".md", ".markdown")
_HTML = (".html", ".htm", ".xhtml")
_SUFFIXES = (*_MARKDOWN, *_HTML, ".txt", ".rst", ".text")
_MAX_FILES = 20_000
_SECONDS = 60.0


def own_documentation() -> Path:
    """The folder of the app's documentation: in the installed package, or beside it in a checkout."""
    package = Path(gptoss_tui.__file__).parent
    return next((folder for folder in (package / "docs", package.parent / "docs") if folder.is_dir()), package)


class LocalDocuments:
    """The documents beneath `root`, with an index in `cache`. Raises UsageError when there is no such folder."""

    name = "local documents"
    remote = False

    def __init__(self, root: Path, cache: Path | None = None) -> None:
        self._root = root.expanduser().resolve()
        if not self._root.is_dir():
            raise UsageError(f"{root} is not a folder", hint="name the browser's folder with browser_folder")
        self._host = quote(self._root.name or "files", safe="")
        self._index = Index(cache_file(cache or user_cache_path("gptoss-tui") / "documents", self._root))
        self._lock = threading.Lock()

    @property
    def description(self) -> str:
        return f"the documents in {self._root}; the web is out of reach"

    async def search(self, query: str, topn: int) -> list[SearchResult]:
        """Update the index, then search it. Raises ToolError."""
        return await in_thread(lambda budget: self._search(query, topn, budget), seconds=_SECONDS)

    def web_url(self, url: str) -> WebUrl | None:
        """Always None: nothing here leaves the machine."""
        return None

    async def fetch(self, url: str) -> Document:
        """Read the document at a `local://` URL or a path in the folder. Raises ToolError."""
        return await in_thread(lambda budget: self._fetch(url, budget), seconds=_SECONDS)

    def _search(self, query: str, topn: int, budget: Budget) -> list[SearchResult]:
        with self._lock, Tree(self._root) as tree:
            self._index.update(self._stamps(tree, budget), lambda path: self._readable(tree, path))
            hits = self._index.search(query, topn)
        return [SearchResult(hit.title, self._url(hit.path), " ".join(hit.snippet.split())) for hit in hits]

    def _stamps(self, tree: Tree, budget: Budget) -> dict[str, str]:
        """The paths of documents, each with a string that changes when the document does."""
        stamps = {}
        for entry in Walk(tree, budget, max_entries=_MAX_FILES).files("."):
            if entry.folder or entry.link or not entry.path.lower().endswith(_SUFFIXES):
                continue
            status = tree.stat(entry.path)
            if status is not None and status.st_size <= MAX_BYTES:
                stamps[entry.path] = f"{status.st_mtime_ns} {status.st_size} {status.st_ino}"
        return stamps

    def _readable(self, tree: Tree, path: str) -> tuple[str, str] | None:
        try:
            document = self._read(tree, path)
        except PathError:
            return None
        return document.title, document.text

    def _fetch(self, url: str, budget: Budget) -> Document:
        with Tree(self._root) as tree:
            near = ""
            try:
                path = tree.resolve(self._path(url))
                near = similar_paths(tree, path, budget)
                return self._read(tree, path)
            except PathError as error:
                raise ToolError(f"Error fetching URL `{url}`: {error.message}{near}") from error

    def _read(self, tree: Tree, path: str) -> Document:
        """Raises PathError."""
        data, _ = tree.read(path, limit=MAX_BYTES)
        suffix = PurePosixPath(path).suffix.lower()
        if b"\0" in data or suffix not in (*_SUFFIXES, ""):
            raise PathError(f"{path}: it is not a text, Markdown or HTML document")
        source = data.decode("utf-8-sig", "replace").replace("\r\n", "\n")
        url = self._url(path)
        links: tuple[str, ...] = ()
        title, text = "", plain(source)
        if suffix in _HTML:
            title, text, links = read_html(source, url)
        elif suffix in _MARKDOWN:
            title, text, links = read_markdown(source, url)
        return Document(url, title or PurePosixPath(path).name, text, links, source)

    def _url(self, path: str) -> str:
        return f"{SCHEME}://{self._host}/{quote(path)}"

    def _path(self, url: str) -> str:
        """The path in the folder that a URL means. Raises ToolError for a URL outside of the folder."""
        try:
            parts = urlsplit(url)
        except ValueError:
            raise ToolError(f"Error fetching URL `{url}`: it is not a URL.") from None
        if parts.scheme not in ("", SCHEME) or (parts.scheme and parts.netloc != self._host):
            raise ToolError(
                f"Error fetching URL `{url}`: the browser has no network here. "
                f"It reads only the documents in {SCHEME}://{self._host}/; find them with browser.search."
            )
        return posixpath.normpath("/" + unquote(parts.path)).lstrip("/")
