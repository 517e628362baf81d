"""Making new files: text, lists, data formats, and programs of known families."""

from __future__ import annotations

import json
from collections.abc import Callable

from training.data.chat import Chat, Expectation
from training.data.draw import Draw, text_lines
from training.data.families import FAMILIES
from training.data.phrasing import and_list, say, sentence, wordings
from training.data.programs import Program, quoted

MAKE = "[create|create|create|make|write|add]"
FILE = "[|a file |a new file |a file called |a file named |the file |new file ]"


def create(chat: Chat) -> None:
    """One request for a new file, and the patch that adds it."""
    draw = chat.draw
    u = draw.rng.random()
    if u < 0.03:
        return two_files(chat)
    if u < 0.36:
        program = draw.choice(TEXTS)(draw)
    elif u < 0.58:
        program = FAMILIES[0](draw)
    else:
        program = draw.choice(FAMILIES[1:])(draw)
    add_file(chat, program)
    return None


def two_files(chat: Chat) -> None:
    """Two small files with one patch."""
    draw = chat.draw
    a, b = draw.path("py", folder=0), draw.path("py", folder=0)
    x, y = draw.message(), draw.message()
    templates = ("{m} {a} that prints {x} and {b} that prints {y}", "{m} {a} printing {x} and {b} printing {y}")
    if draw.chance(0.5):
        a, b = draw.path("txt", folder=0), draw.path("txt", folder=0)
        templates = ("{m} {a} with {x} and {b} with {y}", "{m} {a} with the text {x} and {b} with the text {y}")
    if draw.chance(0.4):
        y = x
        both = ("{m} {a} and {b} that print {x}",) if a.endswith("py") else ("{m} {a} and {b} with {x}",)
        templates = (*both, f"{both[0]} in both")
    if a == b:
        b = f"second_{b}"
    request = say(draw, templates, polite=True, m=draw.choice(("create", "make", "write", "add")), a=a, b=b, x=x, y=y)
    lines = [f'print("{x}")', f'print("{y}")'] if a.endswith("py") else [x, y]
    chat.skill, chat.key = "create", f"{a}|{b}|{x}"
    chat.user(request)
    chat.think(f"Add {a} and {b}.", f"The user wants {a} and {b}. I add both with one patch.", "Then I say what I did.")
    chat.expectation = Expectation(
        files_after={a: f"{lines[0]}\n", b: f"{lines[1]}\n"}, tool="functions.apply_patch", answer_has=(a, b)
    )
    patch = [f"*** Add File: {a}", f"+{lines[0]}", f"*** Add File: {b}", f"+{lines[1]}"]
    chat.apply([("A", a), ("A", b)], patch, f"I created `{a}` and `{b}`.")


def add_file(chat: Chat, program: Program) -> None:
    """The turn for one new file."""
    path = program.path
    chat.skill, chat.key = "create", f"{path}|{program.key}"
    chat.user(program.request)
    chat.think(
        f"Add {path}.",
        sentence(f"The user wants {path} {program.purpose}") + " I add it with one patch.",
        "Nothing else has to change. Then I say what I did.",
    )
    content = "".join(f"{line}\n" for line in program.lines)
    chat.expectation = Expectation(files_after={path: content}, tool="functions.apply_patch", answer_has=(path,))
    patch = [f"*** Add File: {path}", *(f"+{line}" for line in program.lines)]
    chat.apply([("A", path)], patch, sentence(f"I created `{path}` {program.purpose}"))


def text_file(draw: Draw) -> Program:
    """A text file with one line."""
    path = draw.path(draw.choice(("txt", "txt", "txt", "md", "log", "text")))
    text = draw.phrase(1, 7)
    request = say(draw, wordings("create", "text_file"), polite=True, f=path, x=quoted(draw, text))
    return Program(path, [text], request, f"with the text {text}", text)


