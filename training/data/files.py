"""Made-up files as people have them in small projects: up to 30 lines of code, settings, notes or pages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from training.data.chat import Chat
from training.data.draw import Draw


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file of the workspace."""

    path: str
    lines: list[str]

    @property
    def extension(self) -> str:
        """`py` of `src/app.py`."""
        return self.path.rpartition(".")[2]

    @property
    def content(self) -> str:
        """All of it, with a line end after each line."""
        return "".join(f"{line}\n" for line in self.lines)


def some_file(draw: Draw, most: int = 30) -> TextFile:
    """A file of up to `most` lines; short files come more often."""
    extension = draw.choice(("py", "py", "py", "py", "txt", "txt", "md", "toml", "json", "yaml", "ini", "js", "html"))
    if draw.chance(0.12):
        extension = draw.choice(("css", "sh", "csv", "env", "cfg", "yml"))
    size = draw.between(1, 8) if draw.chance(0.5) else draw.between(4, most)
    path = draw.path(extension) if extension != "env" else ".env"
    if extension in ("toml", "json", "yaml", "ini", "yml") and draw.chance(0.4):
        path = f"{draw.choice(('config', 'settings'))}.{extension}"
    return TextFile(path, unique_lines(MAKERS[extension](draw, size))[:most])


def python_file(draw: Draw, most: int = 30) -> TextFile:
    """A Python file."""
    size = draw.between(2, 10) if draw.chance(0.5) else draw.between(4, most)
    return TextFile(draw.path("py"), unique_lines(_python(draw, size))[:most])


def unique_lines(lines: list[str]) -> list[str]:
    """`lines` without repeated ones, blank ones kept."""
    seen: set[str] = set()
    kept: list[str] = []
    for line in lines:
        if line.strip() and line in seen and len(line.strip()) > 1:
            continue
        seen.add(line)
        kept.append(line)
    while kept and not kept[-1].strip():
        kept.pop()
    return kept or ["x = 1"]


def value(draw: Draw) -> str:
    """A literal of a program."""
    u = draw.rng.random()
    if u < 0.5:
        return draw.number()
    if u < 0.85:
        return f'"{draw.phrase(1, 3)}"'
    return draw.choice(("True", "False", "None", "[]", "0", "1"))


def _python(draw: Draw, size: int) -> list[str]:
    lines: list[str] = []
    if draw.chance(0.4):
        lines += [f"import {m}" for m in draw.sample(("os", "sys", "json", "re", "math", "random", "time"), 2)]
        if draw.chance(0.3):
            lines.append(f"from {draw.stem().replace('-', '_')} import {draw.function_name()}")
        lines.append("")
    if draw.chance(0.5):
        lines += [
            f"{draw.noun().upper() if draw.chance(0.5) else draw.identifier()} = {value(draw)}"
            for _ in range(draw.between(1, 3))
        ]
    while len(lines) < size:
        block = draw.choice(PYTHON_BLOCKS)(draw)
        if block[0].startswith(("def ", "class ")) and lines and lines[-1]:
            lines += ["", ""] if draw.chance(0.6) else [""]
        lines += block
        if draw.chance(0.15):
            lines.append("")
    return lines


def _block_function(draw: Draw) -> list[str]:
    a, b = draw.noun(), draw.noun()
    name = draw.function_name()
    body = draw.choice(
        (
            [f"    return {a} {draw.choice('+-*')} {draw.number()}"],
            [f"    {b} = {a} {draw.choice('+-*')} {draw.number()}", f"    return {b}"],
            [f'    print("{draw.phrase(1, 3)}")'],
            [f"    print({a})"],
            [f"    if {a} > {draw.number()}:", f"        return {value(draw)}", f"    return {value(draw)}"],
            [f"    for {b} in {a}:", f"        print({b})"],
            [f"    return {draw.function_name()}({a})"],
            [f"    {b} = {draw.function_name()}({a})", f"    {draw.short_word()}.{draw.from_list('code_verbs')}({b})"],
        )
    )
    head = f"def {name}({a}):" if draw.chance(0.6) else f"def {name}({a}, {b}):" if a != b else f"def {name}():"
    return [head, *body]


def _block_class(draw: Draw) -> list[str]:
    names = list(dict.fromkeys(draw.noun() for _ in range(draw.between(1, 3))))
    return [
        f"class {draw.class_name()}:",
        f"    def __init__(self, {', '.join(names)}):",
        *(f"        self.{n} = {n}" for n in names),
    ]


PYTHON_BLOCKS: tuple[Callable[[Draw], list[str]], ...] = (
    _block_function,
    _block_function,
    _block_class,
    lambda d: [f"{d.identifier()} = {value(d)}"],
    lambda d: [f"{d.identifier()} = {value(d)}"],
    lambda d: [f'print("{d.message()}")'],
    lambda d: [f'print("{d.message()}")'],
    lambda d: [f"# {d.phrase(2, 5)}"],
    lambda d: [f"{d.noun()} = {d.function_name()}({d.number()})"],
    lambda d: [f"{d.function_name()}({d.noun()}, {d.number()})"],
    lambda d: [f"for {d.noun()} in range({d.number()}):", f"    {d.function_name()}({d.noun()})"],
    lambda d: [f"{d.noun()}s = [{', '.join(chr(34) + d.thing() + chr(34) for _ in range(3))}]"],
)


def pairs(draw: Draw, size: int) -> dict[str, str]:
    """Settings: different keys, values as bare text."""
    found: dict[str, str] = {}
    for _ in range(size):
        key = draw.noun() if draw.chance(0.7) else draw.identifier().lower()
        u = draw.rng.random()
        found[key] = draw.number() if u < 0.5 else draw.word() if u < 0.85 else draw.choice(("true", "false"))
    return found


