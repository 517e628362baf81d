"""Looking around: listing, searching, reading, and answers that stand in what a tool said."""

from __future__ import annotations

import re

from gptoss_tui.tools.formats import format_listing, format_matches, format_read
from training.data.chat import Chat, Expectation
from training.data.draw import Draw
from training.data.edit import missing
from training.data.files import MAKERS, TextFile, some_file
from training.data.phrasing import and_list, say, wordings


def explore(chat: Chat) -> None:
    """One question about the workspace."""
    kinds = (list_all, list_all, list_some, show_file, show_file, ask_value, ask_value, find_text, find_text)
    chat.draw.choice((*kinds, find_definition, find_definition, count_lines, file_exists))(chat)


def _files(draw: Draw, most: int = 9) -> list[str]:
    paths: set[str] = set()
    for _ in range(draw.between(1, most)):
        extension = draw.choice(("py", "py", "py", "txt", "md", "json", "toml", "js", "html", "csv", "sh"))
        paths.add(draw.path(extension, folder=0.25))
    if draw.chance(0.4):
        paths.add("README.md")
    return sorted(paths)


def _quoted(paths: list[str]) -> str:
    return and_list([f"`{p}`" for p in paths])


def list_all(chat: Chat) -> None:
    """What is here?"""
    draw = chat.draw
    paths = [] if draw.chance(0.06) else _files(draw)
    request = say(draw, wordings("explore", "list_all"), polite=True)
    chat.skill, chat.key = "explore", "list " + ",".join(paths)
    chat.user(request)
    chat.think(
        "List the files.", "The user wants to know what files there are. I list them.", "That needs no approval."
    )
    chat.call("functions.list_files")
    chat.reply(format_listing(paths, total=len(paths)))
    _answer_listing(chat, paths, "The folder is empty.")


def _answer_listing(chat: Chat, paths: list[str], nothing: str) -> None:
    answer = f"There is {_quoted(paths)}." if len(paths) == 1 else f"There are {_quoted(paths)}." if paths else nothing
    chat.think("Name them.", "I name what the tool found.", "Every path stays as it is.")
    chat.expectation = Expectation(
        files_before=dict.fromkeys(paths, "x\n"), tool="functions.list_files", answer_has=tuple(paths)
    )
    chat.final(answer)


EXTENSIONS = {
    "py": ("python", "py", ".py"),
    "md": ("markdown", "md", ".md"),
    "json": ("json", ".json"),
    "txt": ("text", "txt", ".txt"),
    "html": ("html", ".html"),
    "js": ("javascript", "js", ".js"),
    "csv": ("csv", ".csv"),
    "toml": ("toml", ".toml"),
}


def list_some(chat: Chat) -> None:
    """Files of one kind, or in one folder."""
    draw = chat.draw
    if draw.chance(0.5):
        extension = draw.choice(tuple(EXTENSIONS))
        paths = sorted({draw.path(extension, folder=0.3) for _ in range(draw.between(0, 5))})
        request = say(draw, wordings("explore", "list_kind"), x=draw.choice(EXTENSIONS[extension]))
        chat.user(request)
        chat.think(
            f"List *.{extension}.",
            f"The user wants the files that match *.{extension}. I list them.",
            "One call does it.",
        )
        chat.call("functions.list_files", pattern=f"*.{extension}")
        nothing = f"There are no files that match `*.{extension}`."
    else:
        folder = draw.choice(("src", "docs", "tests", "data", "lib", "app", "scripts", draw.short_word()))
        paths = sorted({f"{folder}/{draw.path('py', folder=0)}" for _ in range(draw.between(1, 5))})
        request = say(draw, wordings("explore", "list_folder"), x=folder)
        chat.user(request)
        chat.think(f"List {folder}.", f"The user wants the files in {folder}. I list them.", "One call does it.")
        chat.call("functions.list_files", path=folder)
        nothing = "The folder is empty."
    chat.skill, chat.key = "explore", request.lower() + ",".join(paths)
    chat.reply(format_listing(paths, total=len(paths)))
    _answer_listing(chat, paths, nothing)


