"""Turns that lean on the turns before: change what was just made, retry after an error, file tools that are off."""

from __future__ import annotations

from collections.abc import Callable

from gptoss_tui.tools.formats import format_applied, format_read
from training.data.changes import apply_changes
from training.data.chat import Chat, Expectation
from training.data.create import TEXTS
from training.data.draw import Draw
from training.data.edit import think_edit
from training.data.edits import EDITS, some_edit
from training.data.families import FAMILIES
from training.data.files import TextFile
from training.data.phrasing import say, sentence, wordings
from training.data.programs import PRINTERS, Program, print_text


def _made(chat: Chat) -> Program:
    """A finished turn that created a file; it is not learned again."""
    draw = chat.draw
    program = print_text(draw) if draw.chance(0.5) else draw.choice((*TEXTS, *FAMILIES))(draw)
    chat.user(program.request)
    chat.patch([f"*** Add File: {program.path}", *(f"+{line}" for line in program.lines)])
    chat.reply(format_applied([("A", program.path)]))
    chat.final(sentence(f"I created `{program.path}` {program.purpose}"))
    return program


def follow_up(chat: Chat) -> None:
    """A second turn about the file of the first."""
    kinds = (print_other, print_other, also_print, delete_it, rename_it, edit_it, edit_it, what_was_done, show_it)
    chat.skill = "follow_up"
    chat.draw.choice(kinds)(chat)


def _printer(chat: Chat) -> tuple[str, list[str], str]:
    """A finished turn that made a program with one print: path, lines, language."""
    draw = chat.draw
    while True:
        program = print_text(draw)
        language = program.path.rpartition(".")[2]
        if language in ("py", "js", "sh", "rb", "lua", "ts"):
            break
    chat.user(program.request)
    chat.patch([f"*** Add File: {program.path}", *(f"+{line}" for line in program.lines)])
    chat.reply(format_applied([("A", program.path)]))
    chat.final(sentence(f"I created `{program.path}` {program.purpose}"))
    return program.path, program.lines, language


def print_other(chat: Chat) -> None:
    """`now make it print goodbye`"""
    draw = chat.draw
    path, lines, language = _printer(chat)
    line, text = lines[-1], draw.message()
    new = PRINTERS[language](text)[-1]
    if new == line:
        new = PRINTERS[language]("bye")[-1]
        text = "bye"
    request = say(draw, wordings("followup", "print_other"), x=text, f=path)
    chat.key = f"{path}|{text}"
    chat.user(request)
    chat.think(
        f"Print {text}.",
        f"In {path} `{line.strip()}` becomes `{new.strip()}`.",
        "I wrote the file, so I know its lines.",
    )
    _expect(chat, {path: _content([*lines[:-1], new])})
    chat.apply(
        [("M", path)],
        [f"*** Update File: {path}", "@@", f"-{line}", f"+{new}"],
        sentence(f"`{path}` now prints {text}"),
    )


def also_print(chat: Chat) -> None:
    """`add a line that prints bye`"""
    draw = chat.draw
    path, lines, language = _printer(chat)
    line, text = lines[-1], draw.message()
    new = PRINTERS[language](text)[-1]
    request = say(draw, wordings("followup", "also_print"), x=text)
    chat.key = f"{path}|{text}"
    chat.user(request)
    chat.think(f"Add `{new}`.", f"I add the line {new} to {path}.", "It goes to the end.")
    _expect(chat, {path: _content([*lines, new])})
    chat.apply(
        [("M", path)], [f"*** Update File: {path}", "@@", f" {line}", f"+{new}"], f"I added `{new}` to `{path}`."
    )


def delete_it(chat: Chat) -> None:
    """`delete it`"""
    path = _made(chat).path
    request = say(chat.draw, wordings("followup", "delete_it"))
    chat.key = f"{path}|delete"
    chat.user(request)
    chat.think(f"Delete {path}.", f"The user wants {path} deleted. One patch does it.", "The user sees it first.")
    _expect(chat, {})
    chat.apply([("D", path)], [f"*** Delete File: {path}"], f"I deleted `{path}`.")


def rename_it(chat: Chat) -> None:
    """`rename it to bye.py`"""
    draw = chat.draw
    program = _made(chat)
    path = program.path
    new = draw.path(path.rpartition(".")[2], folder=0.1)
    if new == path:
        new = f"new_{new.replace('/', '_')}"
    request = say(draw, wordings("followup", "rename_it"), n=new)
    chat.key = f"{path}|{new}"
    chat.user(request)
    chat.think(
        f"Move {path} to {new}.",
        f"The user wants {path} to become {new}. One patch does it.",
        "Its content stays as it is.",
    )
    _expect(chat, {new: _content(program.lines)})
    chat.apply(
        [("R", f"{path} -> {new}")],
        [f"*** Update File: {path}", f"*** Move to: {new}"],
        f"I moved `{path}` to `{new}`.",
    )


