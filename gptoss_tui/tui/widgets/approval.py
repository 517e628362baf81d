"""The question before anything happens: exactly what would be done, and the keys that answer.

A key counts only when the question has been on screen for a while and nothing was typed just before, so that typing
ahead never answers. Keys that do not count go on into the draft.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, cast

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Static

from gptoss_tui.agent.events import ApprovalRequest, DecisionKind
from gptoss_tui.sanitize import to_terminal_line
from gptoss_tui.tui import lines
from gptoss_tui.tui.blocks.base import plural
from gptoss_tui.tui.theme import Palette
from gptoss_tui.tui.widgets.hints import Hint, HintLine
from gptoss_tui.tui.widgets.preview import PreviewView

if TYPE_CHECKING:
    from textual.widgets import Input

GRACE_SECONDS = 0.3
SHARE = 0.7
"""How much of the screen a question may take."""
FIXED_ROWS = 5
"""Borders, title, keys and the gap above them."""
MAX_WARNING_ROWS = 4
MIN_PREVIEW_ROWS = 3
ANSWER_KEYS = ("y", "a", "n", "m")


class KeyGrace:
    """Whether a key may answer: not before `GRACE_SECONDS` on screen, nor within that time of a key that did not."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since: float | None = None

    @property
    def is_shown(self) -> bool:
        """Whether the question is on screen."""
        return self._since is not None

    def hidden(self) -> None:
        """Nothing is shown: no key counts."""
        self._since = None

    def shown(self) -> None:
        """The question is on screen from now on."""
        self._since = self._clock()

    def accepts(self) -> bool:
        """Ask for a key that was just pressed. A key that comes too early starts the time again."""
        now = self._clock()
        if self._since is None:
            return False
        if now - self._since >= GRACE_SECONDS:
            return True
        self._since = now
        return False


