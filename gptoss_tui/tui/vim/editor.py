"""The modes, and what each key means in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from gptoss_tui.tui.vim import changes
from gptoss_tui.tui.vim.changes import Area, Change, Register
from gptoss_tui.tui.vim.command import MOTIONS, Command, parse
from gptoss_tui.tui.vim.motions import (
    Motion,
    Span,
    find_character,
    first_letter,
    last_place,
    line_end,
    line_start,
    move,
    text_object,
)

Mode = Literal["insert", "normal", "visual", "lines"]

_SAME_AS = {"left": "h", "right": "l", "home": "0", "end": "$", "backspace": "h", "space": "l", " ": "l"}
_WHILE_SELECTING = {"up": "k", "down": "j"}
_ON_LINES = {*"XDCYSJ"}
"""Commands that take whole lines of a selection."""
_OTHER_WAY = str.maketrans("fFtT", "FfTt")


@dataclass(frozen=True, slots=True)
class Step:
    """What the editor has to do for a key, in this order; nothing at all if the key was only remembered.

    `action` is something that it can do itself: `undo`, `redo`, `cursor_up`, `cursor_down` or `search_history`.
    `selection` is the other end of the selection, whose one end is the cursor.
    """

    change: Change | None = None
    cursor: int | None = None
    selection: int | None = None
    action: str = ""
    times: int = 1


class Vim:
    """The state between keys. `at` is always the offset of the cursor, `whole` are spans that nothing may split."""

    def __init__(self) -> None:
        self.mode: Mode = "insert"
        self.pending = ""
        """The keys of a command that is not complete."""
        self.register = Register()
        self._anchor = 0
        self._selecting_in = ""
        self._drawn = (0, 0)
        """While lines are selected: where the cursor is drawn, and where it is."""
        self._found: Command | None = None
        self._last: Command | None = None
        self._last_typed = ""
        self._opened: tuple[str, int] | None = None

    def start_typing(self) -> None:
        """Go to insert mode, because the text comes from elsewhere or is a new one."""
        self.mode = "insert"
        self.pending = ""
        self._opened = None

    def press(self, key: str, text: str, at: int, whole: Sequence[Span] = ()) -> Step | None:
        """Handle a key: a character, or a name such as `escape`. None if the key means what it means without Vim."""
        if self.mode == "insert":
            return self._leave_insert(text, at) if key == "escape" else None
        if self.mode != "normal" and text != self._selecting_in:
            self.mode = "normal"  # something else has changed the text, so nothing is selected any more
        if key == "escape":
            return self._escape(text, at)
        if key == "ctrl+r":
            self.pending = ""
            return Step(action="redo") if self.mode == "normal" else Step()
        takes_any = self.pending[-1:] and self.pending[-1] in "fFtTr"
        if not (takes_any and len(key) == 1):
            key = _SAME_AS.get(key, key) if text else key
            if self.mode != "normal":
                key = _WHILE_SELECTING.get(key, key)
        if len(key) != 1 or (key == "?" and not text):
            unfinished, self.pending = self.pending, ""
            return Step() if unfinished else None  # after a slip such as `d`, Enter sends nothing
        return self._type(key, text, at, whole)

    def _type(self, key: str, text: str, at: int, whole: Sequence[Span]) -> Step:
        keys, self.pending = self.pending + key, ""
        try:
            command = parse(keys, selecting=self.mode != "normal")
        except ValueError:
            return Step()
        if command is None:
            self.pending = keys
            return Step()
        step = self._select(command, text, at, whole) if self.mode != "normal" else self._run(command, text, at, whole)
        return self._settled(step, text)

    def _leave_insert(self, text: str, at: int) -> Step:
        self.mode = "normal"
        if self._opened is not None:
            before, place = self._opened
            tail = before[place:]
            typed = text[place : len(text) - len(tail)]
            self._last_typed = typed if text == before[:place] + typed + tail else ""
            self._opened = None
        return Step(cursor=max(line_start(text, at), at - 1))

    def _escape(self, text: str, at: int) -> Step | None:
        if self.mode != "normal":
            at = self._drawn[1] if self.mode == "lines" and at == self._drawn[0] else at
            self.mode = "normal"
            return Step(cursor=min(at, last_place(text, at)))
        if self.pending:
            self.pending = ""
            return Step()
        return None

    def _settled(self, step: Step | None, text: str) -> Step:
        """`step` with the cursor where it can be, and the text remembered if typing begins."""
        if step is None:
            return Step()
        change = step.change
        if change is None:
            if step.cursor is None or step.selection is not None:
                return step
            return replace(step, cursor=min(step.cursor, last_place(text, step.cursor)))
        after = change.applied(text)
        if change.insert:
            self.mode = "insert"
            self._opened = (after, change.cursor)
            return step
        return replace(step, change=replace(change, cursor=min(change.cursor, last_place(after, change.cursor))))

    # Normal mode

    def _run(self, command: Command, text: str, at: int, whole: Sequence[Span]) -> Step | None:
        name, count = command.name, command.count or 1
        if command.name in changes.SHORT and not command.operator:
            operator, name = changes.SHORT[command.name]
            command = replace(command, name=name, operator=operator)
            return self._run(command, text, at, whole)
        if name == ".":
            return self._repeat(command.count, text, at, whole)
        if name in "jk" and not command.operator and count == 1:
            return Step(action="cursor_down" if name == "j" else "cursor_up")
        if name in ("v", "V"):
            self.mode, self._anchor = ("visual" if name == "v" else "lines"), at
            self._selecting_in = text
            return self._selected(text, at)
        if name == "u":
            return Step(action="undo", times=count)
        if name == "/":
            return Step(action="search_history")
        if not command.operator and (motion := self._motion(command, text, at)) is not None:
            return Step(cursor=motion.end)
        change = self._change(command, text, at, whole)
        if change is None:
            return None
        if change.taken is not None:
            self.register = change.taken
        if command.operator != "y":
            self._last = command
        return Step(change)

    def _change(self, command: Command, text: str, at: int, whole: Sequence[Span]) -> Change | None:
        """What a command that is no motion does."""
        name, count = command.name, command.count or 1
        if command.operator:
            area = self._area(command, text, at)
            return None if area is None else changes.operate(command.operator, text, at, area, whole)
        match name:
            case "p" | "P":
                return changes.put(name, text, at, self.register, count, whole)
            case "r":
                return changes.replace_characters(text, at, command.character, count, whole)
            case "~":
                end = min(at + count, line_end(text, at))
                return changes.change_case(name, text, Area(at, end, at), end, whole)
            case "J":
                return changes.join(text, at, count)
            case "i" | "a" | "I" | "A" | "o" | "O":
                return changes.begin_insert(name, text, at, whole)
        return None

    def _area(self, command: Command, text: str, at: int) -> Area | None:
        if command.name == command.operator:
            return changes.area_of_lines(text, at, command.count or 1)
        if len(command.name) == 2 and command.name[0] in "ia":
            return changes.area_of_object(command, text, at)
        motion = self._motion(command, text, at)
        return None if motion is None else changes.area_of_motion(command, motion, text, at)

    def _motion(self, command: Command, text: str, at: int) -> Motion | None:
        """Where a motion leads. `;` and `,` repeat the last search for a character."""
        name, character, again = command.name, command.character, False
        if name in (";", ","):
            if self._found is None:
                return None
            name, character, again = self._found.name, self._found.character, True
            name = name.translate(_OTHER_WAY) if command.name == "," else name
        elif character and name in "fFtT":
            self._found = command
        if name not in ("f", "F", "t", "T"):
            return move(name, text, at, command.count)
        end = find_character(text, at, name, character, command.count or 1, again=again)
        return None if end is None else Motion(end, "inclusive" if name in "ft" else "exclusive")

    def _repeat(self, count: int | None, text: str, at: int, whole: Sequence[Span]) -> Step | None:
        """`.`: the last change again, with what was typed in it."""
        if self._last is None:
            return None
        command = self._last if count is None else replace(self._last, count=count)
        step = self._run(command, text, at, whole)
        if step is None or step.change is None or not step.change.insert:
            return step
        change, typed = step.change, self._last_typed
        cut = change.cursor - change.start
        new = change.text[:cut] + typed + change.text[cut:]
        return Step(replace(change, text=new, cursor=max(change.cursor, change.cursor + len(typed) - 1), insert=False))

    # Selecting

    def _select(self, command: Command, text: str, at: int, whole: Sequence[Span]) -> Step | None:
        """Run a command on the selection, or move its end."""
        if self.mode == "lines" and at == self._drawn[0]:
            at = self._drawn[1]
        name = command.name
        if name in ("v", "V"):
            wanted: Mode = "visual" if name == "v" else "lines"
            if wanted == self.mode:
                return self._escape(text, at)
            self.mode = wanted
            return self._selected(text, at)
        if name == "o":
            at, self._anchor = self._anchor, at
            return self._selected(text, at)
        if len(name) == 2 and name[0] in "ia":
            span = text_object(name, text, at)
            if span is None or span[0] == span[1]:
                return Step()
            self._anchor, at = span[0], span[1] - 1
            return self._selected(text, at)
        if name in MOTIONS:
            motion = self._motion(command, text, at)
            return None if motion is None else self._selected(text, min(motion.end, last_place(text, motion.end)))
        return self._on_selection(command, text, at, whole)

    def _selected(self, text: str, at: int) -> Step:
        """The selection between the anchor and `at`, the characters at both included; or all of their lines."""
        if self.mode == "lines":
            down = at >= self._anchor
            cursor = line_end(text, at) if down else line_start(text, at)
            other = line_start(text, self._anchor) if down else line_end(text, self._anchor)
            self._drawn = (cursor, at)
            return Step(cursor=cursor, selection=other)
        return Step(cursor=at, selection=self._anchor if at >= self._anchor else self._anchor + 1)

    def _on_selection(self, command: Command, text: str, at: int, whole: Sequence[Span]) -> Step | None:
        """Run a command on the selected text; back to normal mode."""
        name, lines = command.name, self.mode == "lines" or command.name in _ON_LINES
        first, last = sorted((self._anchor, at))
        area = Area(first, min(last + 1, len(text)), first)
        if lines:
            first = line_start(text, first)
            area = Area(first, line_end(text, last), first, lines=True)
        self.mode = "normal"
        change: Change | None
        match name:
            case "J":
                change = changes.join(text, first, text.count("\n", first, area.end) + 1)
            case "~" | "u" | "U":
                change = changes.change_case(name, text, area, area.start, whole)
            case "p" | "P":
                change = self._put_over(text, at, area, whole)
            case _:
                operator = {"x": "d", "X": "d", "D": "d", "C": "c", "s": "c", "S": "c", "Y": "y"}.get(name, name)
                change = changes.operate(operator, text, first, area, whole)
        if change is None:
            return Step(cursor=first)
        if change.taken is not None:
            self.register = change.taken
        return Step(change)

    def _put_over(self, text: str, at: int, area: Area, whole: Sequence[Span]) -> Change:
        """Replace the selection by the register, which takes the selected text."""
        cut = changes.operate("c", text, at, area, whole)
        new, cursor = self.register.text, cut.start + max(0, len(self.register.text) - 1)
        if self.register.lines and not area.lines:
            new = f"\n{new}\n"
        if self.register.lines or area.lines:
            after = replace(cut, text=new).applied(text)
            cursor = first_letter(after, cut.start + (new != self.register.text))
        return replace(cut, text=new, insert=False, cursor=cursor)
