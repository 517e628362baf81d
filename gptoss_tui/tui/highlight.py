"""Syntax highlighting by Pygments, which is imported for the first code block and not at start-up."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from rich.text import Text

from gptoss_tui.tui import lines

if TYPE_CHECKING:
    from gptoss_tui.tui.theme import Palette

MAX_HIGHLIGHT_CHARS = 200_000


def highlight(code: str, language: str, palette: Palette) -> list[Text]:
    """Return one `Text` per line of `code`; plain when the language is unknown or the code is very long."""
    if language and len(code) <= MAX_HIGHLIGHT_CHARS:
        lexer = _lexer(language)
        if lexer is not None:
            return _coloured(code, lexer, palette)
    return [lines.text(line, palette.text) for line in code.split("\n")]


def _coloured(code: str, lexer: Any, palette: Palette) -> list[Text]:
    theme = _theme(palette.syntax)
    result = lines.text("", palette.text)
    for kind, piece in lexer.get_tokens(code):
        style = theme.get_style_for_token(kind)
        result.append(piece, palette.text + type(style)(color=style.color, bold=style.bold, italic=style.italic))
    coloured = list(result.split("\n", allow_blank=True))
    wanted = code.count("\n") + 1
    return [*coloured, *(lines.text("", palette.text) for _ in range(wanted - len(coloured)))][:wanted]


@lru_cache(maxsize=64)
def _lexer(language: str) -> Any | None:
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    try:
        return get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None


@lru_cache(maxsize=4)
def _theme(name: str) -> Any:
    from rich.syntax import PygmentsSyntaxTheme

    return PygmentsSyntaxTheme(name)