class ApprovalPanel(Vertical, can_focus=True, can_focus_children=True):
    """Shows one request at a time."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer('once')", "Allow once", id="approval.once"),
        Binding("a", "answer('session')", "Allow this kind for the session", id="approval.session"),
        Binding("n", "answer('deny')", "Deny", id="approval.deny"),
        Binding("m", "deny_with_message", "Deny and tell the model why", id="approval.message"),
        Binding("escape", "refuse", "Deny and stop the turn", id="approval.refuse"),
        Binding("up", "scroll_rows(-1)", "Scroll up", id="approval.up"),
        Binding("down", "scroll_rows(1)", "Scroll down", id="approval.down"),
        Binding("pageup", "scroll_rows(-10)", "Scroll up ten rows", id="approval.page_up"),
        Binding("pagedown", "scroll_rows(10)", "Scroll down ten rows", id="approval.page_down"),
        Binding("home", "scroll_rows(-1000000)", "First row", id="approval.home"),
        Binding("end", "scroll_rows(1000000)", "Last row", id="approval.end"),
    ]

    class Answered(Message):
        """The person decided on the request that is shown. `ends_turn` also stops the turn."""

        def __init__(self, request: ApprovalRequest, kind: DecisionKind, message: str, *, ends_turn: bool) -> None:
            super().__init__()
            self.request = request
            self.kind = kind
            self.message = message
            self.ends_turn = ends_turn

    class StrayText(Message):
        """A key was pressed that answers nothing; `text` is what it types."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self, palette: Palette, clock: Callable[[], float], root: str, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.palette = palette
        self.grace = KeyGrace(clock)
        self.request: ApprovalRequest | None = None
        self._root = root

    def compose(self) -> ComposeResult:
        from textual.widgets import Input

        yield Static(id="approval-title", markup=False)
        yield Static(id="approval-warnings", markup=False)
        yield PreviewView(id="approval-preview")
        yield Input(placeholder="Tell the model why", id="approval-message")
        yield HintLine(self.palette, id="approval-keys")

    def ask(self, request: ApprovalRequest) -> None:
        """Put `request` to the person and take the focus."""
        self.grace.hidden()
        self.request = request
        self.query_one("#approval-title", Static).update(self._title(request))
        warnings = self.query_one("#approval-warnings", Static)
        warnings.update(Text("\n").join([self._warning(w) for w in request.warnings]))
        warnings.display = bool(request.warnings)
        is_diff = request.preview_type == "diff"
        preview = self.query_one(PreviewView)
        preview.show(request.preview, is_diff=is_diff, root=self._root, palette=self.palette)
        self._show_message_input(False)
        self.add_class("-active")
        self._fit()
        self.focus()
        self.call_after_refresh(self._shown)

    def use_palette(self, palette: Palette) -> None:
        """Take other colours, also for what is shown."""
        self.palette = palette
        self.query_one(PreviewView).use_palette(palette)
        self.query_one(HintLine).palette = palette

    def dismiss(self) -> None:
        """Nothing is asked any more."""
        self.grace.hidden()
        self.request = None
        self._show_message_input(False)
        self.remove_class("-active")

    def on_resize(self) -> None:
        """Keep the keys in view at every size."""
        self._fit()
        self.call_after_refresh(self._say_rows)

    def _fit(self) -> None:
        """The preview takes what the other parts leave of the panel's share of the screen; it scrolls."""
        if self.request is not None:
            warnings = min(len(self.request.warnings), MAX_WARNING_ROWS)
            room = round(self.app.size.height * SHARE) - FIXED_ROWS - warnings
            self.query_one(PreviewView).styles.max_height = max(MIN_PREVIEW_ROWS, room)

    def _shown(self) -> None:
        self._say_rows()
        self.grace.shown()

    def _say_rows(self) -> None:
        preview = self.query_one(PreviewView)
        self.border_subtitle = f"{plural(preview.total_rows, 'row')}, Up and Down scroll" if preview.is_cut else None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While a message is written, letters belong to it."""
        writing = self.has_class("-writing")
        return not writing or action in ("refuse", "click")

    def action_answer(self, kind: DecisionKind) -> None:
        """Answer with `once`, `session` or `deny`, when the key counts."""
        if self._counts({"once": "y", "session": "a", "deny": "n"}[kind]):
            self._answer(kind)

    def action_click(self, choice: str) -> None:
        """A choice by mouse; like a key, it counts only when the question was seen."""
        if choice == "refuse":
            self.action_refuse()
        elif choice == "send":
            self._send_message()
        elif self.grace.accepts():
            if choice == "message":
                self._show_message_input(True)
            else:
                self._answer(cast("DecisionKind", choice))

    def action_deny_with_message(self) -> None:
        """Open the line for a message to the model."""
        if self._counts("m"):
            self._show_message_input(True)

    def action_refuse(self) -> None:
        """Deny and stop the turn; from the message line, back to the question."""
        if self.has_class("-writing"):
            self._show_message_input(False)
            self.focus()
        else:
            self._answer("deny", ends_turn=True)

    def action_scroll_rows(self, rows: int) -> None:
        """Scroll the preview."""
        self.query_one(PreviewView).scroll_relative(y=rows, animate=False)

    async def on_key(self, event: events.Key) -> None:
        """Keys that answer nothing are part of a draft."""
        if self.has_class("-writing") or not event.is_printable or event.character is None:
            return
        if event.key not in ANSWER_KEYS:
            event.stop()
            self._stray(event.character)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """The message is complete."""
        event.stop()
        self._send_message()

    def _send_message(self) -> None:
        line: Input = self.query_one("#approval-message")  # type: ignore[assignment]
        self._answer("deny", message=line.value)

    def _counts(self, character: str) -> bool:
        if self.grace.accepts():
            return True
        self.post_message(self.StrayText(character))
        return False

    def _stray(self, character: str) -> None:
        self.grace.shown()
        self.post_message(self.StrayText(character))

    def _answer(self, kind: DecisionKind, *, message: str = "", ends_turn: bool = False) -> None:
        if self.request is not None:
            request, self.request = self.request, None
            self.post_message(self.Answered(request, kind, message, ends_turn=ends_turn))

    def _show_message_input(self, shown: bool) -> None:
        self.set_class(shown, "-writing")
        if self.request is not None:
            self.query_one(HintLine).show(_WRITING if shown else _choices(to_terminal_line(self.request.kind)))
        line: Input = self.query_one("#approval-message")  # type: ignore[assignment]
        line.value = ""
        if shown:
            line.focus()

    def _title(self, request: ApprovalRequest) -> Text:
        title = lines.text("? ", self.palette.warning)
        title.append(to_terminal_line(request.title), self.palette.strong)
        where = f"  {to_terminal_line(request.tool)}"
        return title.append(where, self.palette.faint)

    def _warning(self, warning: str) -> Text:
        return lines.text(f"! {to_terminal_line(warning)}", self.palette.warning)


_WRITING: tuple[Hint, ...] = (("Enter", "deny and send this", "click('send')"), ("Esc", "back", "click('refuse')"))
_PLURALS = {"edit": "all edits", "command": "all commands"}


def _choices(kind: str) -> tuple[Hint, ...]:
    return (
        ("y", "allow once", "click('once')"),
        ("a", f"{_PLURALS.get(kind, kind)} this session", "click('session')"),
        ("n", "deny", "click('deny')"),
        ("m", "deny, say why", "click('message')"),
        ("Esc", "stop", "click('refuse')"),
    )