def _is_bare(text: str) -> bool:
    return text.isdigit() or text in ("true", "false")


def _toml(draw: Draw, size: int) -> list[str]:
    lines = [f"{k} = {v if _is_bare(v) else chr(34) + v + chr(34)}" for k, v in pairs(draw, size).items()]
    if draw.chance(0.4):
        lines.insert(0, f"[{draw.choice(('server', 'project', 'tool', 'app', draw.noun()))}]")
    return lines


def _json(draw: Draw, size: int) -> list[str]:
    items = list(pairs(draw, size).items())
    end = len(items) - 1
    rows = [
        f'  "{k}": {v if _is_bare(v) else chr(34) + v + chr(34)}{"," if i < end else ""}'
        for i, (k, v) in enumerate(items)
    ]
    return ["{", *rows, "}"]


def _yaml(draw: Draw, size: int) -> list[str]:
    return [f"{k}: {v}" for k, v in pairs(draw, size).items()]


def _ini(draw: Draw, size: int) -> list[str]:
    return [f"[{draw.noun()}]", *(f"{k} = {v}" for k, v in pairs(draw, size).items())]


def _env(draw: Draw, size: int) -> list[str]:
    return [f"{k.upper()}={v}" for k, v in pairs(draw, size).items()]


def _text(draw: Draw, size: int) -> list[str]:
    short = draw.chance(0.5)
    return [draw.word() if short and draw.chance(0.8) else draw.phrase(2, 7) for _ in range(size)]


def _markdown(draw: Draw, size: int) -> list[str]:
    lines = [f"# {draw.phrase(1, 3).rstrip('.!?')}", ""]
    while len(lines) < size:
        u = draw.rng.random()
        if u < 0.55:
            lines += [f"- {draw.phrase(1, 4)}" for _ in range(draw.between(1, 4))]
        elif u < 0.8:
            lines += [draw.phrase(3, 8) + ".", ""]
        else:
            lines += ["", f"## {draw.phrase(1, 2).rstrip('.!?')}", ""]
    return lines


def _csv(draw: Draw, size: int) -> list[str]:
    columns = list(dict.fromkeys(draw.noun() for _ in range(draw.between(2, 3))))
    rows = [",".join([draw.word(), *(draw.number() for _ in columns[1:])]) for _ in range(size)]
    return [",".join(columns), *rows]


def _html(draw: Draw, size: int) -> list[str]:
    title = draw.phrase(1, 3).rstrip(".!?")
    body = [f"  <h1>{draw.phrase(1, 3)}</h1>"]
    tags = ("p", "p", "li", "h2", "div")
    body += [f"  <{t}>{draw.phrase(1, 5)}</{t}>" for t in (draw.choice(tags) for _ in range(max(1, size - 8)))]
    return ["<html>", "<head>", f"  <title>{title}</title>", "</head>", "<body>", *body, "</body>", "</html>"]


def _css(draw: Draw, size: int) -> list[str]:
    lines: list[str] = []
    while len(lines) < size:
        lines += [
            f"{draw.choice(('body', 'h1', 'p', '.' + draw.short_word(), '#' + draw.short_word()))} {{",
            f"  color: {draw.choice('red blue green black white gray orange'.split())};",  # noqa: SIM905
            f"  {draw.choice(('margin', 'padding', 'width', 'font-size'))}: {draw.number()}px;",
            "}",
        ]
    return lines


def _shell(draw: Draw, size: int) -> list[str]:
    lines = ["#!/bin/bash"]
    while len(lines) < size:
        u = draw.rng.random()
        if u < 0.5:
            lines.append(f'echo "{draw.message()}"')
        elif u < 0.8:
            lines.append(f"{draw.noun().upper()}={draw.number() if draw.chance(0.5) else draw.word()}")
        else:
            lines.append(f"{draw.choice(('cd', 'mkdir', 'ls', 'cat', 'python'))} {draw.stem()}")
    return lines


def _javascript(draw: Draw, size: int) -> list[str]:
    lines: list[str] = []
    while len(lines) < size:
        u = draw.rng.random()
        if u < 0.45:
            literal = draw.number() if draw.chance(0.5) else f'"{draw.phrase(1, 2)}"'
            lines.append(f"const {draw.noun()} = {literal};")
        elif u < 0.75:
            lines.append(f'console.log("{draw.message()}");')
        else:
            name = draw.noun()
            lines += [f"function {draw.function_name()}({name}) {{", f"  return {name} + {draw.number()};", "}"]
    return lines


MAKERS: dict[str, Callable[[Draw, int], list[str]]] = {
    "py": _python,
    "txt": _text,
    "md": _markdown,
    "toml": _toml,
    "cfg": _ini,
    "json": _json,
    "yaml": _yaml,
    "yml": _yaml,
    "ini": _ini,
    "env": _env,
    "js": _javascript,
    "html": _html,
    "css": _css,
    "sh": _shell,
    "csv": _csv,
}


def show_in_message(chat: Chat, request: str, file: TextFile) -> str:
    """A message that holds the request and the file in a fence, in one of the orders that people use."""
    draw = chat.draw
    tag = file.extension if draw.chance(0.25) else ""
    fenced = f"```{tag}\n" + "\n".join(file.lines) + "\n```"
    head = draw.choice((f"{file.path}:", f"{file.path}", f"Here is {file.path}:", f"this is {file.path}:", ""))
    shown = f"{head}\n{fenced}" if head else fenced
    if draw.chance(0.65):
        gap = "\n\n" if draw.chance(0.75) else "\n"
        return f"{request}{gap}{shown}"
    return f"{shown}\n{draw.choice(('', chr(10)))}{request}"