def empty_file(draw: Draw) -> Program:
    """A file with nothing in it."""
    path = draw.path(draw.choice(("txt", "py", "md", "js", "json", "toml", "log", "csv")))
    if draw.chance(0.1):
        path = draw.choice(("__init__.py", "src/__init__.py", ".gitkeep", "data/.gitkeep", "tests/__init__.py"))
    request = say(draw, wordings("create", "empty_file"), polite=True, f=path)
    return Program(path, [], request, "as an empty file", "empty")


def list_file(draw: Draw) -> Program:
    """Several short items, one a line; bullets in Markdown."""
    items = [draw.thing() if draw.chance(0.6) else draw.word() for _ in range(draw.between(2, 6))]
    items = list(dict.fromkeys(items))
    path = draw.path(draw.choice(("txt", "txt", "md")))
    kind = draw.choice(("list", "shopping list", "todo list", "grocery list", "packing list"))
    joined = draw.choice((and_list(items), ", ".join(items), " ".join(items) if len(items) == 2 else and_list(items)))
    request = say(draw, wordings("create", "list_file"), polite=True, f=path, x=joined, k=kind)
    mark = "- " if path.endswith(".md") else ""
    return Program(path, [mark + i for i in items], request, f"with {and_list(items)}", and_list(items))


def default_list(draw: Draw) -> Program:
    """A list whose file the person did not name."""
    items = list(dict.fromkeys(draw.thing() if draw.chance(0.7) else draw.word() for _ in range(draw.between(2, 5))))
    kind, path = draw.choice(
        (
            ("shopping list", "shopping.txt"),
            ("todo list", "todo.txt"),
            ("grocery list", "groceries.txt"),
            ("packing list", "packing.txt"),
            ("list", "list.txt"),
        )
    )
    joined = draw.choice((and_list(items), ", ".join(items)))
    request = say(draw, wordings("create", "default_list"), polite=True, x=joined, k=kind)
    return Program(path, items, request, f"with {and_list(items)}", and_list(items))


def given_lines(draw: Draw) -> Program:
    """Content given in a fenced block, to be copied letter by letter."""
    extension = draw.choice(("txt", "py", "md", "sh", "js", "toml", "csv", "html", "yml"))
    path = draw.path(extension)
    lines = [_any_line(draw) for _ in range(draw.between(1, 6))]
    opening = say(draw, wordings("create", "given_lines"), polite=True, f=path).rstrip(".!")
    fence = "```" + (extension if draw.chance(0.3) else "")
    body = "\n".join(lines)
    request = f"{opening}\n{fence}\n{body}\n```" if draw.chance(0.7) else f"{opening}\n{body}"
    if draw.chance(0.3):
        request = request.replace(":\n", ":\n\n", 1)
    return Program(path, lines, request, "with the given content", body)


def _any_line(draw: Draw) -> str:
    kind = draw.between(0, 6)
    if kind == 0:
        return f"{draw.identifier()} = {draw.number()}"
    if kind == 1:
        return f'{draw.noun()} = "{draw.phrase(1, 3)}"'
    if kind == 2:
        return f"{draw.function_name()}({draw.noun()})"
    if kind == 3:
        return f"{draw.noun()}: {draw.phrase(1, 3)}"
    if kind == 4:
        return f"{draw.word()},{draw.number()},{draw.word()}"
    return draw.phrase(2, 8)


def _pairs(draw: Draw, low: int = 1, high: int = 4) -> dict[str, str | int | bool]:
    pairs: dict[str, str | int | bool] = {}
    for _ in range(draw.between(low, high)):
        u = draw.rng.random()
        key = draw.noun() if draw.chance(0.85) else draw.identifier()
        if u < 0.5:
            pairs[key] = int(draw.number())
        elif u < 0.9:
            pairs[key] = draw.name() if draw.chance(0.3) else draw.word()
        else:
            pairs[key] = draw.chance(0.5)
    return pairs