def _open(chat: Chat, request: str, file: TextFile, why: str) -> bool:
    """Read the file; False when it is not there (now and then in training)."""
    chat.user(request)
    chat.think(
        f"Read {file.path}.", f"The user wants {why}. I read {file.path}.", "Reading needs no approval. Then I answer."
    )
    chat.call("functions.read_file", path=file.path)
    if chat.draw.split == "train" and chat.draw.chance(0.06):
        missing(chat, file.path)
        return False
    chat.reply(format_read(file.path, file.lines, start=1, total=len(file.lines)))
    return True


def show_file(chat: Chat) -> None:
    """Read a file and show it."""
    draw = chat.draw
    file = some_file(draw, 16)
    request = say(draw, wordings("explore", "show_file"), polite=True, f=file.path)
    chat.skill, chat.key = "explore", f"show {file.path}|{file.lines[0]}"
    if not _open(chat, request, file, f"to see {file.path}"):
        return
    chat.think("Show it.", "I show the lines as they are.", "Nothing is added or left out.")
    body = "\n".join(file.lines)
    chat.expectation = Expectation(
        files_before={file.path: file.content}, tool="functions.read_file", answer_has=(body,)
    )
    chat.final(f"`{file.path}`:\n\n```\n{body}\n```")


def ask_value(chat: Chat) -> None:
    """`what does config.toml set port to?`"""
    draw = chat.draw
    extension = draw.choice(("toml", "json", "yaml", "ini", "env", "toml"))
    lines = MAKERS[extension](draw, draw.between(1, 12))
    path = ".env" if extension == "env" else draw.path(extension)
    if extension != "env" and draw.chance(0.5):
        path = f"{draw.choice(('config', 'settings'))}.{extension}"
    rows = [m for m in (re.match(r'\s*"?(\w+)"?\s*[=:]\s*"?(.*?)"?,?$', line) for line in lines) if m]
    found = draw.choice(rows)
    key, value = found.group(1), found.group(2)
    request = say(draw, wordings("explore", "ask_value"), k=key, f=path)
    chat.skill, chat.key = "explore", f"{path}|{key}|{value}"
    file = TextFile(path, lines)
    if not _open(chat, request, file, f"the value of {key} in {path}"):
        return
    chat.think(f"It is {value}.", f"The line of {key} says {value}.", "That is the answer.")
    chat.expectation = Expectation(files_before={path: file.content}, tool="functions.read_file", answer_has=(value,))
    chat.final(f"In `{path}` {key} is `{value}`.")


def count_lines(chat: Chat) -> None:
    """How long is it?"""
    draw = chat.draw
    file = some_file(draw, 30)
    request = say(draw, wordings("explore", "count_lines"), f=file.path)
    chat.skill, chat.key = "explore", f"count {file.path}|{file.lines[0]}"
    if not _open(chat, request, file, f"the number of lines of {file.path}"):
        return
    lines = "1 line" if len(file.lines) == 1 else f"{len(file.lines)} lines"
    chat.think(f"{lines}.", f"The first line of the reply says {lines}.", "No counting is needed.")
    chat.expectation = Expectation(
        files_before={file.path: file.content}, tool="functions.read_file", answer_has=(lines,)
    )
    chat.final(f"`{file.path}` has {lines}.")


def file_exists(chat: Chat) -> None:
    """Is there a file?"""
    draw = chat.draw
    paths = _files(draw, 6)
    there = draw.chance(0.5)
    wanted = draw.choice(paths) if there else draw.path("py")
    request = say(draw, wordings("explore", "file_exists"), f=wanted)
    chat.skill, chat.key = "explore", f"exists {wanted}|{','.join(paths)}"
    chat.user(request)
    chat.think("List the files.", f"I list the files to see whether {wanted} is there.", "That needs no approval.")
    chat.call("functions.list_files")
    chat.reply(format_listing(paths, total=len(paths)))
    there = wanted in paths
    answer = f"Yes, there is `{wanted}`." if there else f"No, there is no `{wanted}`."
    chat.think(
        "Yes." if there else "No.", f"{wanted} is {'in' if there else 'not in'} the list.", "That is the answer."
    )
    chat.expectation = Expectation(files_before=dict.fromkeys(paths, "x\n"), tool="functions.list_files", answer=answer)
    chat.final(answer)


