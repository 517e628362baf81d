"""Changing files: what the message shows, or what has to be read first."""

from __future__ import annotations

from collections.abc import Callable

from gptoss_tui.tools.formats import format_matches, format_read
from training.data.changes import Edit, apply_changes, hunks
from training.data.chat import Chat, Expectation
from training.data.draw import Draw
from training.data.edits import EDITS, REPLACEMENTS, set_value, some_edit
from training.data.files import show_in_message, some_file
from training.data.phrasing import say, wordings


def _expect(chat: Chat, edit: Edit) -> None:
    after = "".join(f"{line}\n" for line in apply_changes(edit.file.lines, edit.changes))
    chat.expectation = Expectation(
        files_before={edit.file.path: edit.file.content},
        files_after={edit.file.path: after},
        tool="functions.apply_patch",
        answer_has=(edit.file.path,),
    )


def think_edit(chat: Chat, edit: Edit) -> None:
    """Name the line and what becomes of it, so that the patch is a copy."""
    lines, changes = edit.file.lines, edit.changes
    at, count, new = changes[0]
    if len(changes) > 1:
        medium = f"I {edit.goal} in every line of {edit.file.path} that has it."
    elif not count:
        medium = f"I {edit.goal} to {edit.file.path}."
    elif not new:
        medium = f"I remove `{lines[at].strip()}` from {edit.file.path}."
    else:
        medium = f"In {edit.file.path} `{lines[at].strip()}` becomes `{new[0].strip()}`."
    chat.think(
        f"{edit.goal[:1].upper()}{edit.goal[1:]}.", medium, "The other lines stay as they are. One patch does it."
    )


def replace_shown(chat: Chat) -> None:
    """Replace something in a file that stands in the message."""
    _edit_shown(chat, REPLACEMENTS)


def edit_shown(chat: Chat) -> None:
    """Any change of a file that stands in the message."""
    _edit_shown(chat, REPLACEMENTS if chat.draw.chance(0.5) else EDITS)


def _edit_shown(chat: Chat, kinds: tuple[Callable[[Draw], Edit | None], ...]) -> None:
    edit, patch = some_edit(chat.draw, kinds)
    chat.skill, chat.key = "edit_shown", edit.key
    chat.user(show_in_message(chat, edit.request, edit.file))
    _finish(chat, edit, patch)


def _finish(chat: Chat, edit: Edit, patch: list[str]) -> None:
    think_edit(chat, edit)
    _expect(chat, edit)
    chat.apply([("M", edit.file.path)], [f"*** Update File: {edit.file.path}", *patch], edit.done)


def read_first(chat: Chat, goal: str, path: str) -> None:
    """Read a file that was not seen yet."""
    chat.think(
        f"Read {path}.",
        f"The user wants to {goal} in {path}. I read the file first.",
        "I have not seen it. Then I change only that.",
    )
    chat.call("functions.read_file", path=path)


def edit_read(chat: Chat) -> None:
    """The file is read before it is changed."""
    draw = chat.draw
    u = draw.rng.random()
    if u < 0.06:
        return copy_file(chat)
    if u < 0.12:
        return find_and_set(chat)
    edit, patch = some_edit(draw)
    file = edit.file
    chat.skill, chat.key = "edit_read", edit.key
    chat.user(edit.request)
    read_first(chat, edit.goal, file.path)
    if draw.split == "train" and draw.chance(0.05):
        missing(chat, file.path)
        return None
    if draw.split == "train" and draw.chance(0.04):
        other = some_file(draw)
        if edit.changes[0][1] and not any(line in other.lines for line in file.lines):
            chat.reply(format_read(file.path, other.lines, start=1, total=len(other.lines)))
            chat.think("Not there.", f"{file.path} has nothing like that.", "So I change nothing and say so.")
            chat.final(f"I found nothing to change in `{file.path}`.")
            return None
    chat.reply(format_read(file.path, file.lines, start=1, total=len(file.lines)))
    _finish(chat, edit, patch)
    return None


def missing(chat: Chat, path: str) -> None:
    """The file is not there."""
    draw = chat.draw
    if draw.chance(0.3):
        other = draw.path(path.rpartition(".")[2])
        chat.reply(f"{path}: there is no such file. Did you mean {other}?")
        chat.think(f"No {path}.", f"There is no {path}, but {other} is like it.", "I ask the user.")
        chat.final(f"There is no `{path}`. Did you mean `{other}`?")
        return
    chat.reply(f"{path}: there is no such file")
    chat.think(f"No {path}.", f"There is no {path} in the workspace.", "I tell the user.")
    chat.final(f"There is no `{path}` in the workspace.")


def copy_file(chat: Chat) -> None:
    """A second file with the same lines."""
    draw = chat.draw
    file = some_file(draw, 14)
    new = draw.path(file.extension) if file.extension != "env" else ".env.example"
    if new == file.path:
        new = f"copy_{new.replace('/', '_')}"
    request = say(draw, wordings("edit", "copy_file"), polite=True, f=file.path, n=new)
    chat.skill, chat.key = "edit_read", f"{file.path}|{new}"
    chat.user(request)
    chat.think(f"Read {file.path}.", f"The user wants a copy of {file.path}. I read it first.", f"Then I add {new}.")
    chat.call("functions.read_file", path=file.path)
    if draw.split == "train" and draw.chance(0.05):
        missing(chat, file.path)
        return
    chat.reply(format_read(file.path, file.lines, start=1, total=len(file.lines)))
    chat.think(f"Add {new}.", f"I add {new} with the lines of {file.path}.", "Every line stays as it is.")
    chat.expectation = Expectation(
        files_before={file.path: file.content},
        files_after={file.path: file.content, new: file.content},
        tool="functions.apply_patch",
        answer_has=(new,),
    )
    chat.apply(
        [("A", new)],
        [f"*** Add File: {new}", *(f"+{line}" for line in file.lines)],
        f"I copied `{file.path}` to `{new}`.",
    )


def find_and_set(chat: Chat) -> None:
    """`change the port to 9000`, and nobody says where: search for it first."""
    draw = chat.draw
    edit = set_value(draw)
    while edit is None or (found := hunks(edit.file.lines, edit.changes)) is None or edit.file.path == ".env":
        edit = set_value(draw)
    path, key, new = edit.key.split("|")
    if sum(key in line for line in edit.file.lines) != 1:
        find_and_set(chat)
        return
    request = say(draw, wordings("edit", "find_and_set"), polite=True, k=key, n=new)
    chat.skill, chat.key = "edit_read", edit.key
    chat.user(request)
    chat.think(
        f"Search {key}.",
        f"The user wants to {edit.goal}. I search for {key} to find the file.",
        "Then I read and change it.",
    )
    chat.call("functions.search_files", pattern=key)
    at = edit.changes[0][0]
    chat.reply(format_matches([(path, at + 1, edit.file.lines[at])], total=1))
    chat.think(f"Read {path}.", f"{key} is in {path}. I read it.", "Then I change it.")
    chat.call("functions.read_file", path=path)
    chat.reply(format_read(path, edit.file.lines, start=1, total=len(edit.file.lines)))
    _finish(chat, edit, found)
