"""Markdown as strips, drawn from top to bottom from markdown-it's tokens.

While a message streams, `MarkdownView` keeps the rows of all finished top-level blocks, so only the last block is
redrawn.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.strip import Strip

from gptoss_tui.agent.references import pieces
from gptoss_tui.sanitize import to_terminal_line
from gptoss_tui.tui import lines
from gptoss_tui.tui.highlight import highlight
from gptoss_tui.tui.links import linked

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

    from gptoss_tui.tui.theme import Palette

_BULLETS = ("•", "◦", "▪")
_NO_LABELS: Mapping[str, str] = {}


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])


def render_markdown(source: str, width: int, palette: Palette, labels: Mapping[str, str] = _NO_LABELS) -> list[Strip]:
    """The rows of a whole document, `width` cells wide. `labels` replace the marks found in its prose."""
    return _Painter(palette, labels).paint(_parser().parse(source), width)


def split_markdown(source: str, size: int) -> list[str]:
    """Split `source` where top-level blocks begin, into pieces of about `size` characters that can be drawn separately.

    Reference links are resolved only within a piece.
    """
    if len(source) <= size:
        return [source]
    offsets, starts = _line_offsets(source), [token for token in _parser().parse(source) if _begins_block(token)]
    cuts = [0]
    for token in starts:
        offset = offsets[(token.map or [0])[0]]
        if offset - cuts[-1] >= size:
            cuts.append(offset)
    return [source[start:end] for start, end in zip(cuts, [*cuts[1:], len(source)], strict=True)]


class MarkdownView:
    """A growing document at one width. `source` must already be safe for the terminal."""

    def __init__(self, margin: int = 0) -> None:
        self._margin = margin
        self._source = ""
        self._width = 0
        self._palette: Palette | None = None
        self._stable_end = 0
        self._stable: list[Strip] = []
        self._fence = _OpenFence()

    @property
    def complete_to(self) -> int:
        """How many characters of the live source belong to blocks that can no longer change."""
        return self._stable_end

    def render(
        self, source: str, width: int, palette: Palette, *, live: bool, labels: Mapping[str, str] = _NO_LABELS
    ) -> list[Strip]:
        """The rows of `source`. `live` promises that the next call's source begins with this one.

        The rows of finished blocks are the same objects in the next call. `labels` replace marks, but only in a source
        that is not live.
        """
        if not live:
            known = self._width == width and self._palette is palette and self._stable_end == len(source) and not labels
            rows = self._stable if known else self._shifted(render_markdown(source, width, palette, labels))
            self.forget()
            return rows
        if width != self._width or palette is not self._palette or not source.startswith(self._source):
            self.forget()
            self._width, self._palette = width, palette
        self._source = source
        return self._render_live(source, width, palette)

    def forget(self) -> None:
        """Drop the cached rows."""
        self._source, self._width, self._palette = "", 0, None
        self._stable_end, self._stable = 0, []
        self._fence = _OpenFence()

    def _render_live(self, source: str, width: int, palette: Palette) -> list[Strip]:
        tail = source[self._stable_end :]
        tokens = _parser().parse(tail)
        complete = tail.count("\n")
        # A block that begins on an unfinished line may turn out not to be one: `#` may become `#hashtag`.
        starts = [i for i, token in enumerate(tokens) if _begins_block(token) and (token.map or [0])[0] < complete]
        if len(starts) > 1:
            last = starts[-1]
            self._stable += self._after_stable(_Painter(palette).paint(tokens[:last], width), width)
            self._stable_end += _line_offsets(tail)[(tokens[last].map or [0])[0]]
            tokens, self._fence = tokens[last:], _OpenFence()
        if len(tokens) == 1 and tokens[0].type == "fence":
            return [*self._stable, *self._after_stable(self._fence.render(tokens[0], width, palette), width)]
        return [*self._stable, *self._after_stable(_Painter(palette).paint(tokens, width), width)]

    def _after_stable(self, rows: list[Strip], width: int) -> list[Strip]:
        return self._shifted([lines.blank(width), *rows] if self._stable and rows else rows)

    def _shifted(self, rows: list[Strip]) -> list[Strip]:
        return lines.shift(rows, self._margin, self._margin + rows[0].cell_length) if self._margin and rows else rows


class _OpenFence:
    """A code fence that is still growing; each complete line is highlighted only once."""

    def __init__(self) -> None:
        self._done = 0
        self._strips: list[Strip] = []

    def render(self, token: Token, width: int, palette: Palette) -> list[Strip]:
        source = token.content.removesuffix("\n").split("\n")
        complete = len(source) - 1
        language = _language(token)
        if complete > self._done:
            self._strips += _code_rows("\n".join(source[self._done : complete]), language, width, palette)
            self._done = complete
        head = _code_head(language, width, palette)
        return [*head, *self._strips, *_code_rows(source[-1], language, width, palette)]


class _Painter:
    """Draws block tokens, with one method for each kind of block."""

    def __init__(self, palette: Palette, labels: Mapping[str, str] = _NO_LABELS) -> None:
        self._palette = palette
        self._labels = labels

    def paint(self, tokens: Sequence[Token], width: int, *, depth: int = 0, tight: bool = False) -> list[Strip]:
        out: list[Strip] = []
        for group in _blocks(tokens):
            strips = self._block(group, width, depth)
            if out and strips and not tight:
                out.append(lines.blank(width))
            out += strips
        return out

    def _block(self, group: Sequence[Token], width: int, depth: int) -> list[Strip]:
        kind = group[0].type
        match kind:
            case "heading_open":
                return self._heading(group, width)
            case "paragraph_open":
                return self._prose(group[1], width, self._palette.text)
            case "fence" | "code_block":
                language = _language(group[0])
                code = group[0].content.removesuffix("\n")
                return _code_head(language, width, self._palette) + _code_rows(code, language, width, self._palette)
            case "bullet_list_open" | "ordered_list_open":
                return self._list(group, width, depth)
            case "blockquote_open":
                return self._quote(group, width, depth)
            case "table_open":
                return self._table(group, width)
            case "hr":
                return [lines.strip(lines.text("─" * width, self._palette.faint), width)]
            case _:
                return self._prose(group[0], width, self._palette.text)

    def _heading(self, group: Sequence[Token], width: int) -> list[Strip]:
        style = self._palette.heading
        if group[0].tag == "h1":
            style = style + Style(underline=True)
        return self._prose(group[1], width, style)

    def _prose(self, token: Token, width: int, style: Style) -> list[Strip]:
        return lines.rows(lines.wrap(self._inline(token, style), width), width)

    def _list(self, group: Sequence[Token], width: int, depth: int) -> list[Strip]:
        ordered = group[0].type == "ordered_list_open"
        number = int(group[0].attrGet("start") or 1) if ordered else 0
        items = list(_blocks(group[1:-1]))
        tight = all(t.hidden for t in group if t.type == "paragraph_open" and t.level == group[0].level + 2)
        digits = len(str(number + len(items) - 1))
        out: list[Strip] = []
        for index, item in enumerate(items):
            marker = f"{number + index:>{digits}}. " if ordered else f"{_BULLETS[min(depth, 2)]} "
            inner = max(8, width - len(marker))
            body = self.paint(item[1:-1], inner, depth=depth + 1, tight=tight) or [lines.blank(inner)]
            if out and not tight:
                out.append(lines.blank(width))
            head, space = Segment(marker, self._palette.heading), Segment(" " * len(marker))
            out.append(lines.beside([head], body[0], width, copied=True))
            out += [lines.beside([space], row, width) for row in body[1:]]
        return out

    def _quote(self, group: Sequence[Token], width: int, depth: int) -> list[Strip]:
        bar = [Segment("▎ ", self._palette.faint)]
        return [lines.beside(bar, row, width) for row in self.paint(group[1:-1], max(8, width - 2), depth=depth)]

    def _table(self, group: Sequence[Token], width: int) -> list[Strip]:
        cells = [
            [self._inline(token, self._palette.text) for token in row if token.type == "inline"]
            for row in _table_rows(group)
        ]
        widths = _column_widths(cells, width)
        out: list[Strip] = []
        for index, row in enumerate(cells):
            out += self._table_row(row, widths, width, head=index == 0)
            if index == 0:
                rule = "─┼─".join("─" * w for w in widths)
                out.append(lines.strip(lines.text(rule, self._palette.faint), width))
        return out

    def _table_row(self, row: Sequence[Text], widths: Sequence[int], width: int, *, head: bool) -> list[Strip]:
        wrapped = [lines.wrap(cell, w) for cell, w in zip(row, widths, strict=False)]
        out: list[Strip] = []
        for y in range(max((len(c) for c in wrapped), default=0)):
            line = lines.text("", self._palette.text)
            for x, (cell, w) in enumerate(zip(wrapped, widths, strict=False)):
                if x:
                    line.append(" │ ", self._palette.faint)
                part = cell[y].copy() if y < len(cell) else lines.text("", self._palette.text)
                part.rstrip()
                part.pad_right(max(0, w - part.cell_len))
                if head:
                    part.stylize(self._palette.heading)
                line.append_text(part)
            out.append(lines.strip(line, width))
        return out

    def _inline(self, token: Token, style: Style) -> Text:
        result = lines.text("", style)
        stack = [style]
        href = ""
        for child in token.children or []:
            match child.type:
                case "text" | "html_inline" | "text_special":
                    # Entities (`&#x202e;`) and percent codes are decoded only here, so the result is made safe again.
                    for piece, is_label in pieces(to_terminal_line(child.content), self._labels):
                        result.append(piece, stack[-1] + self._palette.link if is_label else stack[-1])
                case "code_inline":
                    result.append(child.content, stack[-1] + self._palette.code)
                case "softbreak":
                    result.append(" ", stack[-1])
                case "hardbreak":
                    result.append("\n", stack[-1])
                case "strong_open":
                    stack.append(stack[-1] + Style(bold=True))
                case "em_open":
                    stack.append(stack[-1] + Style(italic=True))
                case "s_open":
                    stack.append(stack[-1] + Style(strike=True))
                case "link_open":
                    href, start = str(child.attrGet("href") or ""), len(result)
                    stack.append(linked(stack[-1] + self._palette.link, href))
                case "image":
                    result.append(f"[{child.content}]", stack[-1] + self._palette.link)
                case "link_close":
                    stack.pop()
                    self._show_target(result, result.plain[start:], href)
                case kind if kind.endswith("_close"):
                    stack.pop()
        if not token.children and token.content:
            result.append(token.content, style)
        return result

    def _show_target(self, result: Text, label: str, href: str) -> None:
        """Show a link's target after a label that differs from it: text must not hide where it leads."""
        if href and href != label and href != f"mailto:{label}":
            result.append(f" ({href})", self._palette.muted)