def edit_it(chat: Chat) -> None:
    """Change a file that the turn before showed or made."""
    draw = chat.draw
    edit, patch = some_edit(draw, EDITS)
    path, lines = edit.file.path, edit.file.lines
    before: dict[str, str] = {}
    if draw.chance(0.5):
        before = {path: edit.file.content}
        chat.user(say(draw, wordings("followup", "edit_it"), f=path))
        chat.call("functions.read_file", path=path)
        chat.reply(format_read(path, lines, start=1, total=len(lines)))
        body = "\n".join(lines)
        chat.final(f"`{path}`:\n\n```\n{body}\n```")
    else:
        text = "\n".join(lines)
        chat.user(f"create {path} with this:\n```\n{text}\n```")
        chat.patch([f"*** Add File: {path}", *(f"+{line}" for line in lines)])
        chat.reply(format_applied([("A", path)]))
        chat.final(f"I created `{path}` with the given content.")
    chat.key = edit.key
    said = edit.request
    for tail in (f" in {path}", f"in {path} ", f"in {path}, "):
        if tail in said and draw.chance(0.6):
            said = said.replace(tail, "")
    chat.user(said if draw.chance(0.6) else f"now {said[:1].lower()}{said[1:]}")
    think_edit(chat, edit)
    after = apply_changes(lines, edit.changes)
    _expect(chat, {path: TextFile(path, after).content}, before)
    chat.apply([("M", path)], [f"*** Update File: {path}", *patch], edit.done)


def _expect(chat: Chat, after: dict[str, str], before: dict[str, str] | None = None) -> None:
    chat.expectation = Expectation(files_before=before or {}, files_after=after, tool="functions.apply_patch")


def _content(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def what_was_done(chat: Chat) -> None:
    """`what did you do?`"""
    program = _made(chat)
    path = program.path
    request = say(chat.draw, wordings("followup", "what_was_done"))
    chat.key = path
    chat.user(request)
    chat.think(f"I made {path}.", f"In the turn before I created {path}.", "I name the file.")
    chat.expectation = Expectation(files_after={path: _content(program.lines)}, answer=f"I created `{path}`.")
    chat.final(f"I created `{path}`.")


def show_it(chat: Chat) -> None:
    """`show it to me`"""
    program = _made(chat)
    path, lines = program.path, program.lines
    request = say(chat.draw, wordings("followup", "show_it"))
    chat.key = path
    chat.user(request)
    chat.think(
        f"Read {path}.", f"The user wants to see {path}. I read {path}.", "Reading needs no approval. Then I answer."
    )
    chat.call("functions.read_file", path=path)
    chat.reply(format_read(path, lines, start=1, total=len(lines)))
    body = "\n".join(lines)
    chat.think("Show it.", "I show the lines as they are.", "Nothing is added or left out.")
    chat.final(f"`{path}`:\n\n```\n{body}\n```" if lines else f"`{path}` is empty.")
    chat.expectation = Expectation(
        files_after={path: _content(lines)}, tool="functions.read_file", answer=chat.steps[-1].text
    )


def after_error(chat: Chat) -> None:
    """A patch was refused: the file exists already, or the lines were not there."""
    draw = chat.draw
    if draw.chance(0.5):
        return _exists(chat)
    edit, patch = some_edit(draw, EDITS)
    path, lines = edit.file.path, edit.file.lines
    chat.skill, chat.key = "after_error", edit.key
    chat.user(edit.request)
    wrong = f"-{draw.phrase(1, 3)}"
    chat.patch([f"*** Update File: {path}", "@@", wrong, f"+{draw.phrase(1, 3)}"], learned=False)
    chat.reply(
        f"The patch was not applied; nothing was changed.\n\n{path}: Hunk 1 (patch line 4): these lines are not in the "
        f"file:\n{wrong}\nNothing like them is in its {len(lines)} lines. Read the file, then send the hunk again."
    )
    chat.think(f"Read {path}.", f"The lines are not in {path}. I read the file.", "Then I send the right lines.")
    chat.call("functions.read_file", path=path)
    chat.reply(format_read(path, lines, start=1, total=len(lines)))
    think_edit(chat, edit)
    chat.apply([("M", path)], [f"*** Update File: {path}", *patch], edit.done)
    return None


def _exists(chat: Chat) -> None:
    draw = chat.draw
    make: Callable[[Draw], Program] = print_text if draw.chance(0.5) else draw.choice((*TEXTS, *FAMILIES))
    program = make(draw)
    path = program.path
    chat.skill, chat.key = "after_error", f"{path}|{program.key}"
    chat.user(program.request)
    chat.think(
        f"Add {path}.",
        sentence(f"The user wants {path} {program.purpose}") + " I add it with one patch.",
        "Nothing else has to change. Then I say what I did.",
    )
    chat.patch([f"*** Add File: {path}", *(f"+{line}" for line in program.lines)])
    chat.reply(
        f"The patch was not applied; nothing was changed.\n\n{path}: cannot be added, a file of that name exists. "
        "To change a file, send '*** Update File' with the lines to change."
    )
    chat.think(f"{path} exists.", f"There is a {path} already, so nothing was changed.", "I ask the user what to do.")
    chat.final(f"`{path}` exists already, so I changed nothing. Shall I use another name?")


EDIT_OFF = "Changing files is off in this conversation. Start the app with `--apply-patch` (`-a`)."


def editing_off(chat: Chat) -> None:
    """A change is asked for, but apply_patch is not among the tools."""
    draw = chat.draw
    if draw.chance(0.6):
        request = draw.choice((*TEXTS, *FAMILIES))(draw).request
    else:
        request = some_edit(draw)[0].request
    chat.skill, chat.key = "editing_off", request
    chat.user(request)
    chat.think("Editing is off.", "There is no apply_patch here, so I cannot change files.", "I say how to turn it on.")
    chat.expectation = Expectation(answer=EDIT_OFF)
    chat.final(EDIT_OFF)
