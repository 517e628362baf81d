"""Turns the citation marks of an answer into numbered references and a list of what they refer to.

Everything that `references` returns is safe for a terminal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gptoss_tui.sanitize import to_terminal_line, to_terminal_text
from gptoss_tui.tools.base import Citation
from gptoss_tui.tools.browser.citations import hold_back

UNRESOLVED = "[?]"

_MARK = re.compile(r"【[^【】]*】")
_BEGINNING = re.compile(r"【\d{0,9}(?:†|\Z)")


@dataclass(frozen=True, slots=True)
class References:
    """The references of an answer.

    `labels` maps each mark of the answer (made safe for a terminal) to the text that is shown instead. `entries` are
    the rows of the list below the answer, as label and description.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    entries: tuple[tuple[str, str], ...] = ()


def references(answer: str, citations: Sequence[Citation]) -> References:
    """The references of `answer` for its `citations` (from the events `answer_done` and `answer_cited`).

    A mark that does not refer to anything the model was shown is kept and followed by `[?]`.
    """
    labels: dict[str, str] = {}
    pages: dict[int, Citation] = {}
    lines: dict[int, dict[str, None]] = {}
    for citation in citations:
        mark = to_terminal_text(answer[slice(*citation.span)])
        if citation.number:
            labels[mark] = f"[{citation.number}]"
            pages.setdefault(citation.number, citation)
            lines.setdefault(citation.number, {}).update(dict.fromkeys(_lines(citation)))
        else:
            labels[mark] = f"{mark}{UNRESOLVED}"
    entries = [(f"[{number}]", _describe(page, lines[number])) for number, page in sorted(pages.items())]
    if any(citation.number == 0 for citation in citations):
        entries.append((UNRESOLVED, "points at nothing that the model was shown"))
    return References(labels, tuple(entries))


def pieces(text: str, labels: Mapping[str, str]) -> Iterator[tuple[str, bool]]:
    """Split `text` into pieces with its marks replaced; the flag is True for pieces that replace a mark."""
    end = 0
    for mark in _MARK.finditer(text):
        if label := labels.get(mark[0]):
            if end < mark.start():
                yield text[end : mark.start()], False
            yield label, True
            end = mark.end()
    if end < len(text):
        yield text[end:], False


def replace_marks(text: str, labels: Mapping[str, str]) -> str:
    """`text` with its marks replaced by their labels."""
    return "".join(piece for piece, _ in pieces(text, labels)) if labels else text


def without_partial_mark(text: str) -> str:
    """Streaming `text` without an incomplete mark at its end."""
    return hold_back(text)[0]


def before_first_mark(text: str) -> str:
    """`text` up to its first mark, or up to an incomplete mark at its end."""
    first = _BEGINNING.search(text)
    return text[: first.start()] if first else text


def gives_page(tool: str) -> bool:
    """Whether the results of `tool` are pages that can be cited; these are long and formatted for the model."""
    return tool.startswith("browser.")


def _lines(citation: Citation) -> list[str]:
    if citation.first_line is None:
        return []
    first, last = f"L{citation.first_line}", f"L{citation.last_line}"
    return [first if citation.first_line == citation.last_line else f"{first}-{last}"]


def _describe(page: Citation, lines: Mapping[str, None]) -> str:
    """Title, address and cited lines: `Keys (local://docs/keys.md) L4-L6, L9`."""
    title = page.title or ("" if page.url else "a page without a title")
    address = f"({page.url})" if page.url else ""
    return to_terminal_line(" ".join(part for part in (title, address, ", ".join(lines)) if part))
