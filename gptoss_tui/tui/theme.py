"""The two themes of the app, and the palette that line-drawn text takes from whichever theme is on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rich.color import Color as RichColor
from rich.style import Style
from textual.color import Color
from textual.theme import Theme

DARK = Theme(
    name="gptoss-dark",
    primary="#7fc4b4",
    secondary="#a99bd6",
    accent="#e2a963",
    warning="#e2a963",
    error="#e57c6b",
    success="#9cbf75",
    foreground="#d7d5cc",
    background="#101518",
    surface="#171e22",
    panel="#212a2f",
    dark=True,
    variables={
        "border": "#33424a",
        "border-blurred": "#2a363c",
        "input-cursor-background": "#7fc4b4",
        "input-selection-background": "#7fc4b4 30%",
        "scrollbar": "#2a363c",
        "scrollbar-background": "#101518",
        "scrollbar-background-active": "#101518",
        "scrollbar-background-hover": "#101518",
        "scrollbar-hover": "#3d4e57",
        "scrollbar-active": "#7fc4b4",
    },
)

LIGHT = Theme(
    name="gptoss-light",
    primary="#1f7a6b",
    secondary="#6a55b0",
    accent="#a9660f",
    warning="#a9660f",
    error="#b93e2c",
    success="#4c7a1e",
    foreground="#2c3230",
    background="#faf8f3",
    surface="#f1eee6",
    panel="#e6e2d7",
    dark=False,
    variables={
        "border": "#c9c3b4",
        "border-blurred": "#d8d3c6",
        "input-cursor-background": "#1f7a6b",
        "input-selection-background": "#1f7a6b 25%",
        "scrollbar": "#d8d3c6",
        "scrollbar-background": "#faf8f3",
        "scrollbar-background-active": "#faf8f3",
        "scrollbar-background-hover": "#faf8f3",
        "scrollbar-hover": "#c0b9a8",
        "scrollbar-active": "#1f7a6b",
    },
)

THEMES = (DARK, LIGHT)


@dataclass(frozen=True, slots=True)
class Palette:
    """Rich styles for everything that is drawn line by line, and the Pygments style for code."""

    base: Style
    text: Style
    muted: Style
    faint: Style
    strong: Style
    accent: Style
    heading: Style
    link: Style
    code: Style
    reasoning: Style
    user: Style
    ok: Style
    warning: Style
    error: Style
    added: Style
    removed: Style
    added_text: Style
    removed_text: Style
    surface: Style
    panel: Style
    code_block: Style
    syntax: str

    @classmethod
    def from_variables(cls, variables: Mapping[str, str], *, dark: bool) -> Palette:
        """The palette of a theme, from `App.theme_variables`."""

        def colour(name: str) -> Color:
            return Color.parse(variables[name].split()[0])

        foreground, background = colour("foreground"), colour("background")
        surface, panel = colour("surface"), colour("panel")
        success, error = colour("success"), colour("error")

        def ink(base: Color, share: float = 1.0, *, bold: bool = False, italic: bool = False) -> Style:
            return Style(color=_rich(background.blend(base, share)), bold=bold or None, italic=italic or None)

        def paper(base: Color, share: float = 1.0) -> Style:
            return Style(bgcolor=_rich(background.blend(base, share)))

        return cls(
            base=Style(color=_rich(foreground), bgcolor=_rich(background)),
            text=ink(foreground),
            muted=ink(foreground, 0.62),
            faint=ink(foreground, 0.38),
            strong=ink(foreground, bold=True),
            accent=ink(colour("accent")),
            heading=ink(colour("primary"), bold=True),
            link=ink(colour("primary")) + Style(underline=True),
            code=ink(colour("accent")) + paper(panel, 0.7),
            reasoning=ink(colour("secondary"), 0.85, italic=True),
            user=ink(colour("primary"), bold=True),
            ok=ink(success),
            warning=ink(colour("warning")),
            error=ink(error),
            added=paper(success, 0.13),
            removed=paper(error, 0.14),
            added_text=ink(success, bold=True),
            removed_text=ink(error, bold=True),
            surface=paper(surface),
            panel=paper(panel),
            code_block=paper(surface),
            syntax="nord" if dark else "friendly",
        )


def _rich(colour: Color) -> RichColor:
    return RichColor.from_rgb(colour.r, colour.g, colour.b)
