"""Changes of more than one line of one file: renaming everywhere, deleting and moving files."""

from __future__ import annotations

import re

from gptoss_tui.tools.formats import ChangeKind, format_matches, format_read
from training.data.changes import KEYWORDS, tokens_of
from training.data.chat import Chat, Expectation
from training.data.files import TextFile, python_file
from training.data.phrasing import say, wordings


def rename_everywhere(chat: Chat) -> None:
    """Search for a name, read the files that have it, change them with one patch."""
    draw = chat.draw
    file = python_file(draw, 14)
    names = [w for w in dict.fromkeys(tokens_of(file.content)) if w not in KEYWORDS and len(w) > 2 and not w.isdigit()]
    old, new = (draw.choice(names) if names else "main"), draw.identifier()
    pattern = rf"(?<!\w){re.escape(old)}(?!\w)"
    rows = [i for i, line in enumerate(file.lines) if re.search(pattern, line)]
    plain = sum(line.count(old) for line in file.lines)
    if not rows or len(rows) > 4 or new == old or plain != len(re.findall(pattern, file.content)):
        rename_everywhere(chat)
        return
    if any(file.lines.count(file.lines[i]) > 1 for i in rows) or re.search(rf"\b{new}\b", file.content):
        rename_everywhere(chat)
        return
    request = say(draw, wordings("explore", "rename_everywhere"), polite=True, o=old, n=new)
    chat.skill, chat.key = "explore", f"{old}|{new}"
    chat.user(request)
    _search_and_read(chat, file, old, new, rows)
    after = [re.sub(pattern, new, line) for line in file.lines]
    chat.expectation = Expectation(
        files_before={file.path: file.content},
        files_after={file.path: "".join(f"{line}\n" for line in after)},
        tool="functions.apply_patch",
        answer_has=(file.path,),
    )
    chat.apply(
        [("M", file.path)],
        [f"*** Update File: {file.path}", *_rename_patch(file.lines, after, rows)],
        f"I renamed `{old}` to `{new}` in `{file.path}`.",
    )


def _search_and_read(chat: Chat, file: TextFile, old: str, new: str, rows: list[int]) -> None:
    chat.think(
        f"Search {old}.",
        f"The user wants {old} renamed to {new} everywhere. I search for {old} first.",
        "Then I change every place with one patch.",
    )
    chat.call("functions.search_files", pattern=old)
    chat.reply(format_matches([(file.path, i + 1, file.lines[i]) for i in rows], total=len(rows)))
    chat.think(f"Read {file.path}.", f"{old} is in {file.path}. I read it.", "Then I change it.")
    chat.call("functions.read_file", path=file.path)
    chat.reply(format_read(file.path, file.lines, start=1, total=len(file.lines)))
    chat.think(
        f"Rename {old} to {new}.",
        f"I rename {old} to {new} in every line of {file.path} that has it.",
        "The other lines stay as they are. One patch does it.",
    )


def _rename_patch(before: list[str], after: list[str], rows: list[int]) -> list[str]:
    lines: list[str] = []
    done = 0
    while done < len(rows):
        end = done + 1
        while end < len(rows) and rows[end] == rows[end - 1] + 1:
            end += 1
        block = rows[done:end]
        lines += ["@@", *(f"-{before[i]}" for i in block), *(f"+{after[i]}" for i in block)]
        done = end
    return lines


def delete_or_move(chat: Chat) -> None:
    """Remove a file, or give it another name or folder."""
    draw = chat.draw
    path = draw.path(draw.choice(("py", "txt", "md", "json", "log", "csv", "html", "toml", "js")), folder=0.2)
    if draw.chance(0.5):
        _delete(chat, path)
        return
    folder, _, name = path.rpartition("/")
    if draw.chance(0.3):
        place = draw.choice(("src", "docs", "old", "backup", "archive", "lib", draw.short_word()))
        new, templates = f"{place}/{name}", wordings("explore", "move")
        spoken = draw.choice((new, place, f"{place}/", f"the {place} folder", f"the folder {place}"))
    else:
        new = (f"{folder}/" if folder else "") + draw.path(name.rpartition(".")[2], folder=0)
        spoken, templates = new, wordings("explore", "rename")
    if new == path:
        delete_or_move(chat)
        return
    _move(chat, path, new, say(draw, templates, polite=True, f=path, n=spoken))


def _delete(chat: Chat, path: str) -> None:
    chat.key = f"delete {path}"
    chat.user(say(chat.draw, wordings("explore", "delete"), polite=True, f=path))
    chat.think(f"Delete {path}.", f"The user wants {path} deleted. One patch does it.", "The user sees it first.")
    chat.expectation = Expectation(
        files_before={path: f"{chat.draw.phrase(1, 4)}\n"},
        files_after={},
        tool="functions.apply_patch",
        answer_has=(path,),
    )
    _apply_or_missing(chat, path, [("D", path)], [f"*** Delete File: {path}"], f"I deleted `{path}`.")


def _move(chat: Chat, path: str, new: str, request: str) -> None:
    chat.key = f"{path}|{new}"
    chat.user(request)
    chat.think(
        f"Move {path} to {new}.",
        f"The user wants {path} to become {new}. One patch does it.",
        "Its content stays as it is.",
    )
    content = f"{chat.draw.phrase(1, 4)}\n"
    chat.expectation = Expectation(
        files_before={path: content}, files_after={new: content}, tool="functions.apply_patch", answer_has=(new,)
    )
    patch = [f"*** Update File: {path}", f"*** Move to: {new}"]
    _apply_or_missing(chat, path, [("R", f"{path} -> {new}")], patch, f"I moved `{path}` to `{new}`.")


def _apply_or_missing(
    chat: Chat, path: str, changes: list[tuple[ChangeKind, str]], patch: list[str], done: str
) -> None:
    chat.skill = "delete_move"
    if chat.draw.split == "train" and chat.draw.chance(0.06):
        chat.patch(patch)
        chat.reply(f"The patch was not applied; nothing was changed.\n\n{path}: there is no such file")
        chat.think(f"No {path}.", f"There is no {path} in the workspace.", "I tell the user.")
        chat.final(f"There is no `{path}` in the workspace.")
        return
    chat.apply(changes, patch, done)