def _spoken(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def settings_file(draw: Draw) -> Program:
    """Keys and values as JSON, TOML, YAML, INI or .env."""
    kind = draw.choice(("json", "json", "json", "toml", "yaml", "yml", "ini", "env"))
    path = ".env" if kind == "env" and draw.chance(0.6) else draw.path(kind)
    if kind in ("json", "toml", "yaml") and draw.chance(0.35):
        path = f"{draw.choice(('config', 'settings', 'data'))}.{kind}"
    pairs = _pairs(draw)
    link = draw.choice((" ", " ", " = ", ": ", " set to ", "="))
    spoken = [f"{k}{link}{_spoken(v)}" for k, v in pairs.items()]
    request = say(
        draw,
        wordings("create", "settings_file"),
        polite=True,
        f=path,
        x=and_list(spoken) if draw.chance(0.8) else ", ".join(spoken),
    )
    purpose = f"with {and_list([f'{k} {_spoken(v)}' for k, v in pairs.items()])}"
    return Program(path, settings_lines(kind, pairs), request, purpose, purpose)


def settings_lines(kind: str, pairs: dict[str, str | int | bool]) -> list[str]:
    """The lines of a settings file of one format."""
    if kind == "json":
        return json.dumps(pairs, indent=2).split("\n")
    if kind == "toml":
        return [f"{k} = {json.dumps(v)}" for k, v in pairs.items()]
    if kind in ("yaml", "yml"):
        return [f"{k}: {_spoken(v)}" for k, v in pairs.items()]
    if kind == "ini":
        return ["[DEFAULT]", *(f"{k} = {_spoken(v)}" for k, v in pairs.items())]
    return [f"{k.upper()}={_spoken(v)}" for k, v in pairs.items()]


def csv_file(draw: Draw) -> Program:
    """A table with a header and one or two rows."""
    path = draw.path("csv")
    columns = list(dict.fromkeys(draw.noun() for _ in range(draw.between(2, 4))))
    rows = [
        [draw.word() if draw.chance(0.6) else draw.number() for _ in columns] for _ in range(draw.choice((0, 0, 1, 2)))
    ]
    spoken = draw.choice((and_list(columns), ", ".join(columns)))
    tail = "".join(f" and a row {', '.join(r)}" for r in rows)
    request = say(draw, wordings("create", "csv_file"), polite=True, f=path, x=spoken, t=tail)
    lines = [",".join(columns), *(",".join(r) for r in rows)]
    return Program(path, lines, request, f"with the columns {and_list(columns)}", spoken + tail)


def markdown_file(draw: Draw) -> Program:
    """A title and perhaps a sentence."""
    path = "README.md" if draw.chance(0.5) else draw.path("md")
    title = draw.phrase(1, 3).rstrip(".!?")
    text = draw.phrase(3, 7) if draw.chance(0.5) else ""
    request = say(
        draw,
        wordings("create", "markdown_file"),
        polite=True,
        f=path,
        x=quoted(draw, title),
        t=f" and the text {quoted(draw, text)}" if text else "",
    )
    lines = [f"# {title}", *(["", text] if text else [])]
    return Program(path, lines, request, f"with the title {title}", title + text)


def project_file(draw: Draw) -> Program:
    """requirements.txt, .gitignore and the like."""
    if draw.chance(0.5):
        packages = draw.sample(PACKAGES, draw.between(1, 4))
        request = say(
            draw,
            wordings("create", "requirements"),
            polite=True,
            x=and_list(packages) if draw.chance(0.7) else " ".join(packages),
        )
        return Program("requirements.txt", packages, request, f"with {and_list(packages)}", and_list(packages))
    patterns = draw.sample(IGNORED, draw.between(1, 4))
    request = say(draw, wordings("create", "gitignore"), polite=True, x=and_list(patterns))
    return Program(".gitignore", patterns, request, f"with {and_list(patterns)}", and_list(patterns))


PACKAGES = text_lines("packages")
IGNORED = text_lines("ignored")

TEXTS: tuple[Callable[[Draw], Program], ...] = (
    text_file,
    text_file,
    text_file,
    text_file,
    list_file,
    list_file,
    default_list,
    given_lines,
    given_lines,
    settings_file,
    settings_file,
    csv_file,
    markdown_file,
    project_file,
    empty_file,
)
