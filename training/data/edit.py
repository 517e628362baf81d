"""Changing files: values, texts, names and lines, each as a patch that names only what it needs."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from gptoss_tui.tools.formats import format_matches, format_read
from training.data.chat import Chat, Expectation
from training.data.draw import Draw, text_lines
from training.data.files import MAKERS, TextFile, pairs, python_file, show_in_message, some_file, value
from training.data.phrasing import say

Change = tuple[int, int, list[str]]
"""At line index `[0]`, `[1]` lines are replaced by the lines `[2]`."""


@dataclass(frozen=True, slots=True)
class Edit:
    """What is asked of a file. `goal` says it as a verb phrase, `done` in the past; `changes` are in file order."""

    request: str
    file: TextFile
    changes: list[Change]
    goal: str
    done: str
    key: str


def apply_changes(lines: list[str], changes: list[Change]) -> list[str]:
    """The lines after the changes."""
    result = list(lines)
    for at, count, new in reversed(changes):
        result[at : at + count] = new
    return result


def _occurrences(lines: list[str], block: list[str]) -> int:
    return sum(lines[i : i + len(block)] == block for i in range(len(lines) - len(block) + 1))


def hunks(lines: list[str], changes: list[Change]) -> list[str] | None:
    """Hunks for the changes: only as many lines before each one as make its place unique.

    None when three lines do not.
    """
    out: list[str] = []
    for at, count, new in _joined(lines, changes):
        for before in range(0 if count else 1, 4):
            start = max(at - before, 0)
            after = 1 if not count and not at else 0
            block = lines[start : at + count + after]
            if block and _occurrences(lines, block) == 1 and any(line.strip() for line in block):
                break
        else:
            return None
        out.append("@@")
        out += [f" {line}" for line in lines[start:at]]
        out += [f"-{line}" for line in lines[at : at + count]]
        out += [f"+{line}" for line in new]
        out += [f" {line}" for line in lines[at + count : at + count + after]]
    return out


def _joined(lines: list[str], changes: list[Change]) -> list[Change]:
    """Changes of neighbouring lines as one."""
    joined: list[Change] = []
    for at, count, new in changes:
        if joined and sum(joined[-1][:2]) == at and count and joined[-1][1]:
            last = joined.pop()
            joined.append((last[0], last[1] + count, [*last[2], *new]))
        else:
            joined.append((at, count, new))
    return joined


def tokens_of(line: str) -> list[str]:
    """Words and numbers of a line."""
    return re.findall(r"[A-Za-z_][A-Za-z_0-9]*|\d+", line)


def _count_word(text: str, word: str) -> int:
    return len(re.findall(rf"(?<!\w){re.escape(word)}(?!\w)", text))


def replace_word(draw: Draw) -> Edit | None:
    """`change hello to goodbye in notes.txt`: something that stands in the file once."""
    file = greeting_file(draw) if draw.chance(0.2) else some_file(draw)
    index = draw.between(0, len(file.lines) - 1)
    line = file.lines[index]
    words = [w for w in tokens_of(line) if w not in KEYWORDS and (len(w) > 1 or w.isdigit())]
    if not words:
        return None
    old = draw.choice(words)
    if draw.chance(0.2) and not old.isdigit():
        at = line.index(old)
        longer = re.match(r"[\w]+( [\w]+){1,2}", line[at:])
        old = longer.group() if longer else old
    if file.content.count(old) != 1:
        return None
    if old.isdigit():
        new = draw.number()
    elif " " in old or '"' in line or file.extension in ("txt", "md", "html", "csv"):
        new = draw.phrase(1, 3).rstrip(".!?") if draw.chance(0.3) else draw.word()
        new = new[:1].upper() + new[1:] if old[:1].isupper() else new
    else:
        new = draw.identifier()
    if new == old or new in line:
        return None
    quote = draw.choice(("", "", "", '"', "'", "`"))
    loosely = old[:1].isupper() and draw.chance(0.25) and file.content.lower().count(old.lower()) == 1
    said = old.lower() if loosely else old
    request = say(
        draw,
        (
            "change {o} to {n} in {f}",
            "replace {o} with {n} in {f}",
            "replace {o} by {n} in {f}",
            "in {f}[,|] change {o} to {n}",
            "in {f}[,|] replace {o} with {n}",
            "change {o} into {n} in {f}",
            "swap {o} for {n} in {f}",
            "{f}: change {o} to {n}",
            "{f}: {o} -> {n}",
            "in {f} {o} should be {n}",
            "edit {f} and change {o} to {n}",
            "edit {f}: replace {o} with {n}",
            "update {f}: {o} should become {n}",
            "make {o} say {n} in {f}" if not old.isdigit() else "make {o} {n} in {f}",
            "i want {n} instead of {o} in {f}",
            "use {n} instead of {o} in {f}",
            "turn {o} into {n} in {f}",
            "{f} should have {n} instead of {o}",
        ),
        polite=True,
        o=f"{quote}{said}{quote}",
        n=f"{quote}{new}{quote}",
        f=file.path,
    )
    goal, done = f"change {old} to {new}", f"I changed `{old}` to `{new}` in `{file.path}`."
    return Edit(request, file, [(index, 1, [line.replace(old, new)])], goal, done, f"{file.path}|{old}|{new}")


def greeting_file(draw: Draw) -> TextFile:
    """The file that people make first."""
    extension = draw.choice(("py", "py", "txt", "js", "sh", "md"))
    path = f"hello.{extension}" if draw.chance(0.4) else draw.path(extension)
    message = draw.message()
    lines = {
        "py": [f'print("{message}")'],
        "js": [f'console.log("{message}");'],
        "sh": ["#!/bin/bash", f'echo "{message}"'],
        "md": [f"# {message}"],
        "txt": [message],
    }[extension]
    return TextFile(path, lines)


KEYWORDS = frozenset(text_lines("keywords"))


def set_value(draw: Draw) -> Edit | None:
    """`set port to 9090 in config.toml`: the line is known by its key."""
    extension = draw.choice(("toml", "json", "yaml", "ini", "env", "py", "yml", "toml", "json"))
    path = (
        f"{draw.choice(('config', 'settings', 'config', 'app'))}.{extension}"
        if draw.chance(0.5)
        else draw.path(extension)
    )
    path = ".env" if extension == "env" else path
    size = draw.between(1, 8) if draw.chance(0.6) else draw.between(5, 26)
    lines = MAKERS[extension](draw, size) if extension != "py" else [f"{k} = {value(draw)}" for k in pairs(draw, size)]
    file = TextFile(path, lines)
    rows = [i for i, line in enumerate(lines) if re.search(r"[=:] ?\S", line) and not line.startswith(("[", "#"))]
    if not rows:
        return None
    index = draw.choice(rows)
    line = lines[index]
    found = re.match(r'(\s*"?)([A-Za-z_][\w]*)("?\s*[=:]\s*"?)(.*?)("?,?)$', line)
    if not found or not found.group(4):
        return None
    key, old = found.group(2), found.group(4)
    if sum(_count_word(other, key) > 0 for other in lines) != 1:
        return None
    new = (
        draw.number() if old.isdigit() else draw.choice(("true", "false")) if old in ("true", "false") else draw.word()
    )
    if old in ("True", "False", "None", "[]"):
        new = draw.choice(("True", "False"))
    if new == old:
        return None
    request = say(
        draw,
        (
            "set {k} to {n} in {f}",
            "change {k} to {n} in {f}",
            "change the {k} to {n} in {f}",
            "change {k} from {o} to {n} in {f}",
            "in {f}[,|] set {k} to {n}",
            "in {f}[,|] change {k} to {n}",
            "{f}: set {k} to {n}",
            "make {k} {n} in {f}",
            "update {k} to {n} in {f}",
            "set the {k} in {f} to {n}",
            "change the {k} in {f} to {n}",
            "{k} should be {n} in {f}",
            "the {k} in {f} should be {n}",
            "edit {f} so that {k} is {n}",
            "change the value of {k} to {n} in {f}",
            "change the {k} [setting|value|option] to {n} in {f}",
            "i want {k} to be {n} in {f}",
        ),
        polite=True,
        k=key if extension != "env" or draw.chance(0.7) else key.lower(),
        o=old,
        n=new,
        f=path,
    )
    new_line = f"{found.group(1)}{key}{found.group(3)}{new}{found.group(5)}"
    goal, done = f"set {key} to {new}", f"I set `{key}` to `{new}` in `{path}`."
    return Edit(request, file, [(index, 1, [new_line])], goal, done, f"{path}|{key}|{new}")


def rename(draw: Draw) -> Edit | None:
    """A new name for an identifier, in every line that has it."""
    file = python_file(draw, 26)
    names = [w for w in dict.fromkeys(tokens_of(file.content)) if w not in KEYWORDS and len(w) > 2 and not w.isdigit()]
    if not names:
        return None
    old = draw.choice(names)
    new = draw.class_name() if old[:1].isupper() else draw.function_name() if draw.chance(0.5) else draw.identifier()
    rows = [i for i, line in enumerate(file.lines) if _count_word(line, old)]
    if new == old or _count_word(file.content, new) or not 1 <= len(rows) <= 5:
        return None
    if file.content.count(old) != _count_word(file.content, old):
        return None
    kind = ""
    if f"def {old}(" in file.content:
        kind = "the function "
    elif f"class {old}" in file.content:
        kind = "the class "
    changes = [(i, 1, [re.sub(rf"(?<!\w){re.escape(old)}(?!\w)", new, file.lines[i])]) for i in rows]
    request = say(
        draw,
        (
            "rename {k}{o} to {n} in {f}",
            "rename {o} to {n} in {f}",
            "rename {o} in {f} to {n}",
            "in {f}[,|] rename {k}{o} to {n}",
            "in {f}[,|] rename {o} to {n}",
            "{f}: rename {o} to {n}",
            "change the name of {o} to {n} in {f}",
            "call {o} {n} in {f}",
            "{o} should be called {n} in {f}",
        ),
        polite=True,
        k=kind if draw.chance(0.7) else "",
        o=old,
        n=new,
        f=file.path,
    )
    goal, done = f"rename {old} to {new}", f"I renamed `{old}` to `{new}` in `{file.path}`."
    return Edit(request, file, changes, goal, done, f"{file.path}|{old}|{new}")


def _new_line(draw: Draw, file: TextFile, like: str) -> str:
    indent = like[: len(like) - len(like.lstrip())]
    if file.extension == "py":
        text = draw.choice(
            (f'print("{draw.message()}")', f"{draw.identifier()} = {value(draw)}", f"# {draw.phrase(2, 4)}")
        )
    elif file.extension in ("toml", "ini", "cfg"):
        text = f"{draw.noun()} = {draw.number()}"
    elif file.extension in ("yaml", "yml"):
        text = f"{draw.noun()}: {draw.number()}"
    elif file.extension == "sh":
        text = f'echo "{draw.message()}"'
    elif file.extension == "md":
        text = f"- {draw.phrase(1, 4)}" if like.startswith("- ") else draw.phrase(2, 5)
    elif file.extension == "csv":
        text = f"{draw.word()},{draw.number()}"
    else:
        text = draw.phrase(1, 5)
    return indent + text


def add_line(draw: Draw) -> Edit | None:
    """A new line at the end, at the top, before or after another."""
    file = some_file(draw)
    if file.extension in ("json", "html", "css", "js", "env") or not file.lines[-1].strip():
        return None
    kind = draw.choice(("end", "end", "end", "top", "after", "after", "before"))
    index = {"end": len(file.lines) - 1, "top": 0}.get(kind, draw.between(0, len(file.lines) - 1))
    anchor = file.lines[index]
    if not anchor.strip() or (kind in ("after", "before") and anchor.endswith((":", "{"))):
        return None
    line = _new_line(draw, file, "" if kind in ("end", "top") else anchor)
    if kind == "end" and anchor.startswith("- ") and not line.startswith("- "):
        line = f"- {line}"
    if line in file.lines:
        return None
    said = line.strip()
    if said.startswith("- ") and draw.chance(0.6):
        said = said[2:]
    places = {
        "end": ("to {f}", "to {f}", "at the end of {f}", "to the end of {f}", "at the bottom of {f}"),
        "top": ("at the top of {f}", "to the top of {f}", "at the beginning of {f}", "as the first line of {f}"),
        "after": ("after {a} in {f}", "below {a} in {f}", "after the line {a} in {f}", "under {a} in {f}"),
        "before": ("before {a} in {f}", "above {a} in {f}", "before the line {a} in {f}"),
    }
    place = draw.choice(places[kind]).replace("{a}", anchor.strip()).replace("{f}", file.path)
    templates = ["[add|insert|put|write] {x} {p}", "[add|insert|put] the line {x} {p}", "add a line {x} {p}"]
    if kind == "end":
        templates += [
            "append {x} to {f}",
            "add {x} to {f}",
            "append the line {x} to {f}",
            "in {f} add {x}",
            "{f}: add {x}",
        ]
        templates += ["append {x} to {f}", "also add {x} to {f}", "add another line {x} to {f}"]
    if said.startswith("print("):
        text = said[7:-2]
        spoken = text if draw.chance(0.6) else f'"{text}"'
        if draw.chance(0.5):
            said, templates = spoken, ["add a line that prints {x} {p}", "[add|insert] a print of {x} {p}"]
            if kind == "end":
                templates += ["make {f} also print {x}", "{f} should also print {x}", "let {f} print {x} too"]
    request = say(draw, templates, polite=True, x=said, p=place, f=file.path)
    at = index + 1 if kind in ("end", "after") else index
    goal = f"add the line {line.strip()}"
    done = f"I added `{line.strip()}` to `{file.path}`."
    return Edit(request, file, [(at, 0, [line])], goal, done, f"{file.path}|+{line}")


def add_function(draw: Draw) -> Edit | None:
    """A new function at the end of a Python file."""
    file = python_file(draw, 20)
    name = draw.function_name()
    if name in file.content or not file.lines[-1].strip():
        return None
    literal, argument = value(draw), draw.noun()
    head, body, what = draw.choice(
        (
            (f"def {name}():", f"    return {literal}", f"returns {literal}"),
            (f"def {name}({argument}):", f"    print({argument})", f"prints {argument}"),
            (f"def {name}({argument}):", f"    return {argument}", f"returns {argument}"),
            (f"def {name}(a, b):", "    return a + b", "returns a plus b"),
            (f"def {name}(a, b):", "    return a * b", "returns a times b"),
        )
    )
    request = say(
        draw,
        (
            "add a function {g} that {w} to {f}",
            "add a function {g} to {f} that {w}",
            "in {f}[,|] add a function {g} that {w}",
            "{f}: add a function {g} that {w}",
            "add {g} to {f}, it {w}",
            "write a function {g} in {f} that {w}",
            "append a function {g} that {w} to {f}",
        ),
        polite=True,
        g=name,
        w=what,
        f=file.path,
    )
    at = len(file.lines)
    goal, done = f"add the function {name}", f"I added the function `{name}` to `{file.path}`."
    return Edit(request, file, [(at, 0, ["", "", head, body])], goal, done, f"{file.path}|{name}|{what}")


def remove_line(draw: Draw) -> Edit | None:
    """Take a line out."""
    file = some_file(draw)
    if len(file.lines) < 2 or file.extension in ("json", "css"):
        return None
    index = draw.between(0, len(file.lines) - 1)
    line = file.lines[index]
    if not line.strip() or line.endswith((":", "{")) or file.content.count(line) != 1:
        return None
    if index and file.lines[index - 1].endswith(":"):
        return None
    templates = [
        "[remove|delete|drop] the line {x} from {f}",
        "[remove|delete|drop] {x} from {f}",
        "[remove|delete] the line {x} in {f}",
        "in {f}[,|] [remove|delete] the line {x}",
        "in {f}[,|] [remove|delete] {x}",
        "take {x} out of {f}",
        "{f}: [remove|delete] {x}",
        "get rid of {x} in {f}",
    ]
    said = line.strip()
    words = [w for w in tokens_of(line) if file.content.count(w) == 1 and w not in KEYWORDS]
    if words and draw.chance(0.35):
        said = draw.choice(words)
        templates = [
            "[remove|delete] the line with {x} [from|in] {f}",
            "[remove|delete] the {x} line [from|in] {f}",
            "in {f}[,|] [remove|delete] the line that has {x}",
            "[remove|delete] the line containing {x} from {f}",
        ]
    elif said.startswith("- "):
        said = said[2:]
    request = say(draw, templates, polite=True, x=said, f=file.path)
    goal, done = f"remove the line {line.strip()}", f"I removed `{line.strip()}` from `{file.path}`."
    return Edit(request, file, [(index, 1, [])], goal, done, f"{file.path}|-{line}")


def whole_line(draw: Draw) -> Edit | None:
    """`change the line A to B`."""
    file = some_file(draw)
    index = draw.between(0, len(file.lines) - 1)
    line = file.lines[index]
    if not line.strip() or line.endswith((":", "{")) or file.content.count(line) != 1 or len(line.strip()) < 2:
        return None
    new = _new_line(draw, file, line)
    if new in file.lines:
        return None
    request = say(
        draw,
        (
            "change the line {o} to {n} in {f}",
            "replace the line {o} with {n} in {f}",
            "in {f}[,|] change the line {o} to {n}",
            "in {f}[,|] replace {o} with {n}",
            "the line {o} in {f} should be {n}",
            "{f}: replace the line {o} with {n}",
        ),
        polite=True,
        o=line.strip(),
        n=new.strip(),
        f=file.path,
    )
    goal, done = (
        f"change {line.strip()} to {new.strip()}",
        f"I changed `{line.strip()}` to `{new.strip()}` in `{file.path}`.",
    )
    return Edit(request, file, [(index, 1, [new])], goal, done, f"{file.path}|{line}|{new}")


def printed_text(draw: Draw) -> Edit | None:
    """`make hello.py print goodbye`: the file has one print."""
    if draw.chance(0.6):
        path = "hello.py" if draw.chance(0.3) else draw.path("py")
        file = TextFile(path, [f'print("{draw.message()}")'])
    else:
        file = python_file(draw, 20)
    rows = [i for i, line in enumerate(file.lines) if re.fullmatch(r'\s*print\("[^"]*"\)', line)]
    if len(rows) != 1 or sum("print(" in line for line in file.lines) != 1:
        return None
    index = rows[0]
    new = draw.message()
    line = file.lines[index]
    new_line = re.sub(r'"[^"]*"', lambda _: f'"{new}"', line)
    if new_line == line:
        return None
    request = say(
        draw,
        (
            "make {f} print {x}",
            "make {f} print {x} instead",
            "let {f} print {x}",
            "{f} should print {x}",
            "{f} should print {x} instead",
            "change {f} to print {x}",
            "change {f} so that it prints {x}",
            "edit {f} so that it prints {x}",
            "change the [text|message|output] in {f} to {x}",
            "change what {f} prints to {x}",
            "update {f} to print {x}",
            "in {f}[,|] print {x} instead",
            "make {f} say {x}",
        ),
        polite=True,
        f=file.path,
        x=new if draw.chance(0.75) else f'"{new}"',
    )
    goal, done = f"print {new}", f"`{file.path}` now prints {new}"
    return Edit(
        request, file, [(index, 1, [new_line])], goal, done + ("" if new[-1] in ".!?" else "."), f"{file.path}|{new}"
    )


EDITS: tuple[Callable[[Draw], Edit | None], ...] = (
    replace_word,
    replace_word,
    replace_word,
    replace_word,
    set_value,
    set_value,
    set_value,
    rename,
    rename,
    add_line,
    add_line,
    add_function,
    remove_line,
    whole_line,
    printed_text,
    printed_text,
)
REPLACEMENTS = (replace_word, replace_word, set_value, rename, whole_line, printed_text)


def some_edit(draw: Draw, kinds: tuple[Callable[[Draw], Edit | None], ...] = EDITS) -> tuple[Edit, list[str]]:
    """An edit and its hunks."""
    while True:
        edit = draw.choice(kinds)(draw)
        if edit is None or not edit.file.lines:
            continue
        found = hunks(edit.file.lines, edit.changes)
        if found is not None and apply_changes(edit.file.lines, edit.changes) != edit.file.lines:
            return edit, found


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
    request = say(
        draw,
        (
            "copy {f} to {n}",
            "cp {f} {n}",
            "make a copy of {f} called {n}",
            "duplicate {f} as {n}",
            "copy the file {f} to {n}",
            "create {n} as a copy of {f}",
            "save a copy of {f} as {n}",
        ),
        polite=True,
        f=file.path,
        n=new,
    )
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
    request = say(
        draw,
        (
            "set {k} to {n}",
            "change {k} to {n}",
            "change the {k} to {n}",
            "set the {k} to {n}",
            "make the {k} {n}",
            "the {k} should be {n}",
            "update the {k} to {n}",
        ),
        polite=True,
        k=key,
        n=new,
    )
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
