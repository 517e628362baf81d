"""The app's themes, and the palette that line-drawn text derives from the current theme."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

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
    accent="#96590c",
    warning="#96590c",
    error="#b93e2c",
    success="#467019",
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

CONTRAST = Theme(
    name="gptoss-contrast",
    primary="#5ff5dc",
    secondary="#cfbfff",
    accent="#ffc24d",
    warning="#ffc24d",
    error="#ff7a66",
    success="#a6f06a",
    foreground="#ffffff",
    background="#000000",
    surface="#0d0d0d",
    panel="#242424",
    dark=True,
    variables={
        "border": "#9a9a9a",
        "border-blurred": "#9a9a9a",
        "input-cursor-background": "#ffffff",
        "input-selection-background": "#5ff5dc 45%",
        "scrollbar": "#9a9a9a",
        "scrollbar-background": "#000000",
        "scrollbar-background-active": "#000000",
        "scrollbar-background-hover": "#000000",
        "scrollbar-hover": "#ffffff",
        "scrollbar-active": "#5ff5dc",
    },
)

CONTRAST_LIGHT = Theme(
    name="gptoss-contrast-light",
    primary="#00524a",
    secondary="#43258f",
    accent="#6b3d00",
    warning="#6b3d00",
    error="#8f1400",
    success="#255200",
    foreground="#000000",
    background="#ffffff",
    surface="#f4f4f4",
    panel="#dedede",
    dark=False,
    variables={
        "border": "#555555",
        "border-blurred": "#555555",
        "input-cursor-background": "#000000",
        "input-selection-background": "#00524a 30%",
        "scrollbar": "#555555",
        "scrollbar-background": "#ffffff",
        "scrollbar-background-active": "#ffffff",
        "scrollbar-background-hover": "#ffffff",
        "scrollbar-hover": "#000000",
        "scrollbar-active": "#00524a",
    },
)

THEMES = (DARK, LIGHT, CONTRAST, CONTRAST_LIGHT)
AUTO = "auto"
"""The name that stands for following the terminal."""
_SHORT = {theme.name.removeprefix("gptoss-"): theme.name for theme in THEMES}


def theme_named(name: str, available: Collection[str], *, dark: bool | None, few_colours: bool = False) -> str:
    """Resolve `name` to a theme: `auto` follows the terminal, ours have short names, an unknown one counts as `auto`.

    With `few_colours`, where ours would only be approximated, `auto` chooses a high-contrast theme.
    """
    name = _SHORT.get(name, name)
    if name != AUTO and name in available:
        return name
    if few_colours:
        return CONTRAST_LIGHT.name if dark is False else CONTRAST.name
    return LIGHT.name if dark is False else DARK.name


HIGH_CONTRAST = 18
"""The contrast of text and background above which everything in the palette gets a high contrast."""


@dataclass(frozen=True, slots=True)
class Palette:
    """Rich styles for everything that is drawn line by line, and the name of the Pygments style for code."""

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
    added_word: Style
    removed_word: Style
    surface: Style
    panel: Style
    code_block: Style
    syntax: str
    added_line: Style | None = None
    removed_line: Style | None = None
    """The styles of changed lines on terminals with too few colours to tell backgrounds apart; None for syntax
    highlighting.
    """

    @classmethod
    def from_variables(cls, variables: Mapping[str, str], *, dark: bool, few_colours: bool = False) -> Palette:
        """Derive the palette from a theme's CSS variables. `few_colours` is for terminals that have 16."""
        paints = _Paints(variables)
        ink, paper = paints.ink, paints.paper
        high = _contrast(paints.colour("foreground"), paints.colour("background")) > HIGH_CONTRAST
        palette = cls(
            base=ink("foreground") + paper("background"),
            text=ink("foreground"),
            muted=ink("foreground", paints.share(10 if high else 5.5)),
            faint=ink("foreground", paints.share(7 if high else 3.4)),
            strong=ink("foreground", bold=True),
            accent=ink("accent"),
            heading=ink("primary", bold=True),
            link=ink("primary") + Style(underline=True),
            code=ink("accent") + paper("panel", 0.7),
            reasoning=ink("secondary", 1.0 if high else 0.9, italic=True),
            user=ink("primary", bold=True),
            ok=ink("success"),
            warning=ink("warning"),
            error=ink("error"),
            added=paper("success", 0.13),
            removed=paper("error", 0.14),
            added_text=ink("success", bold=True),
            removed_text=ink("error", bold=True),
            added_word=paper("success", 0.34) + Style(bold=True),
            removed_word=paper("error", 0.34) + Style(bold=True),
            surface=paper("surface"),
            panel=paper("panel"),
            code_block=paper("surface"),
            syntax="nord" if dark else "friendly",
        )
        return palette._with_few_colours() if few_colours else palette

    def _with_few_colours(self) -> Palette:
        """Changes in a diff by the colour of their letters: backgrounds would come out alike."""
        underlined = Style(bold=True, underline=True)
        return replace(
            self,
            added_word=underlined,
            removed_word=underlined,
            added_line=self.ok,
            removed_line=self.error,
        )


class _Paints:
    """Styles in the colours of a theme, each blended into its background."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def colour(self, name: str) -> Color:
        return Color.parse(self._variables[name].split()[0])

    def ink(self, name: str, share: float = 1.0, *, bold: bool = False, italic: bool = False) -> Style:
        return Style(color=self._blended(name, share), bold=bold or None, italic=italic or None)

    def paper(self, name: str, share: float = 1.0) -> Style:
        return Style(bgcolor=self._blended(name, share))

    def share(self, ratio: float) -> float:
        """The smallest share of the foreground that reaches a contrast of `ratio`."""
        ink, paper = self.colour("foreground"), self.colour("background")
        return next((n / 50 for n in range(1, 50) if _contrast(paper.blend(ink, n / 50), paper) >= ratio), 1.0)

    def _blended(self, name: str, share: float) -> RichColor:
        colour = self.colour("background").blend(self.colour(name), share)
        return RichColor.from_rgb(colour.r, colour.g, colour.b)


def _contrast(one: Color, other: Color) -> float:
    """The contrast ratio as WCAG 2 defines it, from 1 to 21."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: Color) -> float:
    def linear(channel: int) -> float:
        value = channel / 255
        return value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4

    return 0.2126 * linear(colour.r) + 0.7152 * linear(colour.g) + 0.0722 * linear(colour.b)
