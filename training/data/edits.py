"""Edits that people ask for: a file, a request, and what becomes of the file."""

from __future__ import annotations

import re
from collections.abc import Callable

from training.data.changes import KEYWORDS, Edit, apply_changes, count_word, hunks, tokens_of
from training.data.draw import Draw
from training.data.files import MAKERS, TextFile, pairs, python_file, some_file, value
from training.data.phrasing import say, wordings


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
    request = _replace_request(draw, file, old, new)
    goal, done = f"change {old} to {new}", f"I changed `{old}` to `{new}` in `{file.path}`."
    return Edit(request, file, [(index, 1, [line.replace(old, new)])], goal, done, f"{file.path}|{old}|{new}")


def _replace_request(draw: Draw, file: TextFile, old: str, new: str) -> str:
    quote = draw.choice(("", "", "", '"', "'", "`"))
    loosely = old[:1].isupper() and draw.chance(0.25) and file.content.lower().count(old.lower()) == 1
    said = old.lower() if loosely else old
    return say(
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
    if sum(count_word(other, key) > 0 for other in lines) != 1:
        return None
    new = _other_value(draw, old)
    if new == old:
        return None
    request = say(
        draw,
        wordings("edit", "set_value"),
        polite=True,
        k=key if extension != "env" or draw.chance(0.7) else key.lower(),
        o=old,
        n=new,
        f=path,
    )
    new_line = f"{found.group(1)}{key}{found.group(3)}{new}{found.group(5)}"
    goal, done = f"set {key} to {new}", f"I set `{key}` to `{new}` in `{path}`."
    return Edit(request, file, [(index, 1, [new_line])], goal, done, f"{path}|{key}|{new}")


def _other_value(draw: Draw, old: str) -> str:
    if old.isdigit():
        new = draw.number()
    else:
        new = draw.choice(("true", "false")) if old in ("true", "false") else draw.word()
    return draw.choice(("True", "False")) if old in ("True", "False", "None", "[]") else new


def rename(draw: Draw) -> Edit | None:
    """A new name for an identifier, in every line that has it."""
    file = python_file(draw, 26)
    names = [w for w in dict.fromkeys(tokens_of(file.content)) if w not in KEYWORDS and len(w) > 2 and not w.isdigit()]
    if not names:
        return None
    old = draw.choice(names)
    new = draw.class_name() if old[:1].isupper() else draw.function_name() if draw.chance(0.5) else draw.identifier()
    rows = [i for i, line in enumerate(file.lines) if count_word(line, old)]
    if new == old or count_word(file.content, new) or not 1 <= len(rows) <= 5:
        return None
    if file.content.count(old) != count_word(file.content, old):
        return None
    kind = ""
    if f"def {old}(" in file.content:
        kind = "the function "
    elif f"class {old}" in file.content:
        kind = "the class "
    changes = [(i, 1, [re.sub(rf"(?<!\w){re.escape(old)}(?!\w)", new, file.lines[i])]) for i in rows]
    request = say(
        draw, wordings("edit", "rename"), polite=True, k=kind if draw.chance(0.7) else "", o=old, n=new, f=file.path
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


PLACES = {
    "end": ("to {f}", "to {f}", "at the end of {f}", "to the end of {f}", "at the bottom of {f}"),
    "top": ("at the top of {f}", "to the top of {f}", "at the beginning of {f}", "as the first line of {f}"),
    "after": ("after {a} in {f}", "below {a} in {f}", "after the line {a} in {f}", "under {a} in {f}"),
    "before": ("before {a} in {f}", "above {a} in {f}", "before the line {a} in {f}"),
}
"""Where a line is added: at the end, at the top, beside the line `{a}`."""


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
    request = _add_request(draw, file.path, kind, anchor.strip(), line.strip())
    at = index + 1 if kind in ("end", "after") else index
    goal = f"add the line {line.strip()}"
    done = f"I added `{line.strip()}` to `{file.path}`."
    return Edit(request, file, [(at, 0, [line])], goal, done, f"{file.path}|+{line}")


def _add_request(draw: Draw, path: str, kind: str, anchor: str, line: str) -> str:
    said = line
    if said.startswith("- ") and draw.chance(0.6):
        said = said[2:]
    place = draw.choice(PLACES[kind]).replace("{a}", anchor).replace("{f}", path)
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
    return say(draw, templates, polite=True, x=said, p=place, f=path)


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
    request = say(draw, wordings("edit", "add_function"), polite=True, g=name, w=what, f=file.path)
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
    request = say(draw, wordings("edit", "whole_line"), polite=True, o=line.strip(), n=new.strip(), f=file.path)
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
        draw, wordings("edit", "printed_text"), polite=True, f=file.path, x=new if draw.chance(0.75) else f'"{new}"'
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
