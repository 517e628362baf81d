"""All keys of the app that have names, by the place where they work; the help and the user's own keys go by this."""

from __future__ import annotations

from textual.binding import Binding

COMPOSER_KEYS: tuple[Binding, ...] = (
    Binding("enter", "submit", "Send the message", id="composer.submit"),
    Binding("tab", "submit_later", "Complete; while the model works, queue the message", id="composer.later"),
    Binding("ctrl+j,shift+enter,alt+enter", "newline", "Start a new line", id="composer.newline"),
    Binding("up", "cursor_up", "Earlier prompt, from the first line", id="composer.up"),
    Binding("down", "cursor_down", "Later prompt, from the last line", id="composer.down"),
    Binding("pageup", "screen.scroll_page(-1)", "Conversation one page up", id="composer.page_up"),
    Binding("pagedown", "screen.scroll_page(1)", "Conversation one page down", id="composer.page_down"),
    Binding("ctrl+r", "search_history", "Search all earlier prompts", id="composer.search"),
    Binding("ctrl+g", "edit_outside", "Write in your editor ($VISUAL or $EDITOR)", id="composer.editor"),
    Binding("alt+v", "spell_out", "Spell out the paste at the cursor", id="composer.spell_out"),
    Binding("ctrl+underscore", "undo", "Undo typing (also Ctrl+/)", id="composer.undo"),
    Binding("ctrl+y", "redo", "Redo typing", id="composer.redo"),
    Binding("ctrl+d", "delete_or_leave", "Delete to the right; quit, when nothing is typed", id="composer.leave"),
    Binding("question_mark", "help_or_type", "Help, when the composer is empty", id="composer.help"),
)

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

APP_KEYS: tuple[Binding, ...] = (
    Binding("ctrl+q", "quit", "Quit", id="app.quit", priority=True),
    Binding("ctrl+z", "suspend_process", "Suspend; `fg` in the shell comes back", id="app.suspend", priority=True),
)

APPROVAL_KEYS: tuple[Binding, ...] = (
    Binding("y", "answer('once')", "Allow once", id="approval.once"),
    Binding("a", "answer('session')", "Allow for this conversation", id="approval.session"),
    Binding("w", "answer('always')", "Allow always in this workspace", id="approval.always"),
    Binding("n", "answer('deny')", "Deny", id="approval.deny"),
    Binding("m", "deny_with_message", "Deny and tell the model why", id="approval.message"),
    Binding("e", "edit", "Change the call before allowing it", id="approval.edit"),
    Binding("ctrl+g", "edit_outside", "Change it in your editor ($VISUAL or $EDITOR)", id="approval.editor"),
    Binding("alt+enter,ctrl+s", "finish_edit", "Show what the changed call would do", id="approval.edited"),
    Binding("tab", "next_grant", "Allow more or less with a and w", id="approval.scope"),
    Binding("d", "change_layout", "Diff side by side, or one after the other", id="approval.layout"),
    Binding("right_square_bracket", "go_to_file(1)", "Next file", id="approval.next_file"),
    Binding("left_square_bracket", "go_to_file(-1)", "File before", id="approval.file_before"),
    Binding("space", "leave_out", "Leave this file out, or take it in", id="approval.leave_out"),
    Binding("escape", "refuse", "Deny and stop the turn", id="approval.refuse"),
    Binding("up", "scroll_rows(-1)", "Scroll up", id="approval.up"),
    Binding("down", "scroll_rows(1)", "Scroll down", id="approval.down"),
    Binding("pageup", "scroll_rows(-10)", "Scroll up ten rows", id="approval.page_up"),
    Binding("pagedown", "scroll_rows(10)", "Scroll down ten rows", id="approval.page_down"),
    Binding("home", "scroll_rows(-1000000)", "First row", id="approval.home"),
    Binding("end", "scroll_rows(1000000)", "Last row", id="approval.end"),
)

HELP_KEYS: tuple[Binding, ...] = (Binding("escape,f1,q,question_mark", "dismiss", "Close the help", id="help.close"),)

PLACES: tuple[tuple[str, tuple[Binding, ...]], ...] = (
    ("Composer", COMPOSER_KEYS),
    ("Anywhere", CHAT_KEYS + APP_KEYS),
    ("While an approval is asked", APPROVAL_KEYS),
    ("Help", HELP_KEYS),
)
"""The places as the help names them, in its order."""