def _blocks(tokens: Sequence[Token]) -> Iterator[Sequence[Token]]:
    """Split a token stream into its outermost blocks."""
    start = depth = 0
    for index, token in enumerate(tokens):
        depth += token.nesting
        if depth == 0:
            yield tokens[start : index + 1]
            start = index + 1


def _table_rows(group: Sequence[Token]) -> Iterator[Sequence[Token]]:
    start = 0
    for index, token in enumerate(group):
        if token.type == "tr_open":
            start = index
        elif token.type == "tr_close":
            yield group[start : index + 1]


def _column_widths(cells: Sequence[Sequence[Text]], width: int) -> list[int]:
    """The natural widths if they fit; otherwise the widest columns shrink first."""
    columns = max((len(row) for row in cells), default=0)
    widths = [max((row[c].cell_len for row in cells if c < len(row)), default=1) or 1 for c in range(columns)]
    room = max(columns * 3, width - 3 * (columns - 1))
    while sum(widths) > room:
        widest = max(range(columns), key=widths.__getitem__)
        rest = sorted(widths)[-2] if columns > 1 else 0
        widths[widest] -= min(max(1, widths[widest] - rest), sum(widths) - room)
    return widths


def _language(token: Token) -> str:
    info: list[str] = token.info.split() if token.info else []
    return info[0].lower() if info else ""


def _code_head(language: str, width: int, palette: Palette) -> list[Strip]:
    if not language:
        return []
    return [lines.strip(lines.text(f" {language}", palette.faint), width, base=palette.code_block)]


def _code_rows(code: str, language: str, width: int, palette: Palette) -> list[Strip]:
    """Rows of code: spaces are kept, and a line that is too long continues in the next row."""
    out: list[Strip] = []
    for line in highlight(code, language, palette):
        out += lines.rows(lines.fold(line, width - 2), width, prefix=[Segment(" ")], base=palette.code_block)
    return out


def _begins_block(token: Token) -> bool:
    return token.level == 0 and token.nesting >= 0


def _line_offsets(source: str) -> list[int]:
    """The character offset at which each line starts."""
    return [0, *(match.end() for match in re.finditer("\n", source))]
