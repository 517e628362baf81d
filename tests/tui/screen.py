"""Reading what the app shows."""

from __future__ import annotations

from textual.widgets import Static

from gptoss_tui.tui.app import GptOssApp
from gptoss_tui.tui.widgets.approval import ApprovalPanel
from gptoss_tui.tui.widgets.choices import ChoiceList
from gptoss_tui.tui.widgets.composer import Composer
from gptoss_tui.tui.widgets.status import StatusLine
from gptoss_tui.tui.widgets.transcript import Transcript


def rows(app: GptOssApp) -> list[str]:
    """The rows of the whole screen, as plain text."""
    width, height = app.size
    return [
        "".join(segment.text for segment in line).rstrip()
        for line in app.screen._compositor.render_strips(app.size)[:height]
        if width
    ]


def screen(app: GptOssApp) -> str:
    """The whole screen as text."""
    return "\n".join(rows(app))


def transcript(app: GptOssApp) -> Transcript:
    return app.screen_stack[0].query_one("#conversation", Transcript)


def conversation(app: GptOssApp) -> str:
    """All rows of the conversation, also those scrolled out of view."""
    view = transcript(app)
    view.flush()
    found = [view._row(y) for y in range(view.virtual_size.height)]
    return "\n".join(row.text.rstrip() if row else "" for row in found)


def composer(app: GptOssApp) -> Composer:
    return app.screen_stack[0].query_one(Composer)


def panel(app: GptOssApp) -> ApprovalPanel:
    return app.screen_stack[0].query_one(ApprovalPanel)


def status(app: GptOssApp) -> str:
    """The status line as text."""
    return app.screen_stack[0].query_one(StatusLine).render().plain


def help_text(app: GptOssApp) -> str:
    """The open help as text, also what is scrolled out of view."""
    rows = (
        widget.render_line(y).text.rstrip() for widget in app.screen.query(Static) for y in range(widget.size.height)
    )
    return "\n".join(rows)


def colours(app: GptOssApp) -> set[tuple[int, int, int]]:
    """Every colour on the screen."""
    styles = [segment.style for strip in app.screen._compositor.render_strips(app.size) for segment in strip]
    found = [colour for style in styles if style for colour in (style.color, style.bgcolor) if colour]
    return {tuple(colour.get_truecolor()) for colour in found}  # type: ignore[misc]


def choices(app: GptOssApp) -> ChoiceList:
    return app.screen_stack[0].query_one("#completion", ChoiceList)


def offered(app: GptOssApp) -> list[str]:
    """The rows that are offered; none when the list is closed."""
    found = choices(app)
    return [row.label for row in found.rows] if found.display else []