Match = tuple[str, int, str]


def find_text(chat: Chat) -> None:
    """Where does something stand?"""
    draw = chat.draw
    word = draw.word() if draw.chance(0.5) else draw.identifier()
    if draw.chance(0.15):
        word = draw.choice(("TODO", "FIXME", "import", "print", "hello", "error"))
    matches: list[Match] = []
    for path in sorted(_files(draw, 3))[: draw.between(0, 3)]:
        line = draw.choice(
            (
                f"{word} = {draw.number()}",
                f"# {word} {draw.phrase(1, 3)}",
                f"print({word})",
                f"{draw.phrase(1, 2)} {word}",
            )
        )
        matches.append((path, draw.between(1, 60), line))
    request = say(draw, wordings("explore", "find_text"), polite=True, w=word if draw.chance(0.85) else f'"{word}"')
    chat.skill, chat.key = "explore", f"find {word}|{matches}"
    chat.user(request)
    chat.think(f"Search {word}.", f"The user wants to find {word}. I search the files for it.", "One call does it.")
    chat.call("functions.search_files", pattern=word)
    chat.reply(format_matches(matches, total=len(matches)))
    _answer_matches(chat, word, matches)


def _answer_matches(chat: Chat, word: str, matches: list[Match]) -> None:
    if not matches:
        chat.think("Nothing.", f"There is no match for {word}.", "I say so.")
        chat.final(f"I found no `{word}` in the files.")
    else:
        places = and_list([f"`{path}` on line {line}" for path, line, _ in matches])
        chat.think("Name the places.", "I name each file and line of the reply.", "That is the answer.")
        chat.final(f"`{word}` is in {places}.")
    chat.expectation = Expectation(
        files_before=_with_matches(matches), tool="functions.search_files", answer=chat.steps[-1].text
    )


def _with_matches(matches: list[Match]) -> dict[str, str]:
    """Files in which the matches stand on their lines, and nothing else does."""
    files: dict[str, str] = {}
    for path, line, text in matches:
        files[path] = "\n" * (line - 1) + text + "\n"
    return files


def find_definition(chat: Chat) -> None:
    """Where is a function or class defined?"""
    draw = chat.draw
    is_class = draw.chance(0.25)
    name = draw.class_name() if is_class else draw.function_name()
    keyword = "class" if is_class else "def"
    kind = draw.choice(("the class ", "")) if is_class else draw.choice(("the function ", "function ", ""))
    path, line = draw.path("py", folder=0.4), draw.between(1, 99)
    text = f"class {name}:" if is_class else f"def {name}({draw.noun()}):"
    found = not draw.chance(0.08)
    request = say(
        draw,
        (
            "where is {k}{n} defined?",
            "where is {k}{n}?" if kind else "where is {n} defined?",
            "[find|show me] the definition of {n}",
            "which file defines {n}?",
            "in which file is {n} defined?",
            "find {k}{n}" if kind else "find the definition of {n}",
            "where do [i|we] define {n}?",
            "[find|locate] where {n} is defined",
        ),
        k=kind,
        n=name,
    )
    chat.skill, chat.key = "explore", f"{name}|{path}"
    chat.user(request)
    pattern = f"{keyword} {name}" if is_class or kind else f"(def|class) {name}"
    chat.think(
        f"Search {name}.",
        f"The user wants to know where {name} is defined. I search for {pattern}.",
        "One call does it.",
    )
    chat.call("functions.search_files", pattern=pattern)
    _answer_definition(chat, name, [(path, line, text)] if found else [])


def _answer_definition(chat: Chat, name: str, matches: list[Match]) -> None:
    chat.reply(format_matches(matches, total=len(matches)))
    if matches:
        path, line, _ = matches[0]
        chat.think(f"In {path}.", f"The match is in {path} on line {line}.", "That is the answer.")
        chat.final(f"`{name}` is defined in `{path}` on line {line}.")
    else:
        chat.think("Nothing.", f"There is no match for {name}.", "I say so.")
        chat.final(f"I found no definition of `{name}` in the files.")
    chat.expectation = Expectation(
        files_before=_with_matches(matches), tool="functions.search_files", answer=chat.steps[-1].text
    )
