"""The question before an action: exactly what would be done, and the keys to answer with.

A key only counts once the question has been on screen for a while and nothing was typed just before, so that typing
ahead never answers it. Keys that do not count are passed on to the draft.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Literal

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Input, Static

from gptoss_tui.sanitize import to_terminal_line
from gptoss_tui.tui import lines
from gptoss_tui.tui.bindings import APPROVAL_KEYS
from gptoss_tui.tui.blocks.base import plural
from gptoss_tui.tui.keys import key_name
from gptoss_tui.tui.widgets.answers import Answers
from gptoss_tui.tui.widgets.approval_inputs import CallEditor, ReasonInput, can_be_shown
from gptoss_tui.tui.widgets.approval_offers import Offer, editing_offers, note_for, offers_for, reason_offers
from gptoss_tui.tui.widgets.grace import KeyGrace
from gptoss_tui.tui.widgets.notes import NotesView
from gptoss_tui.tui.widgets.preview import PreviewView

if TYPE_CHECKING:
    from gptoss_tui.agent.events import ApprovalRequest, DecisionKind
    from gptoss_tui.tui.theme import Palette

SHARE = 0.75
"""The share of the screen that a question may take."""
FIXED_ROWS = 4
"""The rows for borders, title and the gap above the keys."""
MAX_NOTE_ROWS = 4
MIN_PREVIEW_ROWS = 3

State = Literal["asking", "writing", "editing"]


class ApprovalPanel(Vertical, can_focus=True, can_focus_children=True):
    """Shows one request at a time."""

    DEFAULT_CSS = """
    ApprovalPanel {
        display: none;
        height: auto;
        padding: 0 1;
        border: round $warning;
        border-title-color: $text-muted;
        border-title-align: right;
        border-subtitle-color: $text-muted;
        background: $background;

        &.-active { display: block; }
        #approval-title { height: 1; }
        #approval-keys { margin: 1 0 0 0; }
        #approval-message {
            display: none; border: none; height: 1; margin: 1 0 0 0; padding: 0 1; background: $panel;
        }
        #approval-editor { display: none; height: auto; border: none; padding: 0; background: $surface; }
        &.-writing #approval-message { display: block; }
        &.-editing #approval-editor { display: block; }
        &.-editing #approval-preview { display: none; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [*APPROVAL_KEYS]

    class Answered(Message):
        """The user decided on the request shown. `ends_turn` means to stop the turn as well."""

        def __init__(
            self,
            request: ApprovalRequest,
            kind: DecisionKind,
            message: str = "",
            *,
            ends_turn: bool = False,
            grant: int = 0,
            text: str = "",
            leave_out: tuple[str, ...] = (),
        ) -> None:
            super().__init__()
            self.request = request
            self.kind = kind
            self.message = message
            self.ends_turn = ends_turn
            self.grant = grant
            self.text = text
            self.leave_out = leave_out

    class StrayText(Message):
        """A key was pressed that is not an answer; `text` is what it types."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self, palette: Palette, clock: Callable[[], float], root: str, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.palette = palette
        self.grace = KeyGrace(clock)
        self.request: ApprovalRequest | None = None
        self._clock = clock
        self._root = root
        self._state: State = "asking"
        self._grant = 0
        self._pressed = float("-inf")
        self._pressed_text = ""
        self._attempt: tuple[str, str] = ("", "")

    def compose(self) -> ComposeResult:
        yield Static(id="approval-title", markup=False)
        yield NotesView(id="approval-notes")
        yield PreviewView(id="approval-preview")
        yield CallEditor(id="approval-editor", compact=True, tab_behavior="indent")
        yield ReasonInput(placeholder="Tell the model why", id="approval-message")
        yield Answers(self.palette, id="approval-keys")

    def ask(self, request: ApprovalRequest) -> None:
        """Show `request` and take the focus."""
        self.grace.hidden()
        self.request, self._grant, self._pressed = request, 0, float("-inf")
        self.query_one("#approval-title", Static).update(self._title(request))
        notes, preview = self.query_one(NotesView), self.query_one(PreviewView)
        notes.show_request(request, self.palette)
        notes.display = notes.total_rows > 0
        preview.show(request, root=self._root, palette=self.palette)
        self._enter("asking")
        self.add_class("-active")
        self._fit()
        self.focus()
        self.call_after_refresh(self._shown)

    def use_palette(self, palette: Palette) -> None:
        """Apply another palette."""
        self.palette = palette
        self.query_one(NotesView).use_palette(palette)
        self.query_one(PreviewView).use_palette(palette)
        self.query_one(Answers).palette = palette
        self.query_one(Answers).refresh()

    def dismiss(self) -> None:
        """Hide the panel."""
        self.grace.hidden()
        self.request = None
        self._enter("asking")
        self.remove_class("-active")

    # -- layout -----------------------------------------------------------------------------------------------------

    def on_resize(self) -> None:
        """Keep the keys visible at every size."""
        self._fit()
        self.call_after_refresh(self._say_rows)

    def _fit(self) -> None:
        """Divide the rows that the other parts leave between notes and preview; both can scroll."""
        if self.request is None:
            return
        notes, preview = self.query_one(NotesView), self.query_one(PreviewView)
        keys = self.query_one(Answers).rows(max(8, self.app.size.width - 4))
        written = 2 if self._state == "writing" else 0  # the line for the message, and the gap above it
        room = max(MIN_PREVIEW_ROWS, round(self.app.size.height * SHARE) - FIXED_ROWS - keys - written)
        spare = room - preview.total_rows
        for_notes = min(notes.total_rows, max(min(MAX_NOTE_ROWS, room - MIN_PREVIEW_ROWS), spare, 1))
        notes.styles.max_height = for_notes
        preview.styles.max_height = max(MIN_PREVIEW_ROWS, room - for_notes)
        self.query_one(CallEditor).styles.max_height = max(MIN_PREVIEW_ROWS, room - for_notes)

    def _shown(self) -> None:
        self._say_rows()
        self.grace.shown()

    def _say_rows(self) -> None:
        notes, preview = self.query_one(NotesView), self.query_one(PreviewView)
        said = [plural(view.total_rows, what) for view, what in ((notes, "note"), (preview, "row")) if view.is_cut]
        self.border_subtitle = f"{', '.join(said)}: Up and Down scroll" if said else None
        files = preview.files
        self.border_title = f"file {preview.file_at_top + 1} of {len(files)}" if len(files) > 1 else None

    def _enter(self, state: State) -> None:
        self._state = state
        self.set_class(state == "writing", "-writing")
        self.set_class(state == "editing", "-editing")
        self.query_one(ReasonInput).value = ""
        self._show_answers()
        self._fit()
        if state == "writing":
            self.query_one(ReasonInput).focus()
        elif state == "editing":
            self.query_one(CallEditor).focus()
        elif self.request is not None:
            self.focus()

    def _show_answers(self) -> None:
        if self.request is None:
            return
        preview = self.query_one(PreviewView)
        if self._state == "writing":
            offers = [reason_offers()]
        elif self._state == "editing":
            offers = [editing_offers()]
        else:
            offers = offers_for(
                self.request, self._grant, len(preview.files), len(preview.left_out), self.app.size.width
            )
        keys = (self._hint(Offer(f"approval.{which}", ""))[0] for which in ("session", "always"))
        note = note_for(self.request, self._grant, preview.left_out, *keys) if self._state == "asking" else ""
        self.query_one(Answers).show([[self._hint(offer) for offer in row] for row in offers], note)

    def _hint(self, offer: Offer) -> tuple[str, str, str]:
        binding = next(b for b in self.BINDINGS if isinstance(b, Binding) and b.id == offer.binding)
        first = self.app._keymap.get(offer.binding, binding.key).split(",")[0]
        return offer.key or key_name(first), offer.words, f"click('{offer.binding.removeprefix('approval.')}')"

    # -- keys -------------------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Disable the letter keys while the user types text."""
        if self._state == "asking":
            return action != "finish_edit"
        return action in ("refuse", "click") or (self._state == "editing" and action in ("finish_edit", "edit_outside"))

    async def on_key(self, event: events.Key) -> None:
        """Run the action of a key, and remember when it was pressed. Keys that are not answers go to the draft."""
        self._pressed = event.time if self._clock is time.monotonic else self._clock()
        self._pressed_text = event.character or ""
        if self._state != "asking":
            self._write(event)
        elif self.request is not None and (action := self._own_keys().get(event.key)) is not None:
            # Run right away: if it went through the app's bindings, the next key would overtake it.
            event.stop()
            await self.run_action(action)
        elif event.is_printable:
            event.stop()
            self._stray()

    def _own_keys(self) -> dict[str, str]:
        """The action of each key, according to the user's keymap."""
        keymap = self.app._keymap
        found = [binding for binding in self.BINDINGS if isinstance(binding, Binding)]
        return {key: b.action for b in found for key in keymap.get(b.id or "", b.key).split(",")}

    def _write(self, event: events.Key) -> None:
        """Handle a key that was already on its way when the text field got the focus."""
        if event.key == "enter" and self._state == "writing":
            event.stop()
            self._send_message()
        elif event.is_printable and event.character:
            event.stop()
            if self._state == "writing":
                self.query_one(ReasonInput).insert_text_at_cursor(event.character)
            else:
                self.query_one(CallEditor).insert(event.character)

    def _counts(self) -> bool:
        """Whether the last key press counts as an answer. Each press can be checked only once."""
        pressed, self._pressed = self._pressed, float("-inf")
        if self.grace.accepts(pressed):
            return True
        self._type()
        return False

    def _stray(self) -> None:
        if self.request is not None:
            self.grace.shown()
        self._type()

    def _type(self) -> None:
        if self._pressed_text.isprintable() and self._pressed_text:
            self.post_message(self.StrayText(self._pressed_text))

    async def action_click(self, what: str) -> None:
        """Answer by mouse; as with keys, this only counts once the question has been seen."""
        binding = next(b for b in self.BINDINGS if isinstance(b, Binding) and b.id == f"approval.{what}")
        self._pressed, self._pressed_text = self._clock(), ""
        if self._state == "writing" and what == "message":
            self._send_message()
        else:
            await self.run_action(binding.action)

    # -- answers ----------------------------------------------------------------------------------------------------

    def action_answer(self, kind: DecisionKind) -> None:
        """Answer with `once`, `session`, `always` or `deny`, if the key counts."""
        request = self.request
        if request is None or not self._counts():
            return
        left_out = self.query_one(PreviewView).left_out
        if kind == "deny":
            self._answer("deny")
        elif kind != "once" and (left_out or not request.grants):
            self._stray()
        elif not left_out:
            self._answer(kind, grant=self._grant)
        elif len(left_out) == len(self.query_one(PreviewView).files):
            self._say("That leaves no file. Deny it instead.")
        else:
            self._answer("edit", leave_out=tuple(sorted(left_out)))

    def action_deny_with_message(self) -> None:
        """Open the line for a message to the model."""
        if self._counts():
            self._enter("writing")

    def action_refuse(self) -> None:
        """Deny and stop the turn; while text is being typed, return to the question instead."""
        if self._state == "asking":
            self._answer("deny", ends_turn=True)
            return
        if self._state == "editing":
            self.grace.shown()  # the editor covered the preview until now
        self._enter("asking")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Send the message."""
        event.stop()
        self._send_message()

    def _send_message(self) -> None:
        self._answer("deny", message=self.query_one(ReasonInput).value)

    def _answer(
        self,
        kind: DecisionKind,
        *,
        message: str = "",
        ends_turn: bool = False,
        grant: int = 0,
        text: str = "",
        leave_out: tuple[str, ...] = (),
    ) -> None:
        if self.request is not None:
            request, self.request = self.request, None
            self.post_message(
                self.Answered(request, kind, message, ends_turn=ends_turn, grant=grant, text=text, leave_out=leave_out)
            )

    # -- changing the call ------------------------------------------------------------------------------------------

    def action_edit(self) -> None:
        """Open the call's text for editing, or point to the user's editor if it has characters that cannot be shown."""
        if self.request is None or not self._counts():
            return
        text = self._editable(self.request)
        if not text:
            self._stray()
        elif not can_be_shown(text):
            self._say("The text has characters that cannot be shown here. Ctrl+G opens your editor.")
        else:
            self.query_one(CallEditor).load_text(text)
            self._enter("editing")

    def action_edit_outside(self) -> None:
        """Open the call's text in the user's own editor."""
        from gptoss_tui.tui.widgets.approval_editor import edit_outside

        if self.request is None or not (self._state == "editing" or self._counts()):
            return
        text = self.query_one(CallEditor).text if self._state == "editing" else self._editable(self.request)
        if text:
            edited, problem = edit_outside(self.app, text)
            self._say(problem) if problem else self._offer_edit(edited)

    def action_finish_edit(self) -> None:
        """Submit the edited call, to have it planned and shown."""
        self._offer_edit(self.query_one(CallEditor).text)

    def _offer_edit(self, text: str) -> None:
        request = self.request
        if request is None:
            return
        if text == request.source or not text.strip():
            self._enter("asking")
            self.grace.shown()
        else:
            self._attempt = (request.item_id, text)
            self._answer("edit", text=text)

    def _editable(self, request: ApprovalRequest) -> str:
        """The text to start editing with: the previous attempt if it was rejected, so that it can be corrected."""
        item_id, text = self._attempt
        refused = item_id == request.item_id and text != request.source and request.revision > 0
        return text if refused and request.source else request.source

    # -- viewing ----------------------------------------------------------------------------------------------------

    def action_scroll_rows(self, rows: int) -> None:
        """Scroll notes and preview as if they were one view."""
        views = [self.query_one(NotesView), self.query_one(PreviewView)]
        for view in views if rows > 0 else reversed(views):
            if view.scroll_rows(rows) and abs(rows) < 1000:
                break
        self._say_rows()

    def action_next_grant(self) -> None:
        """Select the next grant, of those that can be allowed for longer than once."""
        if self.request is not None and self.request.grants:
            self._grant = (self._grant + 1) % len(self.request.grants)
            self._show_answers()

    def action_change_layout(self) -> None:
        """Switch between the side-by-side and the unified layout of a diff."""
        if self._counts() and self.request is not None:
            if self.request.preview_type != "diff":
                self._stray()
                return
            preview = self.query_one(PreviewView)
            preview.layout_of_diff = "unified" if preview.layout_of_diff == "split" else "split"
            preview.draw_again()

    def action_go_to_file(self, step: int) -> None:
        """Go to the next file (1) or the previous one (-1)."""
        if self._counts():
            preview = self.query_one(PreviewView)
            preview.go_to_file(preview.file_at_top + step)
            self._say_rows()

    def action_leave_out(self) -> None:
        """Leave out the file at the top of the preview, or include it again."""
        preview = self.query_one(PreviewView)
        if self.request is None or not self._counts():
            return
        if not self.request.selectable or len(preview.files) < 2:
            self._stray()
            return
        number = preview.file_at_top
        preview.left_out = preview.left_out ^ {preview.files[number][1]}
        preview.draw_again()
        preview.go_to_file(number)
        self._show_answers()
        self._fit()

    def _say(self, what: str) -> None:
        self.notify(to_terminal_line(what), severity="warning", markup=False, timeout=5)

    def _title(self, request: ApprovalRequest) -> Text:
        title = lines.text("? ", self.palette.warning)
        title.append(to_terminal_line(request.title), self.palette.strong)
        title.append(f"  {to_terminal_line(request.tool)}", self.palette.faint)
        changed = f"  changed by you, {plural(request.revision, 'time')}" if request.revision else ""
        return title.append(changed, self.palette.accent)
