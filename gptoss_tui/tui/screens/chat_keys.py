"""The keys of the chat screen, in the order in which the help shows them."""

from __future__ import annotations

from textual.binding import Binding

CHAT_KEYS: tuple[Binding, ...] = (
    Binding("escape", "interrupt", "Stop the model; twice: go back to an earlier message", id="chat.interrupt"),
    Binding("alt+comma", "change_effort(-1)", "Think less", id="chat.effort_down", priority=True),
    Binding("alt+full_stop", "change_effort(1)", "Think more", id="chat.effort_up", priority=True),
    Binding("shift+tab", "cycle_mode", "Next approval mode", id="chat.mode", priority=True),
    Binding("ctrl+t", "cycle_effort", "Next reasoning effort", id="chat.effort_cycle", priority=True),
    Binding("f2", "toggle_reasoning", "Show or hide the reasoning", id="chat.reasoning", priority=True),
    Binding("f3", "search", "Search in the conversation; again: next match", id="chat.search", priority=True),
    Binding("f4", "toggle_pane('tools')", "Show or hide the tool calls", id="chat.tools", priority=True),
    Binding("f5", "toggle_pane('citations')", "Show or hide the citations", id="chat.citations", priority=True),
    Binding("f6", "focus_pane", "Go to the next pane, then back to the composer", id="chat.focus", priority=True),
    Binding("ctrl+o", "toggle_details", "Open or close tool calls", id="chat.details", priority=True),
    Binding("ctrl+n", "new_conversation", "New conversation", id="chat.new", priority=True),
    Binding("ctrl+p", "palette", "All commands and keys", id="chat.palette", priority=True),
    Binding("ctrl+l", "redraw", "Draw the screen again", id="chat.redraw", priority=True),
    Binding("ctrl+end", "to_tail", "End of the conversation", id="chat.tail", priority=True),
    Binding("ctrl+c", "copy_or_quit", "Copy what is selected, else stop; twice: quit", id="chat.copy", priority=True),
    Binding("f1", "help", "All keys", id="chat.help", priority=True),
)
